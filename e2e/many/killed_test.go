package many

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/webordinary/router/e2e/harness"
)

// writes matches the write of a session's record by which it gets a status.
func writes(status string) func(harness.Call) bool {
	return func(c harness.Call) bool {
		return (c.Action == "TransactWriteItems" || c.Action == "UpdateItem" || c.Action == "PutItem") &&
			strings.Contains(c.Body, `{"S":"`+status+`"}`)
	}
}

// locates matches the write by which a record gets its container's address.
func locates(c harness.Call) bool {
	return writes("initializing")(c) && strings.Contains(c.Body, `{"S":"127.`)
}

func runs(c harness.Call) bool { return c.Action == "RunTask" }

// steps are the steps of a wake at which its edge is killed.
var steps = []struct {
	name   string
	ecs    bool // the call is one of ECS, else of DynamoDB
	moment harness.Moment
	call   func(harness.Call) bool
	often  bool // in every run, not in torture alone
}{
	{"before the write", false, harness.Unsent, writes("initializing"), true},
	{"after the write", false, harness.Unanswered, writes("initializing"), true},
	{"before RunTask", true, harness.Unsent, runs, false},
	{"after RunTask", true, harness.Unanswered, runs, true},
	{"before the address is written", false, harness.Unsent, locates, false},
	{"after the address is written", false, harness.Unanswered, locates, false},
	{"before ready", false, harness.Unsent, writes("active"), true},
	{"after ready is written", false, harness.Unanswered, writes("active"), false},
}

// Whenever the waking edge dies, another one carries the wake through.
func TestWakingEdgeKilled(t *testing.T) {
	t.Parallel()
	api := harness.NewAPI(t)
	c := harness.NewCluster(t, harness.ClusterOptions{
		Router: "\t\thold_timeout 3m\n",
		ECS:    harness.ECSOptions{APIUpstream: api.URL, Moods: harness.Moods{"provision": "50ms", "lag": "100ms"}},
	})
	site := c.NewSite("amelia", harness.SiteOptions{})
	c.Start()
	for range times(1, 5) {
		for _, step := range steps {
			if !step.often && !torture() {
				continue
			}
			t.Run(step.name, func(t *testing.T) {
				waking := c.Edges[1]
				session := c.NewAsleep(site)
				gate := c.DynamoDB[1]
				if step.ecs {
					gate = c.ToECS[1]
				}
				stop := gate.Stop(step.moment, step.call)
				defer gate.Lift()
				asked := make(chan struct{})
				go func() {
					defer close(asked)
					_, _ = waking.Try(session.Document("/")) // its edge may die before it answers
				}()
				stop.Await(t)
				waking.Kill9()
				<-asked

				held := make(chan harness.Answer, 1)
				go func() {
					a, err := c.Edges[2].Try(session.Post("/api/echo", "held", "Prefer", "wait=180"))
					assert.NoError(t, err)
					held <- a
				}()
				page := session.Open()
				assert.Contains(t, page.Body, marker(site))
				a := <-held
				assert.Equal(t, http.StatusOK, a.Status, "a call that was held on the third edge: %s", a.Body)
				requireOneContainer(t, c, session, 1)

				gate.Lift()
				waking.Start()
				assert.Contains(t, session.On(waking).Open().Body, marker(site))
				requireOneContainer(t, c, session, 1)
				c.Edges[2].CLI("session", "delete", session.SessionID)
			})
		}
	}
}
