package steps

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/webordinary/router/containerboot/bootapi"
)

// TestHostsThatDoNotAnswer has a build ask hosts that do not answer, each for another reason.
func TestHostsThatDoNotAnswer(t *testing.T) {
	t.Parallel()
	refusing := registry(t, 0)
	tls := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(tls.Close)
	cases := map[string]struct {
		url, cause string
		retryable  bool
	}{
		"no such name": {"http://cms.invalid/posts", "the host cms.invalid on the network does not answer: its name was not found.", true},
		"refused":      {refusing, "the host " + strings.TrimPrefix(refusing, "http://") + " on the network does not answer: it refuses the connection.", true},
		"not trusted":  {tls.URL, "the certificate of a host on the network is not trusted (self-signed certificate).", false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.write("", map[string]string{"build.mjs": "await fetch('" + tc.url + "');\n"})
			err := b.try(bootapi.Site{Install: "true", Command: "node build.mjs"}, false, true)
			b.fails(err, bootapi.PhaseBuilding, "The build failed: build.mjs line 1: "+tc.cause, tc.retryable)
		})
	}
}
