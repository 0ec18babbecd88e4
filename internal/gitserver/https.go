package gitserver

import (
	"context"
	"encoding/pem"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// HTTPS is git http-backend behind TLS, which lets in whoever has the name and the
// password, or everybody where both are empty.
type HTTPS struct {
	*httptest.Server
	// CA is the file of the certificate that is to be trusted.
	CA string

	mu   sync.Mutex
	seen []Request
}

// Request is what a server was asked.
type Request struct {
	Path           string
	User, Password string
}

// NewHTTPS serves the bare repositories of a folder, at /{name}, for the time of a test.
// Whatever middle, which may be nil, answers does not reach git.
func NewHTTPS(t testing.TB, folder, user, password string, middle func(http.Handler) http.Handler) *HTTPS {
	t.Helper()
	path, err := exec.CommandContext(context.Background(), "git", "--exec-path").Output()
	require.NoError(t, err)
	s := &HTTPS{}
	var handler http.Handler = &cgi.Handler{
		Path: filepath.Join(strings.TrimSpace(string(path)), "git-http-backend"),
		Env: []string{
			"GIT_PROJECT_ROOT=" + folder, "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1",
			"GIT_CONFIG_COUNT=2", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*",
			"GIT_CONFIG_KEY_1=http.receivepack", "GIT_CONFIG_VALUE_1=true",
		},
		Stderr: new(output),
	}
	git := handler
	handler = http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
		if u, p, _ := req.BasicAuth(); u != user || p != password {
			rw.Header().Set("WWW-Authenticate", `Basic realm="git"`)
			http.Error(rw, "no", http.StatusUnauthorized)
			return
		}
		git.ServeHTTP(rw, req)
	})
	if middle != nil {
		handler = middle(handler)
	}
	inner := handler
	s.Server = httptest.NewTLSServer(http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
		u, p, _ := req.BasicAuth()
		s.mu.Lock()
		s.seen = append(s.seen, Request{Path: req.URL.Path, User: u, Password: p})
		s.mu.Unlock()
		inner.ServeHTTP(rw, req)
	}))
	t.Cleanup(s.Close)
	s.CA = filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(s.CA, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600))
	return s
}

// Seen returns what was asked so far.
func (s *HTTPS) Seen() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Request(nil), s.seen...)
}
