package containerboot

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/webordinary/router/containerboot/bootapi"
)

// probeTimeout is how long the site may take to answer the probe.
const probeTimeout = 30 * time.Second

// probe asks the site for a page, the way that visitors do.
func (x *session) probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	path, below := x.claim.Site.HealthPath, http.StatusMultipleChoices
	if path == "" {
		path, below = "/", http.StatusBadRequest // it may redirect
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, path, nil)
	if err != nil {
		return fmt.Errorf("probing the site: %w", err)
	}
	r.URL.Path = x.prefix + r.URL.Path
	if x.claim.Site.HealthPath == "" {
		r.Header.Set("Accept", "text/html") // as for a page; a health check asks for no page
	}
	r.Header.Set(bootapi.HeaderActivity, bootapi.ActivityNone)
	answer := &probeAnswer{header: http.Header{}}
	x.pages.ServeHTTP(answer, r)
	if answer.code < http.StatusOK || answer.code >= below {
		return &unready{path: path, code: answer.code}
	}
	return nil
}

// unready is a site that was built but does not answer as it should.
type unready struct {
	path string
	code int
}

func (e *unready) Error() string {
	return fmt.Sprintf("The site was built but answers %d for %s.", e.code, e.path)
}

// probeAnswer keeps the status of an answer and nothing else.
type probeAnswer struct {
	header http.Header
	code   int
}

func (a *probeAnswer) Header() http.Header { return a.header }

func (a *probeAnswer) WriteHeader(code int) {
	if a.code == 0 {
		a.code = code
	}
}

func (a *probeAnswer) Write(p []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	return len(p), nil
}
