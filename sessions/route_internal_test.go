package sessions

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/webordinary/router/containerboot/bootapi"
)

func TestRoutesTellWhenTheyAreDropped(t *testing.T) {
	t.Parallel()
	table := newRoutes()
	dropped := make(chan string, 10)
	tell := func(r *Route, name string) func() bool { return r.OnDrop(func() { dropped <- name }) }
	one := newRoute(Record{SessionID: "one", Epoch: 1, Start: &Start{Token: "t"}})
	assert.Equal(t, bootapi.ResponseProof("t", "one", 1), one.Proof)
	assert.True(t, tell(one, "before it was in a table")())

	table.set(one)
	tell(one, "first")
	assert.True(t, tell(one, "taken back")())
	table.set(one)
	assert.False(t, table.drop("one", newRoute(Record{SessionID: "one", Start: &Start{}})))
	assert.Empty(t, dropped, "it is there as before")
	assert.True(t, table.drop("one", one))
	assert.Equal(t, "first", <-dropped)
	tell(one, "late")
	assert.Equal(t, "late", <-dropped, "who comes late is told at once")

	table.set(one)
	tell(one, "second")
	table.set(newRoute(Record{SessionID: "one", Epoch: 2, Start: &Start{Token: "t"}}))
	assert.Equal(t, "second", <-dropped, "another epoch took its place")
	assert.Empty(t, dropped)
}
