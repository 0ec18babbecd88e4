package e2e

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/e2e/harness"
)

// requestID is what two answers to the same request may differ by.
var requestID = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)

// normalised is an answer without what differs from request to request.
func normalised(a harness.Answer) string {
	var b strings.Builder
	fmt.Fprintln(&b, a.Status)
	h := a.Header.Clone()
	h.Del("Date")
	_ = h.Write(&b) // to memory
	b.WriteString(a.Body)
	return requestID.ReplaceAllString(b.String(), "<request id>")
}

func TestHosts(t *testing.T) {
	parallel(t)
	e := harness.New(t, harness.Options{Bin: harness.Raced(t)})
	amelia := e.NewSite("amelia", harness.SiteOptions{})
	e.NewSite("bramble", harness.SiteOptions{})
	e.Start()
	session := e.CreateSession(amelia)
	session.Open()

	t.Run("a session is answered on another client's host like one that does not exist", func(t *testing.T) {
		ask := func(host, id, rest string) string {
			a := e.Do(harness.Request{Host: host, Path: "/session/" + id + rest, Header: harness.DocumentHeader()})
			assert.Equal(t, http.StatusNotFound, a.Status)
			return normalised(a)
		}
		missing := strings.Repeat("x", len(session.SessionID))
		for _, rest := range []string{"", "/", "/about/", "/api/health", "/api/status", "/api/events"} {
			assert.Equal(t, ask("edit.bramble.localhost", missing, rest), ask("edit.bramble.localhost", session.SessionID, rest), "path %q", rest)
		}
		assert.Equal(t, ask("edit.nobody.localhost", missing, "/"), ask("edit.bramble.localhost", session.SessionID, "/"),
			"a host that is nobody's")
		for _, verb := range []string{"/events", "/wake"} {
			q := harness.Request{Host: "edit.bramble.localhost", Header: harness.Header("Sec-Fetch-Site", "same-origin")}
			if verb == "/wake" {
				q.Method = http.MethodPost
			}
			q.Path = "/.webordinary/sessions/" + missing + verb
			want := normalised(e.Do(q))
			q.Path = "/.webordinary/sessions/" + session.SessionID + verb
			assert.Equal(t, want, normalised(e.Do(q)), verb)
		}
	})

	t.Run("hosts are normalised", func(t *testing.T) {
		for _, host := range []string{
			"edit.amelia.localhost", fmt.Sprintf("EDIT.Amelia.localhost.:%d", e.HTTPPort),
			"edit.amelia.localhost.", "Edit.AMELIA.LocalHost:8080",
		} {
			a := e.Do(harness.Request{Host: host, Path: session.Path("/"), Header: harness.DocumentHeader()})
			assert.Equal(t, http.StatusOK, a.Status, host)
			assert.Contains(t, a.Body, "content of amelia", host)
		}
	})

	t.Run("hosts that are nobody's", func(t *testing.T) {
		for _, host := range []string{
			"edit.nobody.localhost", "edit.a.b.localhost", "amelia.localhost", "edit..localhost", "127.0.0.1", "[::1]:80",
			"10.0.0.1:8080", ".", "..", "edit.amelia.localhost..", strings.Repeat("a.", 200) + "localhost", "localhost",
			"edit.amelia.localhost:x", "é.localhost", "edit.amelia.localhost@edit.bramble.localhost",
		} {
			status := rawStatus(t, e, "GET "+session.Path("/")+" HTTP/1.1\r\nHost: "+host+"\r\nConnection: close\r\n\r\n")
			assert.Contains(t, []int{http.StatusNotFound, http.StatusBadRequest}, status, "host %q", host)
		}
	})

	t.Run("requests without a usable host", func(t *testing.T) {
		for name, request := range map[string]string{
			"empty":  "GET /new HTTP/1.1\r\nHost:\r\nConnection: close\r\n\r\n",
			"none":   "GET /new HTTP/1.0\r\n\r\n",
			"absent": "GET /new HTTP/1.1\r\nConnection: close\r\n\r\n",
			"two":    "GET /new HTTP/1.1\r\nHost: edit.amelia.localhost\r\nHost: edit.bramble.localhost\r\nConnection: close\r\n\r\n",
		} {
			status := rawStatus(t, e, request)
			assert.Contains(t, []int{http.StatusNotFound, http.StatusBadRequest}, status, name)
		}
	})

	t.Run("certificates only for clients' hosts", func(t *testing.T) {
		handshake := func(name string) (*tls.ConnectionState, error) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			d := tls.Dialer{Config: &tls.Config{ServerName: name, InsecureSkipVerify: true}} // the issuer is the edge itself
			conn, err := d.DialContext(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", e.HTTPSPort))
			if err != nil {
				return nil, err
			}
			defer conn.Close()
			state := conn.(*tls.Conn).ConnectionState()
			return &state, nil
		}
		state, err := handshake("edit.amelia.localhost")
		require.NoError(t, err)
		assert.NoError(t, state.PeerCertificates[0].VerifyHostname("edit.amelia.localhost"))
		for _, name := range []string{"edit.nobody.localhost", "edit.a.b.localhost", "localhost", "www.amelia.example", ""} {
			_, err := handshake(name)
			assert.Error(t, err, "a certificate for %q", name)
		}
	})
}

// rawStatus sends bytes as they are and returns the status of the answer.
func rawStatus(t *testing.T, e *harness.Edge, request string) int {
	t.Helper()
	var d net.Dialer
	conn, err := d.DialContext(t.Context(), "tcp", fmt.Sprintf("127.0.0.1:%d", e.HTTPPort))
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.SetDeadline(time.Now().Add(time.Minute)))
	_, err = conn.Write([]byte(request))
	require.NoError(t, err)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoErrorf(t, err, "no answer to %q", request)
	defer resp.Body.Close()
	return resp.StatusCode
}
