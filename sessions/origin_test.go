package sessions_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/sessions"
)

func TestPublicOrigin(t *testing.T) {
	for in, want := range map[string]string{
		"https://":       "https://edit.amelia.example/session/abc",
		"http://":        "http://edit.amelia.example/session/abc",
		"http://:8080":   "http://edit.amelia.example:8080/session/abc",
		"https://:8443":  "https://edit.amelia.example:8443/session/abc",
		"https://:443":   "https://edit.amelia.example/session/abc",
		"http://:80":     "http://edit.amelia.example/session/abc",
		"http://:443":    "http://edit.amelia.example:443/session/abc",
		"https://:65535": "https://edit.amelia.example:65535/session/abc",
	} {
		o, err := sessions.ParsePublicOrigin(in)
		require.NoError(t, err, in)
		assert.Equal(t, want, o.PreviewURL("edit.amelia.example", "abc"))
		again, err := sessions.ParsePublicOrigin(o.String())
		require.NoError(t, err)
		assert.Equal(t, o, again)
	}
	for _, in := range []string{
		"", "https", "https:", "ftp://", "https://host", "https://host:80", "https://:", "https://:0",
		"https://:65536", "https://:-1", "https://:8080/", "https://:+80", "HTTPS://", "//:80",
	} {
		_, err := sessions.ParsePublicOrigin(in)
		require.Error(t, err, in)
	}
	assert.Equal(t, "https://h/session/x", sessions.PublicOrigin{}.PreviewURL("h", "x"))
}

func TestPrefixEncodesOlderIDs(t *testing.T) {
	assert.Equal(t, "/session/amelia%23ann%23thread%2F1", sessions.Prefix("amelia#ann#thread/1"))
}

func TestIDsAreRandomAndSafe(t *testing.T) {
	seen := map[string]bool{}
	for range 1000 {
		id := sessions.NewID()
		require.Regexp(t, `^[a-z2-7]{26}$`, id)
		require.False(t, seen[id])
		require.Equal(t, "/session/"+id, sessions.Prefix(id))
		seen[id] = true
	}
}
