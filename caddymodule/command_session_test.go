package caddymodule

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/containerboot/bootapi"
	"github.com/webordinary/router/sessions"
)

// TestAFailedSessionSaysWhereToMendIt, unless another try may do.
func TestAFailedSessionSaysWhereToMendIt(t *testing.T) {
	t.Parallel()
	shown := func(retryable bool) string {
		var out bytes.Buffer
		c := &cli{out: &out}
		require.NoError(t, c.printSession(sessionInfo{
			SessionID: "abc", EditBranch: "spring-menu", Status: sessions.StatusFailed,
			Failure: &sessions.Failure{Failure: bootapi.Failure{Phase: bootapi.PhaseBuilding, Cause: "No.", Retryable: retryable}},
		}))
		return out.String()
	}
	const line = "on the branch spring-menu, then: caddy webordinary session wake abc"
	assert.Contains(t, shown(false), line)
	assert.NotContains(t, shown(true), line)
}
