package containerboot

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func idleFor(d time.Duration) func() time.Duration { return func() time.Duration { return d } }

func agreed(t *testing.T, d *drain, forced bool) string {
	t.Helper()
	name, ok := d.begin(forced)
	require.True(t, ok)
	require.True(t, d.agree(name))
	return name
}

func TestDrainAdmits(t *testing.T) {
	const counts, write, socket = 1, 2, 4
	for name, tc := range map[string]struct {
		forced  bool
		request int
		want    verdict
		off     bool
	}{
		"a read":                          {false, 0, drainServes, false},
		"a document":                      {false, counts, drainServes, true},
		"a write":                         {false, counts | write, drainServes, true},
		"a bot's write":                   {false, write, drainHolds, false},
		"a socket, which may stay silent": {false, socket, drainServes, false},
		"forced: a read":                  {true, 0, drainServes, false},
		"forced: a document":              {true, counts, drainServes, false},
		"forced: a write":                 {true, counts | write, drainHolds, false},
		"forced: a socket":                {true, socket, drainHolds, false},
	} {
		t.Run(name, func(t *testing.T) {
			admit := func(d *drain) verdict {
				return d.admit(tc.request&counts != 0, tc.request&write != 0, tc.request&socket != 0)
			}
			d := new(drain)
			assert.Equal(t, drainServes, admit(d), "without a drain")
			preparing, _ := d.begin(tc.forced)
			assert.Equal(t, tc.want, admit(d), "while the work is saved")
			assert.Equal(t, !tc.off, d.agree(preparing))
			drain := agreed(t, d, tc.forced)
			assert.Equal(t, tc.want, admit(d), "after it agreed")
			assert.Equal(t, !tc.off, d.commit(drain, idleFor(time.Hour)))
			if !tc.off {
				assert.Equal(t, drainEnding, admit(d), "after the commit")
			}
		})
	}
}

func TestDrainOfBeforeCountsNoMore(t *testing.T) {
	d := new(drain)
	first := agreed(t, d, false)
	second := agreed(t, d, true)
	d.cancel(first)
	assert.False(t, d.commit(first, idleFor(time.Hour)))
	_, ok := d.begin(false)
	assert.False(t, ok, "one that is forced stays")
	assert.True(t, d.commit(second, idleFor(0)))
	assert.True(t, d.committed())
	_, ok = d.begin(true)
	assert.False(t, ok)
	d.cancel(second)
	assert.True(t, d.committed(), "for good")
	assert.False(t, new(drain).commit("", idleFor(time.Hour)))
}

func TestDrainSeesWhatTheAccountDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := new(drain)
		drain := agreed(t, d, false)
		<-time.After(time.Second)
		assert.False(t, d.commit(drain, idleFor(time.Millisecond)), "data came by a socket")
		assert.False(t, d.commit(drain, idleFor(time.Hour)), "and called it off")
	})
}

func TestDrainWhoseCommitDoesNotCome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := new(drain)
		drain := agreed(t, d, true)
		<-time.After(drainFor)
		assert.Equal(t, drainServes, d.admit(true, true, false), "writes are taken again")
		assert.False(t, d.commit(drain, idleFor(time.Hour)))
	})
}

// Of a commit and who comes at the same moment, one wins: either the container serves
// on, or what came was not taken.
func TestDrainDecidesOnce(t *testing.T) {
	for range 500 {
		d := new(drain)
		drain := agreed(t, d, false)
		var committed bool
		var got verdict
		var both sync.WaitGroup
		both.Go(func() { committed = d.commit(drain, idleFor(time.Hour)) })
		both.Go(func() { got = d.admit(true, true, false) })
		both.Wait()
		require.Equal(t, committed, got == drainEnding)
	}
}
