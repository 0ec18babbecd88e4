package configstore

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestTableContestedHosts(t *testing.T) {
	const shop = "shop.example"
	newTable := func(entries ...Entry) (*Table, []RowFault) {
		table := NewTable(nil)
		return table, table.Replace(slices.Values(entries))
	}
	contestedBy := func(id string) []RowFault { return []RowFault{contestedFault(id, shop)} }

	t.Run("a row of our tools comes first", func(t *testing.T) {
		for _, order := range [][]Entry{
			{testEntry("amelia", 0, shop), testEntry("bramble", 1, shop)},
			{testEntry("bramble", 1, shop), testEntry("amelia", 0, shop)},
		} {
			table, faults := newTable(order...)
			assert.Equal(t, contestedBy("amelia"), faults)
			requireRoutes(t, table, map[string]string{shop: "bramble", "edit.amelia.example": "amelia"})

			table, _ = newTable(order[0])
			assert.Equal(t, contestedBy("amelia"), table.Apply([]Change{change(order[1])}))
			requireRoutes(t, table, map[string]string{shop: "bramble", "edit.amelia.example": "amelia"})
		}
	})
	t.Run("a host goes to who is left", func(t *testing.T) {
		table, _ := newTable(testEntry("amelia", 1, shop), testEntry("bramble", 1, shop), testEntry("clover", 1, shop))
		requireRoutes(t, table, map[string]string{shop: "amelia"})
		table.Apply([]Change{change(testEntry("amelia", 2))})
		requireRoutes(t, table, map[string]string{shop: "bramble", "edit.amelia.example": "amelia"})
		table.Apply([]Change{tombstone("bramble", 2)})
		requireRoutes(t, table, map[string]string{shop: "clover", "edit.bramble.example": ""})
		disabled := testEntry("clover", 2, shop)
		disabled.Disabled = true
		table.Apply([]Change{change(disabled)})
		route, _ := table.Lookup(shop)
		assert.True(t, route.Disabled)
		table.Apply([]Change{tombstone("clover", 3)})
		requireRoutes(t, table, map[string]string{shop: ""})
		assert.Equal(t, 1, table.Info().Hosts)
	})
	t.Run("the holder's changes are seen", func(t *testing.T) {
		table, _ := newTable(testEntry("amelia", 1, shop), testEntry("bramble", 1, shop))
		changed := testEntry("amelia", 2, shop)
		changed.Settings.IdleTimeoutMinutes = 99
		table.Apply([]Change{change(changed)})
		route, _ := table.Lookup(shop)
		assert.Equal(t, changed.Settings, route.Settings)
	})
	t.Run("a host moves in one poll", func(t *testing.T) {
		for _, order := range [][]Change{
			{change(testEntry("amelia", 2)), change(testEntry("bramble", 2, shop))},
			{change(testEntry("bramble", 2, shop)), change(testEntry("amelia", 2))},
		} {
			table, _ := newTable(testEntry("amelia", 1, shop), testEntry("bramble", 1))
			table.Apply(order)
			requireRoutes(t, table, map[string]string{shop: "bramble"})
		}
	})
}

func TestTableDuplicateRows(t *testing.T) {
	table := NewTable(testPatterns(t))
	table.Replace(slices.Values([]Entry{
		testEntry("amelia", 1, "old.example"), testEntry("amelia", 3, "new.example"), testEntry("amelia", 2, "old.example"),
	}))
	assert.Equal(t, 1, table.Len())
	requireRoutes(t, table, map[string]string{"old.example": "", "new.example": "amelia", "amelia-edit.webordinary.com": "amelia"})
}
