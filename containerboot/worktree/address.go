package worktree

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/http/httpproxy"

	"github.com/webordinary/router/configstore"
)

const (
	// redirections bounds how often a repository may have moved.
	redirections = 3
	// movedTimeout bounds asking where to.
	movedTimeout = 30 * time.Second
	infoRefs     = "/info/refs"
)

// errLocal is a name that has an address which is not public.
var errLocal = errors.New("is at a private address, which the operator does not allow")

// publicAddresses are those of a host, if all are public.
func publicAddresses(ctx context.Context, host string) ([]netip.Addr, error) {
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, err
	}
	for i := range addrs {
		addrs[i] = addrs[i].Unmap()
		if configstore.IsLocal(addrs[i]) {
			return nil, errLocal
		}
	}
	return addrs, nil
}

// addresses are what git may speak to, in the resolver's order; none where that does not
// matter or a proxy decides.
func (w *Worktree) addresses(ctx context.Context, r remote) ([]netip.Addr, error) {
	if w.cfg.AllowFile || r.host == "" || r.scheme == "https" && isProxied(r) {
		return nil, nil
	}
	addrs, err := w.lookUp(ctx, r.host)
	switch {
	case errors.Is(err, errLocal):
		return nil, &Error{Cause: "The server " + r.host + " " + err.Error() + ".", err: err}
	case ctx.Err() != nil:
		return nil, &Error{Cause: tookTooLong, Retryable: true, network: true, err: ctx.Err()}
	case err != nil:
		return nil, &Error{Cause: r.fill(hostNotFound), Detail: err.Error(), Retryable: true, network: true, err: err}
	}
	return addrs, nil
}

// isProxied reports whether git asks a proxy for an https URL.
func isProxied(r remote) bool {
	proxies := httpproxy.FromEnvironment()
	for _, name := range []string{"ALL_PROXY", "all_proxy"} { // curl knows this one too
		if proxies.HTTPSProxy == "" {
			proxies.HTTPSProxy = os.Getenv(name)
		}
	}
	u, err := url.Parse(r.url)
	if err != nil {
		return false
	}
	proxy, err := proxies.ProxyFunc()(u)
	return err == nil && proxy != nil
}

// resolveConfig has git's curl take these addresses for the remote's host. Some versions
// of curl look a name up with its last dot, some without.
func (r remote) resolveConfig(addrs []netip.Addr) (config [][2]string) {
	port := r.port
	if port == "" {
		port = "443"
	}
	list := make([]string, len(addrs))
	for i, a := range addrs {
		list[i] = a.String()
		if a.Is6() {
			list[i] = "[" + list[i] + "]"
		}
	}
	names := []string{r.host}
	if bare, dot := strings.CutSuffix(r.host, "."); dot {
		names = append(names, bare)
	}
	for _, name := range names {
		config = append(config, [2]string{"http.curloptResolve", name + ":" + port + ":" + strings.Join(list, ",")})
	}
	return config
}

// redirected is what git says of a redirection that it was told not to follow.
var redirected = regexp.MustCompile(`returned error: 30[12378]\b`)

// follow is attempt, at the new place of an https repository that has moved: git would go
// wherever it is sent.
func (w *Worktree) follow(ctx context.Context, p place, r remote, try int, args []string) ([]byte, error) {
	for hop := 0; ; hop++ {
		out, err := w.attempt(ctx, p, r, try, args)
		e := (*Error)(nil)
		if hop == redirections || r.scheme != "https" || !errors.As(err, &e) || !redirected.MatchString(e.Detail) {
			return out, err
		}
		to, moved := w.moved(ctx, r, args[0])
		if !moved {
			return out, err
		}
		args = slices.Clone(args)
		args[slices.Index(args, r.url)] = to.url
		r = to
	}
}

// moved asks a server where a repository has moved to, without credentials.
func (w *Worktree) moved(ctx context.Context, r remote, command string) (remote, bool) {
	addrs, err := w.addresses(ctx, r)
	if err != nil || len(addrs) == 0 {
		return remote{}, false
	}
	service := "git-upload-pack"
	if command == "push" {
		service = "git-receive-pack"
	}
	ctx, cancel := context.WithTimeout(ctx, movedTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.url+infoRefs+"?service="+service, nil)
	if err != nil {
		return remote{}, false
	}
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: gitRoots(), MinVersion: tls.VersionTLS12},
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			_, port, err := net.SplitHostPort(addr)
			if err != nil {
				return nil, err
			}
			var conn net.Conn
			for _, a := range addrs {
				if conn, err = new(net.Dialer).DialContext(ctx, network, net.JoinHostPort(a.String(), port)); err == nil {
					break
				}
			}
			return conn, err
		},
		DisableKeepAlives: true,
	}
	res, err := transport.RoundTrip(req)
	if err != nil {
		return remote{}, false
	}
	defer res.Body.Close()
	at, err := res.Location()
	if err != nil || !strings.HasSuffix(at.Path, infoRefs) {
		return remote{}, false
	}
	at.Path, at.RawPath, at.RawQuery = strings.TrimSuffix(at.Path, infoRefs), "", ""
	to, err := parseURL(at.String(), false)
	if err != nil || to.scheme != "https" {
		return remote{}, false
	}
	to.user, to.password = "", ""
	if to.server() == r.server() {
		to.user, to.password = r.user, r.password
	}
	return to, true
}

// gitRoots are the authorities that git is told to trust; nil for the system's.
func gitRoots() *x509.CertPool {
	file := os.Getenv("GIT_SSL_CAINFO")
	if file == "" {
		return nil // package x509 knows SSL_CERT_FILE and SSL_CERT_DIR by itself
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(data)
	return roots
}
