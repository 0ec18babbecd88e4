package sessions

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/webordinary/router/containerboot/bootapi"
)

// TestTimeLeftIsTheContainers shows a container that was a while in coming: what it
// expects is told from the beginning of the wake, so that as much is left as it says.
func TestTimeLeftIsTheContainers(t *testing.T) {
	t.Parallel()
	before := 30 * time.Second
	e := &live{id: "s1", record: Record{SessionID: "s1", Status: StatusInitializing, Start: &Start{At: time.Now().Add(-before)}}}
	e.showStatus(bootapi.Status{Phase: bootapi.PhaseBuilding, PhaseMillis: 1000, TotalMillis: 5000, ExpectedMillis: 7000, ExpectedTotalMillis: 20_000})
	p := e.view().Progress
	assert.Equal(t, int64(7000), p.ExpectedMillis)
	assert.GreaterOrEqual(t, p.TotalMillis, before.Milliseconds())
	assert.InDelta(t, 15_000, p.ExpectedTotalMillis-p.TotalMillis, 10_000, "in spite of a slow machine")

	e.showStatus(bootapi.Status{Phase: bootapi.PhaseBuilding, TotalMillis: 5000})
	assert.Zero(t, e.view().Progress.ExpectedTotalMillis, "a container that says nothing of it")
}
