package containerboot

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"

	"github.com/webordinary/router/containerboot/bootapi"
)

// signedWriter puts the session's proof on every response that goes through it,
// informational ones and upgrades included, and takes away what the site behind it says
// in headers that are between edge and containerboot.
type signedWriter struct {
	http.ResponseWriter
	proof []string
	// refused is what HeaderRefused says, which the site behind cannot: "" for nothing.
	refused string
	begun   bool // the header of the response itself is written
}

// sign comes before every header that is written, as late as can be: a proxy clears
// the whole header after each informational response.
func (w *signedWriter) sign() {
	h := w.Header()
	for name := range h {
		if strings.HasPrefix(name, bootapi.HeaderPrefix) {
			delete(h, name)
		}
	}
	h[bootapi.HeaderProof] = w.proof
	if w.refused != "" {
		h.Set(bootapi.HeaderRefused, w.refused)
	}
}

// begin is called before whatever may write the response's header, and when the handler
// has returned: the server then writes the header that the handler has not.
func (w *signedWriter) begin() {
	if !w.begun {
		w.begun = true
		w.sign()
	}
}

// WriteHeader implements http.ResponseWriter.
func (w *signedWriter) WriteHeader(code int) {
	if code >= http.StatusOK || code == http.StatusSwitchingProtocols {
		w.begin()
	} else {
		w.sign()
	}
	w.ResponseWriter.WriteHeader(code)
}

// Write implements http.ResponseWriter.
func (w *signedWriter) Write(p []byte) (int, error) {
	w.begin()
	return w.ResponseWriter.Write(p)
}

// ReadFrom keeps the server's use of sendfile.
func (w *signedWriter) ReadFrom(src io.Reader) (int64, error) {
	w.begin()
	if to, ok := w.ResponseWriter.(io.ReaderFrom); ok {
		return to.ReadFrom(src)
	}
	return io.Copy(struct{ io.Writer }{w.ResponseWriter}, src)
}

// FlushError is for http.ResponseController: it may be the first that writes.
func (w *signedWriter) FlushError() error {
	w.begin()
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// Hijack hands the connection over. Who takes it writes the header that is there by
// now, as httputil.ReverseProxy does.
func (w *signedWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	w.begin()
	conn, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, fmt.Errorf("taking the connection over: %w", err)
	}
	return conn, rw, nil
}

// Unwrap is for http.ResponseController.
func (w *signedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
