package activity

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"

	"github.com/webordinary/router/containerboot/bootapi"
)

// chunk is how much of an answer goes out between two looks at the clock: small
// enough for a slow reader to be seen moving, large enough for sendfile to pay.
const chunk = 256 << 10

// Handler notes what goes through next as activity, but for requests marked with
// bootapi.HeaderActivity; the mark does not reach next.
func (a *Account) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		uncounted := r.Header.Get(bootapi.HeaderActivity) == bootapi.ActivityNone
		r.Header.Del(bootapi.HeaderActivity)
		if uncounted {
			next.ServeHTTP(w, r)
			return
		}

		cw := &countingWriter{ResponseWriter: w, account: a, silentSocket: isHotReload(r)}
		switch {
		case IsWrite(r):
			cw.flight = a.begin(KindWrite)
			if r.Body != nil {
				r.Body = &countingBody{ReadCloser: r.Body, account: a, flight: cw.flight}
			}
		case isDocument(r):
			a.Touch(KindDocument)
		}
		defer cw.done()
		next.ServeHTTP(cw, r)
	})
}

// IsWrite reports whether a request is other than a plain read.
func IsWrite(r *http.Request) bool {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return false
	default:
		return true
	}
}

// IsUpgrade reports whether a request asks for another protocol, such as a WebSocket.
func IsUpgrade(r *http.Request) bool {
	return r.Header.Get("Upgrade") != "" && listed(r.Header, "Connection", "upgrade")
}

// Counts reports whether the arrival of a request is somebody's doing: a document or a
// write, and not marked otherwise. What comes later, by a socket, is seen in the account.
func Counts(r *http.Request) bool {
	return r.Header.Get(bootapi.HeaderActivity) != bootapi.ActivityNone && (IsWrite(r) || isDocument(r))
}

// isDocument reports whether somebody opens a page: a navigation, or, from a client
// that sends no Sec-Fetch headers, a GET that names text/html.
func isDocument(r *http.Request) bool {
	if r.Method != http.MethodGet || IsUpgrade(r) || r.Header.Get("Sec-Purpose") != "" {
		return false
	}
	for name := range r.Header {
		if strings.HasPrefix(name, "Sec-Fetch-") {
			return r.Header.Get("Sec-Fetch-Mode") == "navigate"
		}
	}
	return strings.Contains(strings.ToLower(r.Header.Get("Accept")), "text/html")
}

// isHotReload reports whether a socket is a development server's own: its client
// sends data frames for as long as the tab is open.
func isHotReload(r *http.Request) bool {
	return listed(r.Header, "Sec-Websocket-Protocol", "vite-hmr") ||
		listed(r.Header, "Sec-Websocket-Protocol", "vite-ping")
}

// listed reports whether a header's comma-separated values name a token.
func listed(h http.Header, name, token string) bool {
	for _, v := range h[name] {
		for part := range strings.SplitSeq(v, ",") {
			if strings.EqualFold(strings.TrimSpace(part), token) {
				return true
			}
		}
	}
	return false
}

// countingWriter sees an answer go by. A read becomes a flight with the first byte of
// its body: a poll that waits for something to happen is none.
type countingWriter struct {
	http.ResponseWriter
	account      *Account
	flight       *flight
	silentSocket bool
	stream       bool // an event stream: open for as long as the tab is, so never a transfer
	begun        bool
}

func (w *countingWriter) body() {
	if !w.begun {
		w.begun = true
		w.stream = strings.HasPrefix(w.Header().Get("Content-Type"), "text/event-stream")
		switch {
		case w.stream && w.flight != nil:
			w.account.streams(w.flight)
		case !w.stream && w.flight == nil:
			w.flight = w.account.begin(KindTransfer)
		}
	}
}

func (w *countingWriter) moved(n int64) {
	if n > 0 && w.flight != nil {
		w.account.move(w.flight)
	}
}

func (w *countingWriter) done() {
	if w.flight != nil {
		w.account.end(w.flight)
	}
}

func (w *countingWriter) Write(p []byte) (int, error) {
	w.body()
	n, err := w.ResponseWriter.Write(p)
	w.moved(int64(n))
	return n, err
}

// ReadFrom keeps the server's use of sendfile.
func (w *countingWriter) ReadFrom(src io.Reader) (int64, error) {
	w.body()
	to, ok := w.ResponseWriter.(io.ReaderFrom)
	if !ok {
		return io.Copy(struct{ io.Writer }{w}, src)
	}
	limit, limited := src.(*io.LimitedReader)
	var total int64
	for {
		part := &io.LimitedReader{R: src, N: chunk}
		if limited {
			part = &io.LimitedReader{R: limit.R, N: min(chunk, limit.N)}
		}
		want := part.N
		if want == 0 {
			return total, nil
		}
		n, err := to.ReadFrom(part)
		total += n
		if limited {
			limit.N -= n
		}
		w.moved(n)
		if err != nil || n < want {
			return total, err
		}
	}
}

// Unwrap is for http.ResponseController.
func (w *countingWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Hijack hands the connection over; what the browser sends on it is looked at.
func (w *countingWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, fmt.Errorf("taking the connection over: %w", err)
	}
	if w.silentSocket {
		return conn, rw, nil
	}
	return &countingConn{Conn: conn, account: w.account}, rw, nil
}

// countingBody sees an upload go by.
type countingBody struct {
	io.ReadCloser
	account *Account
	flight  *flight
}

func (b *countingBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if n > 0 {
		b.account.move(b.flight)
	}
	return n, err
}
