package worktree_test

import (
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// trusting runs tests while git trusts their servers, which all show the same certificate,
// in the way that operators have it trust theirs.
func trusting(run func() int) int {
	dir, err := os.MkdirTemp("", "worktree")
	if err != nil {
		panic(err)
	}
	server := httptest.NewTLSServer(http.NotFoundHandler())
	ca := filepath.Join(dir, "ca.pem")
	err = os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600)
	server.Close()
	for _, name := range []string{"GIT_SSL_CAINFO", "SSL_CERT_DIR", "GIT_SSL_CAPATH"} { // the machine's own
		_ = os.Unsetenv(name)
	}
	if err == nil {
		err = os.Setenv("SSL_CERT_FILE", ca)
	}
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	return run()
}

// newOpenServer is one without TLS. It returns its URL.
func newOpenServer(t *testing.T, handle http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewServer(handle)
	t.Cleanup(server.Close)
	require.NotEmpty(t, server.URL)
	return server.URL
}
