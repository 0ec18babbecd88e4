package bootapi_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/containerboot/bootapi"
)

func TestResponseProofDiffers(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, p := range []string{
		bootapi.ResponseProof("t", "s", 1), bootapi.ResponseProof("u", "s", 1), bootapi.ResponseProof("t", "z", 1),
		bootapi.ResponseProof("t", "s", 2), bootapi.ResponseProof("t", "1\ns", 1), bootapi.ResponseProof("t", "", 1),
		bootapi.ResponseProof("t", "s", 11), bootapi.ResponseProof("t", "1s", 1), bootapi.ResponseProof("", "s", 1),
	} {
		assert.Regexp(t, `^[0-9a-f]{32}$`, p)
		assert.False(t, seen[p])
		seen[p] = true
	}
}

func FuzzCheckResponse(f *testing.F) {
	good := bootapi.ResponseProof("t", "s", 1)
	f.Add(good, "", 1)
	f.Add(strings.ToUpper(good), good, 2)
	f.Add(good+" ", good[:31], 1)
	f.Add("", "", 0)
	f.Fuzz(func(t *testing.T, first, second string, n int) {
		values := []string{first, second}[:max(0, min(n, 2))]
		h := http.Header{bootapi.HeaderProof: values}
		assert.Equal(t, len(values) == 1 && first == good, bootapi.CheckResponse(h, good))
		assert.False(t, bootapi.CheckResponse(h, ""), "nothing is proved by nothing")
	})
}

func TestCheckResponseAllocatesNothing(t *testing.T) {
	good := bootapi.ResponseProof("t", "s", 1)
	h := http.Header{bootapi.HeaderProof: {good}}
	assert.Zero(t, testing.AllocsPerRun(100, func() { bootapi.CheckResponse(h, good) }))
}

// converse has ProveConn speak to a peer for whom say answers a ProofRequest.
func converse(ctx context.Context, t *testing.T, say func(conn net.Conn, nonce string)) error {
	t.Helper()
	here, there := net.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer there.Close()
		r, err := http.ReadRequest(bufio.NewReader(there))
		if err != nil {
			return
		}
		var req bootapi.ProofRequest
		if json.NewDecoder(r.Body).Decode(&req) == nil {
			say(there, req.Nonce)
		}
	}()
	err := bootapi.ProveConn(ctx, here, bootapi.HashToken("t"))
	here.Close()
	<-done
	return err
}

// said writes an answer with a proof.
func said(conn io.Writer, header, proof string) {
	body := fmt.Sprintf(`{"proof":%q}`, proof)
	fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\n%sContent-Length: %d\r\n\r\n%s", header, len(body), body)
}

func TestProveConn(t *testing.T) {
	t.Parallel()
	nonces := map[string]bool{}
	proof := func(conn net.Conn, nonce string) {
		assert.False(t, nonces[nonce], "each is fresh")
		nonces[nonce] = true
		p, err := bootapi.MakeProof(bootapi.HashToken("t"), nonce)
		assert.NoError(t, err)
		said(conn, "", p)
	}
	require.NoError(t, converse(t.Context(), t, proof))
	require.NoError(t, converse(t.Context(), t, proof))
	replayed, err := bootapi.MakeProof(bootapi.HashToken("t"), bootapi.NewNonce())
	require.NoError(t, err)
	require.ErrorIs(t, converse(t.Context(), t, func(conn net.Conn, _ string) { said(conn, "", replayed) }), bootapi.ErrStranger)
	err = converse(t.Context(), t, func(conn net.Conn, nonce string) {
		p, _ := bootapi.MakeProof(bootapi.HashToken("t"), nonce)
		said(conn, "Connection: close\r\n", p)
	})
	require.Error(t, err)
	require.NotErrorIs(t, err, bootapi.ErrStranger, "it is the right one, about to end")

	ctx, cancel := context.WithTimeoutCause(t.Context(), 10*time.Millisecond, io.ErrNoProgress)
	defer cancel()
	err = converse(ctx, t, func(conn net.Conn, _ string) { _, _ = io.Copy(io.Discard, conn) })
	require.ErrorIs(t, err, io.ErrNoProgress)
	require.NotErrorIs(t, err, bootapi.ErrStranger)
}

// FuzzProveConn has a stranger say anything.
func FuzzProveConn(f *testing.F) {
	for _, seed := range []string{
		"", "HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", "HTTP/1.1 103 X\r\n\r\n", "SSH-2.0\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n", "HTTP/1.0 500 x\r\n\r\n", "HTTP/1.1 101 x\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 999999999999\r\n\r\n{\"proof\":\"", "HTTP/1.1 204 x\r\n\r\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, answer []byte) {
		require.Error(t, converse(t.Context(), t, func(conn net.Conn, _ string) { _, _ = conn.Write(answer) }))
	})
}
