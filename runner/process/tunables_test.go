//go:build unix

package process

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/containerboot/bootapi"
)

func TestTunablesAreForTheNextStart(t *testing.T) {
	dataDir := t.TempDir()
	r := newRunner(t, dataDir)
	self, err := os.Executable()
	require.NoError(t, err)
	upstream := func(id string) []string {
		t.Helper()
		_, err := r.Start(t.Context(), request(id, 1))
		require.NoError(t, err)
		eventuallyLines(t, dataDir, id, "starts", 1)
		var found []string
		for _, line := range lines(t, dataDir, id, "environ") {
			if name := bootapi.EnvAPIUpstream + "="; len(line) > len(name) && line[:len(name)] == name {
				found = append(found, line[len(name):])
			}
		}
		return found
	}
	assert.Empty(t, upstream("environ-1"))
	running := stateOf(t, dataDir, "environ-1")

	require.NoError(t, r.SetTunables(Tunables{Binary: self, APIUpstream: "http://127.0.0.1:7070"}))
	assert.True(t, running.alive(), "what runs is left alone")
	assert.Equal(t, []string{"http://127.0.0.1:7070"}, upstream("environ-2"))

	require.ErrorContains(t, r.SetTunables(Tunables{Binary: filepath.Join(dataDir, "nothing")}), "`binary`")
	require.ErrorContains(t, r.SetTunables(Tunables{Binary: self, APIUpstream: "http://agent"}), "API upstream")
	assert.Equal(t, []string{"http://127.0.0.1:7070"}, upstream("environ-3"), "what is refused changes nothing")

	link := filepath.Join(t.TempDir(), "another")
	require.NoError(t, os.Symlink(self, link))
	require.NoError(t, r.SetTunables(Tunables{Binary: link}))
	assert.Empty(t, upstream("environ-4"))
	require.NoError(t, os.Remove(link))
	_, err = r.Start(t.Context(), request("environ-5", 1))
	require.ErrorContains(t, err, link+" is gone")
}
