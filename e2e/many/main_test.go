// Package many tests several edges on the same tables and the same ECS from outside: who
// wakes, who takes over, what becomes of containers that are lost, and that limits hold.
// The tables are in DynamoDB Local, the ECS is a fake whose containers are processes.
//
// TORTURE=1 repeats what is repeated here far more often.
package many

import (
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/e2e/harness"
)

// torture reports whether everything is to be repeated as often as it was promised.
func torture() bool { return os.Getenv("TORTURE") != "" }

// times is how often something is repeated: rarely in every run, often in torture.
func times(short, often int) int {
	if torture() {
		return often
	}
	return short
}

// marker is what a client's site has on each of its pages, and no other site has.
func marker(site *harness.Site) string { return "content of " + site.ID + "<" }

// requireOneContainer checks that a session has one container, the nth one that was ever
// started, and that no session of the ECS ever had two at once.
func requireOneContainer(t *testing.T, c *harness.Cluster, session *harness.Session, nth int) harness.Task {
	t.Helper()
	require.Len(t, c.ECS.Tasks(session.SessionID), nth, "containers ever started")
	require.Empty(t, c.ECS.Doubles(), "sessions of which two containers ran at once")
	return c.ECS.Task(session.SessionID)
}

// visit is a person who opens a session on an edge and looks again until the site is
// there. It returns "site", or what was in the way.
func visit(e *harness.Edge, session *harness.Session, site *harness.Site, pause time.Duration) string {
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for deadline := time.Now().Add(harness.Patience); time.Now().Before(deadline); <-tick.C {
		a, err := e.Try(session.Document("/"))
		switch {
		case err != nil:
			return err.Error()
		case a.Status == http.StatusOK && strings.Contains(a.Body, marker(site)):
			return "site"
		case a.Status != http.StatusAccepted:
			return fmt.Sprintf("site: %d", a.Status)
		}
	}
	return "still waiting"
}

// asleep puts a session to sleep by an edge. Another edge may notice at the same moment
// that its container is gone, and be the one that takes note of it.
func asleep(t *testing.T, c *harness.Cluster, e *harness.Edge, session *harness.Session) {
	t.Helper()
	harness.Eventually(t, harness.Patience, "the session sleeps", func() bool {
		r := e.Run("", "webordinary", "session", "sleep", session.SessionID)
		if r.Code != 0 {
			require.Contains(t, r.Err, "another edge", r.Out)
		}
		return r.Code == 0
	})
	require.Empty(t, c.ECS.Running(session.SessionID))
}

// distribution says how times are spread.
func distribution(took []time.Duration) string {
	slices.Sort(took)
	at := func(percent int) time.Duration { return took[(len(took)-1)*percent/100].Round(time.Millisecond) }
	return fmt.Sprintf("%d times: least %v, median %v, 95%% %v, most %v", len(took), at(0), at(50), at(95), at(100))
}
