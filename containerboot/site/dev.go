package site

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

const (
	// vitePath is the script by which pages of a development server hear of edits.
	vitePath = "/@vite/client"
	// hmrPath, below the session's prefix, leads to the path at which the development
	// server expects that script's socket: Astro takes its base off what it serves, but
	// Vite knows of none and would have the socket opened at the root of the host, where
	// nobody could tell the session.
	hmrPath = "/.webordinary/hmr"
	// maxClient bounds the script, in bytes.
	maxClient = 4 << 20
)

var (
	// socketHost is where the script puts together its socket's address; its group is the
	// path, as a literal.
	socketHost = regexp.MustCompile("\\b(?:const|let|var) socketHost\\s*=\\s*`[^`]*\\$\\{(\"[^\"]*\")\\}`")
	// updateBase is where the script puts together the addresses of what was edited. Each
	// is new, and with the prefix it spares the edge's redirect; what it imports stays at
	// the addresses that the page has it from.
	updateBase = regexp.MustCompile(`\b((?:const|let|var) base\s*=\s*)"/" \|\| "/"`)
	// directHost is the development server's own address, at which the script tries when
	// the socket fails. No visitor reaches it.
	directHost = regexp.MustCompile(`\b((?:const|let|var) directSocketHost\s*=\s*)(?:"[^"]*"|null|undefined)`)
)

// hmrURL returns where a request for the script's socket leads.
func (p *Program) hmrURL(trimmed *url.URL) (*url.URL, bool) {
	if !p.knows || !strings.HasPrefix(trimmed.Path, hmrPath+"/") {
		return nil, false
	}
	return TrimURL(trimmed, hmrPath)
}

// belowBase sets the path at which a development server has what a visitor asks for.
// trimmed is that without the session's prefix, if it had one.
func (p *Program) belowBase(u, trimmed *url.URL, had bool) {
	if socket, ok := p.hmrURL(trimmed); ok {
		u.Path, u.RawPath = socket.Path, socket.RawPath
		return
	}
	base := p.serves()
	if had && base == p.prefix {
		return
	}
	// Links that are written out have the site's own base already.
	if rest, ok := TrimURL(trimmed, base); ok {
		trimmed = rest
	}
	u.Path, u.RawPath = base+trimmed.Path, ""
	if trimmed.RawPath != "" {
		u.RawPath = escapePath(base) + trimmed.RawPath
	}
}

// ownSockets has the script open its socket within the session, and nowhere else, and get
// what was edited from there.
func (p *Program) ownSockets(resp *http.Response) error {
	path, _ := TrimPrefix(resp.Request.URL.Path, p.serves())
	if p.prefix == "" || path != vitePath || resp.StatusCode != http.StatusOK || resp.Request.Method != http.MethodGet {
		return nil
	}
	script, err := io.ReadAll(io.LimitReader(resp.Body, maxClient+1))
	if err != nil {
		return fmt.Errorf("reading %s: %w", vitePath, err)
	}
	if len(script) > maxClient {
		return errLongClient
	}
	if err := resp.Body.Close(); err != nil {
		return fmt.Errorf("reading %s: %w", vitePath, err)
	}
	// Most of it is its source map, which is not looked through.
	var sourceMap []byte
	if at := bytes.LastIndex(script, []byte("//# sourceMappingURL=")); at >= 0 {
		script, sourceMap = script[:at], script[at:]
	}
	script = socketHost.ReplaceAll(script, []byte("const socketHost = importMetaUrl.host + \""+string(p.rewrite.prefix)+hmrPath+"\" + ${1}"))
	script = updateBase.ReplaceAll(script, []byte("${1}\""+string(p.rewrite.prefix)+"/\""))
	script = directHost.ReplaceAll(script, []byte("${1}socketHost"))
	script = slices.Concat(script, sourceMap)
	resp.Body = io.NopCloser(bytes.NewReader(script))
	resp.ContentLength = int64(len(script))
	resp.Header.Set("Content-Length", fmt.Sprint(len(script)))
	return nil
}

// isOwn reports whether a development server may be asked for by this Host.
func (p *Program) isOwn(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.ToLower(strings.Trim(host, "[]"))
	return net.ParseIP(host) != nil || host == "localhost" || strings.HasSuffix(host, ".localhost") || slices.Contains(p.hosts, host)
}

// refuseHost answers as Vite does to a host that it does not know.
func refuseHost(w http.ResponseWriter, r *http.Request) {
	status := http.StatusForbidden
	if r.Header.Get("Upgrade") != "" {
		status = http.StatusBadRequest
	}
	writeText(w, r, status, "This host is not one of the site's edit hosts.")
}

// errLongClient: what came is not the script that is known.
var errLongClient = errors.New(vitePath + " is too long")
