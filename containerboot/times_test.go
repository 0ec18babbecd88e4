package containerboot_test

import (
	"encoding/json"
	"net/http"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/containerboot/bootapi"
)

// TestTimeThatIsExpected starts sessions of a client, one after the other: each is
// expected to take as long as the ones before that had as much to do.
func TestTimeThatIsExpected(t *testing.T) {
	t.Parallel()
	w := newWorld(t, plainSite)
	kept := func() (kinds [][]string) {
		var past struct{ Runs []struct{ Reused []string } }
		data, err := os.ReadFile(w.dir + "/cache/amelia/times.json")
		if os.IsNotExist(err) {
			return nil
		}
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(data, &past))
		for _, run := range past.Runs {
			kinds = append(kinds, run.Reused)
		}
		return kinds
	}
	// cloning is the status of a session while it is being cloned.
	cloning := func(id string) bootapi.Status {
		claim := w.claim(id)
		w.hang("fetch")
		c := w.start(id, claim.Token)
		code, _ := c.post(bootapi.PathClaim, claim)
		require.Equal(t, http.StatusOK, code)
		w.hung("fetch")
		require.NoError(t, os.Remove(w.dir+"/hung-fetch"))
		s := c.status()
		require.Equal(t, bootapi.PhaseCloning, s.Phase)
		before := len(kept())
		w.goOn("fetch")
		require.Equal(t, bootapi.PhaseReady, c.settled().Phase)
		assert.Zero(t, c.status().ExpectedTotalMillis, "nothing is waited for any more")
		c.await(func() bool { return len(kept()) == before+1 })
		return s
	}
	first := cloning("s1")
	assert.Zero(t, first.ExpectedMillis, "nothing is known of the client's first start")
	assert.Zero(t, first.ExpectedTotalMillis)

	second := cloning("s2")
	assert.Positive(t, second.ExpectedMillis)
	assert.Greater(t, second.ExpectedTotalMillis, second.ExpectedMillis, "installing and building are expected too")
	assert.Equal(t, [][]string{nil, {"build", "install"}}, kept())

	third := cloning("s3")
	assert.Less(t, third.ExpectedTotalMillis-third.ExpectedMillis, second.ExpectedTotalMillis-second.ExpectedMillis,
		"the last one had it built already")
}
