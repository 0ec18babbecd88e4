package containerboot

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/webordinary/router/containerboot/bootapi"
)

const (
	// probeTimeout is how long the site may take to answer the probe.
	probeTimeout = 30 * time.Second
	// probeEvery is how often a server that does not answer as it should is asked again.
	probeEvery = 250 * time.Millisecond
)

// answers says which status of the home page shows that a site is there, where
// build.healthPath names no page that must answer 2xx.
type answers struct {
	below int
	// again: a server may need a moment for what it needs itself.
	again bool
}

var (
	filesAnswer   = answers{below: http.StatusBadRequest}                       // it may redirect
	serverAnswers = answers{below: http.StatusInternalServerError, again: true} // and ask who it is
	// A development server shows what is wrong with a page.
	devAnswers = answers{below: http.StatusBadGateway, again: true}
)

// probe asks a handler of the site for a page, the way that visitors do.
func (x *session) probe(ctx context.Context, h http.Handler, want answers) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	path := x.claim.Site.HealthPath
	if path == "" {
		path = "/"
	} else {
		want.below = http.StatusMultipleChoices
	}
	for {
		code, err := x.ask(ctx, h, path)
		if err != nil {
			return err
		}
		if code >= http.StatusOK && code < want.below {
			return nil
		}
		if !want.again {
			return &unready{path: path, code: code}
		}
		pause := time.NewTimer(probeEvery)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return &unready{path: path, code: code}
		}
	}
}

// ask returns the status of a page.
func (x *session) ask(ctx context.Context, h http.Handler, path string) (int, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, path, nil)
	if err != nil {
		return 0, fmt.Errorf("probing the site: %w", err)
	}
	r.URL.Path = x.prefix + r.URL.Path
	r.RemoteAddr = "127.0.0.1:0"
	if len(x.claim.EditHosts) > 0 {
		r.Host = x.claim.EditHosts[0]
	}
	if x.claim.Site.HealthPath == "" {
		r.Header.Set("Accept", "text/html") // as for a page; a health check asks for no page
	}
	r.Header.Set(bootapi.HeaderActivity, bootapi.ActivityNone)
	answer := &probeAnswer{header: http.Header{}}
	h.ServeHTTP(answer, r)
	return answer.code, nil
}

// unready is a site that was built but does not answer as it should.
type unready struct {
	path string
	code int
}

func (e *unready) Error() string {
	if e.code == 0 {
		return fmt.Sprintf("The site was built but does not answer for %s.", e.path)
	}
	return fmt.Sprintf("The site was built but answers %d for %s.", e.code, e.path)
}

// probeAnswer keeps the status of an answer and nothing else.
type probeAnswer struct {
	header http.Header
	code   int
}

func (a *probeAnswer) Header() http.Header { return a.header }

func (a *probeAnswer) WriteHeader(code int) {
	if a.code == 0 && code >= http.StatusOK {
		a.code = code
	}
}

func (a *probeAnswer) Write(p []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	return len(p), nil
}
