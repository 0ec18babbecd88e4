package steps

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// TestDevBase hears where a development server serves.
func TestDevBase(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"┃ Network  http://127.5.6.7:4399/session/abc/":        "/session/abc",
		"┃ Network  http://127.5.6.7:4399/":                    "",
		"  ┃ Local    http://localhost:4399/docs":              "/docs",
		"  Network  use --host to expose":                      "/told",
		"┃ Local    http://localhost:5000/of-another-one/":     "/told",
		"see Local http://localhost:4399/of-something-else/ !": "/told",
	} {
		d := devBase{told: "/told"}
		d.starts("4399")
		d.read(line)
		assert.Equal(t, want, d.get(), line)
		d.starts("4400")
		assert.Equal(t, "/told", d.get(), "another process")
	}
}
