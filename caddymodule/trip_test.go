package caddymodule

import (
	"context"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/containerboot/bootapi"
)

// BenchmarkTrip is what it costs a request to be watched and its answer to be checked.
func BenchmarkTrip(b *testing.B) {
	proof := bootapi.ResponseProof("t", "s", 1)
	values := []string{proof}
	header := http.Header{
		"Content-Type": {"text/html"}, "Etag": {"x"}, "Cache-Control": {"no-cache"}, "Date": {"x"}, "Content-Length": {"1"},
	}
	parent, cancel := context.WithCancel(b.Context())
	defer cancel()
	b.ReportAllocs()
	for b.Loop() {
		header[bootapi.HeaderProof] = values
		ctx := httptrace.WithClientTrace(parent, &httptrace.ClientTrace{
			Got1xxResponse: func(int, textproto.MIMEHeader) error { return nil },
		})
		x := &trip{proof: proof}
		x.begin(ctx)
		require.True(b, x.end())
		require.NoError(b, x.check(header))
		x.cancel(nil) // as the end of the request's own context does
	}
}
