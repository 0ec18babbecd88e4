package pages_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/html"

	"github.com/webordinary/router/containerboot/bootapi"
	"github.com/webordinary/router/pages"
)

var update = flag.Bool("update", false, "write the golden files anew")

const requestID = "7f0c2a4e-95c8-4d0b-9a55-1f6f3f0f2a11"

// everyPage makes each page from the given texts, which stand for whatever comes
// from elsewhere.
func everyPage(text, address string) map[string]pages.Page {
	status := bootapi.Status{
		Phase: bootapi.PhaseInstalling, Step: text, TotalMillis: 12_400, PhaseMillis: 3_000,
		Percent: new(43), ExpectedMillis: 20_000, ExpectedTotalMillis: 52_000,
		Log: []string{text, text}, Reused: []string{"clone"}, Failure: &bootapi.Failure{Detail: "DETAIL"},
	}
	failure := bootapi.Failure{Phase: bootapi.PhaseBuilding, Cause: text, Detail: "DETAIL"}
	retryable := failure
	retryable.Retryable, retryable.Phase = true, bootapi.PhaseCloning
	running := []pages.RunningSession{
		{URL: address, User: text, Awake: 12 * time.Minute, SleepURL: address},
		{URL: address, Awake: 3 * time.Hour},
	}
	return map[string]pages.Page{
		"not_found":          pages.NotFound(requestID),
		"disabled":           pages.Disabled(requestID),
		"unavailable":        pages.Unavailable(requestID, 1500*time.Millisecond),
		"no_table":           pages.NoTable(requestID, 5*time.Second, false),
		"no_table_failing":   pages.NoTable(requestID, 5*time.Second, true),
		"method_not_allowed": pages.MethodNotAllowed(requestID),
		"cross_site":         pages.CrossSite(requestID),
		"ambiguous":          pages.Ambiguous(requestID),
		"waiting":            pages.Waiting(pages.WaitingData{Client: text, EventsURL: address, Status: status, RequestID: requestID}),
		"waiting_at_first":   pages.Waiting(pages.WaitingData{Client: text, EventsURL: address, RequestID: requestID}),
		"failed":             pages.Failed(pages.FailedData{Client: text, Failure: failure, Log: []string{text}, RetryAfter: 4 * time.Second, WakeURL: address, RequestID: requestID}),
		"failed_retryable":   pages.Failed(pages.FailedData{Client: text, Failure: retryable, WakeURL: address, RequestID: requestID}),
		"limit":              pages.Limit(pages.LimitData{Client: text, Max: 2, Running: running, RetryAfter: time.Minute, RequestID: requestID}),
		"limit_unlisted":     pages.Limit(pages.LimitData{Client: text, Max: 1, RequestID: requestID}),
		"new":                pages.New(pages.NewData{Client: text, RequestID: requestID}),
	}
}

func usual() map[string]pages.Page { return everyPage("amelia", "/.webordinary/sessions/a%23b/events") }

func TestGolden(t *testing.T) {
	for name, page := range usual() {
		t.Run(name, func(t *testing.T) {
			var got bytes.Buffer
			fmt.Fprintln(&got, page.Status)
			require.NoError(t, page.Header.Write(&got))
			fmt.Fprintf(&got, "\n%s----------\n%s", page.Machine().Body, page.Body)
			file := filepath.Join("testdata", name+".golden")
			if *update {
				require.NoError(t, os.MkdirAll("testdata", 0o755))
				require.NoError(t, os.WriteFile(file, got.Bytes(), 0o644))
			}
			want, err := os.ReadFile(file)
			require.NoError(t, err)
			assert.Equal(t, strings.ReplaceAll(string(want), "\r\n", "\n"), strings.ReplaceAll(got.String(), "\r\n", "\n"))
		})
	}
	files, err := filepath.Glob("testdata/*.golden")
	require.NoError(t, err)
	assert.Len(t, files, len(usual()), "a golden file of no page")
}

func TestStatuses(t *testing.T) {
	want := map[string]int{
		"not_found": 404, "disabled": 403, "unavailable": 503, "no_table": 503, "no_table_failing": 503, "method_not_allowed": 405, "cross_site": 403, "ambiguous": 409,
		"waiting": 202, "waiting_at_first": 202, "failed": 503, "failed_retryable": 503, "limit": 429, "limit_unlisted": 429, "new": 200,
	}
	got := map[string]int{}
	for name, page := range usual() {
		got[name] = page.Status
	}
	assert.Equal(t, want, got)
	assert.Equal(t, "2", usual()["unavailable"].Header.Get("Retry-After"), "rounded up")
	assert.Equal(t, "4", usual()["failed"].Machine().Header.Get("Retry-After"))
	assert.Empty(t, pages.Unavailable(requestID, 0).Header.Values("Retry-After"))
}

// The policy must name exactly the style sheet and script that the page holds, and
// the page must need nothing that the policy forbids.
func TestPolicyMatchesThePage(t *testing.T) {
	for name, page := range usual() {
		t.Run(name, func(t *testing.T) {
			policy := page.Header.Get("Content-Security-Policy")
			for _, directive := range []string{"default-src 'none'", "base-uri 'none'", "form-action 'self'"} {
				assert.Contains(t, policy, directive)
			}
			assert.NotContains(t, policy, "unsafe")
			assert.Equal(t, hashesIn(page.Body, "style"), regexp.MustCompile(`style-src ([^;]*)`).FindStringSubmatch(policy)[1])
			scripts := hashesIn(page.Body, "script")
			if scripts == "" {
				scripts = "'none'"
			}
			assert.Equal(t, scripts, regexp.MustCompile(`script-src ([^;]*)`).FindStringSubmatch(policy)[1])
			for n := range elements(t, page.Body) {
				for _, a := range n.Attr {
					assert.False(t, strings.HasPrefix(a.Key, "on") || a.Key == "style", "%s has %s", n.Data, a.Key)
					if a.Key == "src" || a.Key == "href" && n.Data == "link" {
						assert.True(t, strings.HasPrefix(a.Val, "data:"), a.Val)
					}
				}
			}
		})
	}
}

// Only pages whose buttons do something that costs are kept out of others' frames.
func TestFraming(t *testing.T) {
	for name, page := range usual() {
		guarded := strings.Contains(page.Header.Get("Content-Security-Policy"), "frame-ancestors 'self'")
		assert.Equal(t, name == "new" || name == "limit", guarded, name)
	}
}

func hashesIn(body []byte, element string) string {
	var out []string
	for _, m := range regexp.MustCompile(`(?s)<`+element+`>(.*?)</`+element+`>`).FindAllSubmatch(body, -1) {
		sum := sha256.Sum256(m[1])
		out = append(out, "'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+"'")
	}
	return strings.Join(out, " ")
}

func TestWaitingPageIsSmallWhateverItShows(t *testing.T) {
	for _, unit := range []string{"<", `"`, "ü", "漢", "\U0001F600", "\xff", "\x1b[31m", "a\u0301"} {
		long := strings.Repeat(unit, 5000)
		page := pages.Waiting(pages.WaitingData{
			Client: long, EventsURL: "/" + strings.Repeat(unit, 300), RequestID: long,
			Status: bootapi.Status{
				Phase: bootapi.PhaseBuilding, Step: long, Log: slices.Repeat([]string{long}, 20), Reused: []string{"clone", "install", "build"},
				Percent: new(100), ExpectedTotalMillis: 3_600_000,
			},
		})
		assert.Less(t, len(page.Body), 12_000, "%q", unit)
		assert.True(t, utf8.Valid(page.Body), "%q", unit)
	}
}

func TestPhases(t *testing.T) {
	order := []string{"starting", "cloning", "installing", "building", "ready"}
	tests := []struct {
		phase bootapi.Phase
		want  string // the first letter of each state
	}{
		{"", "apppp"},
		{bootapi.PhaseStarting, "apppp"},
		{bootapi.PhaseClaimed, "apppp"},
		{bootapi.PhaseStopping, "apppp"},
		{bootapi.PhaseCloning, "dappp"},
		{bootapi.PhaseInstalling, "ddapp"},
		{bootapi.PhaseBuilding, "dddap"},
		{bootapi.PhaseReady, "dddda"},
		{"of another version", "ppppp"},
	}
	for _, test := range tests {
		page := pages.Waiting(pages.WaitingData{Status: bootapi.Status{Phase: test.phase, Step: "a step"}})
		var phases []string
		states := ""
		for n := range elements(t, page.Body) {
			if phase, ok := attr(n, "data-phase"); ok {
				state, _ := attr(n, "data-state")
				_, current := attr(n, "aria-current")
				assert.Equal(t, state == "active", current)
				phases, states = append(phases, phase), states+state[:1]
			}
		}
		assert.Equal(t, order, phases)
		assert.Equal(t, test.want, states, test.phase)
	}
	failed := string(everyPage("x", "/x")["failed"].Body)
	assert.Contains(t, failed, `data-phase="installing" data-state="done"`)
	assert.Contains(t, failed, `data-phase="building" data-state="failed"`)
	assert.Contains(t, failed, `data-phase="ready" data-state="pending"`)
}

func TestTimeLeft(t *testing.T) {
	tests := []struct {
		total, expected int64
		want            string // "": nothing is said
	}{
		{12_000, 0, ""},
		{12_000, 52_000, "About 40 seconds left."},
		{12_000, 53_000, "About 45 seconds left."},
		{0, 89_000, "About 90 seconds left."},
		{0, 91_000, "About 2 minutes left."},
		{0, 280_000, "About 5 minutes left."},
		{12_000, 19_000, "A few seconds left."},
		{12_000, 12_000, "A few seconds left."},
		{12_000, 8_000, "A few seconds left."},
		{12_000, 6_000, "This takes longer than last time."},
	}
	for _, test := range tests {
		page := pages.Waiting(pages.WaitingData{Status: bootapi.Status{Phase: bootapi.PhaseCloning, TotalMillis: test.total, ExpectedTotalMillis: test.expected}})
		for n := range elements(t, page.Body) {
			if id, _ := attr(n, "id"); id != "left" {
				continue
			}
			_, hidden := attr(n, "hidden")
			assert.Equal(t, test.want == "", hidden)
			_, live := attr(n, "aria-live")
			assert.False(t, live, "not each second is announced")
			text := ""
			if n.FirstChild != nil {
				text = n.FirstChild.Data
			}
			assert.Equal(t, test.want, text)
		}
		assert.Equal(t, 1, strings.Count(string(page.Body), `id="left"`))
	}
}

func TestPercent(t *testing.T) {
	status := bootapi.Status{Phase: bootapi.PhaseCloning, Step: "Receiving objects", Percent: new(43)}
	assert.Contains(t, string(pages.Waiting(pages.WaitingData{Status: status}).Body), "<small>Receiving objects 43 %</small>")
	status.Percent = nil
	assert.Contains(t, string(pages.Waiting(pages.WaitingData{Status: status}).Body), "<small>Receiving objects</small>", "of a container that says none")
}

func TestAccessibility(t *testing.T) {
	for name, page := range usual() {
		t.Run(name, func(t *testing.T) {
			seen := map[string]int{}
			for n := range elements(t, page.Body) {
				seen[n.Data]++
				if n.Data == "html" {
					lang, _ := attr(n, "lang")
					assert.Equal(t, "en", lang)
				}
				if role, _ := attr(n, "role"); role == "status" {
					seen["status"]++
				}
			}
			assert.Equal(t, []int{1, 1, 1}, []int{seen["title"], seen["h1"], seen["main"]})
			assert.Equal(t, strings.HasPrefix(name, "waiting"), seen["status"] == 1, "phases are announced")
			assert.Contains(t, string(page.Body), "prefers-color-scheme:dark")
			assert.Contains(t, string(page.Body), "prefers-reduced-motion:reduce")
			assert.Contains(t, string(page.Body), requestID)
		})
	}
}

func TestWithoutScript(t *testing.T) {
	waiting := string(usual()["waiting"].Body)
	assert.Contains(t, waiting, `<noscript><meta http-equiv="refresh" content="3"></noscript>`)
	for _, name := range []string{"failed", "new", "limit"} {
		assert.Contains(t, string(usual()[name].Body), `<form method="post" action="/`, name)
	}
}

func TestNotFoundTellsNothing(t *testing.T) {
	a, b := pages.NotFound("11111111"), pages.NotFound("22222222")
	assert.Equal(t, a.Header, b.Header)
	assert.Equal(t, string(a.Body), strings.ReplaceAll(string(b.Body), "22222222", "11111111"))
}

func TestOperatorsDetailIsNotShown(t *testing.T) {
	for name, page := range usual() {
		assert.NotContains(t, string(page.Body), "DETAIL", name)
		assert.NotContains(t, string(page.Machine().Body), "DETAIL", name)
	}
}

func TestUnknownCause(t *testing.T) {
	page := pages.Failed(pages.FailedData{Failure: bootapi.Failure{Cause: " \x1b[0m"}})
	assert.Contains(t, string(page.Body), `<p class="cause">The reason is not known.</p>`)
}

func TestLogLinesAreTheLastOnesWithoutColours(t *testing.T) {
	var log []string
	for i := range 400 {
		log = append(log, fmt.Sprintf("\x1b[32mline %d\x1b[0m\r", i))
	}
	body := string(pages.Failed(pages.FailedData{Log: log}).Body)
	assert.Contains(t, body, "line 398\nline 399\n</pre>")
	assert.NotContains(t, body, "line 10\n")
	assert.NotContains(t, body, "[32m")
}

func TestListedSessionsAreBounded(t *testing.T) {
	page := pages.Limit(pages.LimitData{Max: 1000, Running: make([]pages.RunningSession, 1000)})
	assert.Equal(t, 100, strings.Count(string(page.Body), "awake for"))
}

func TestWrite(t *testing.T) {
	for name, page := range usual() {
		for _, p := range []pages.Page{page, page.Machine()} {
			w := httptest.NewRecorder()
			w.Header().Set("Set-Cookie", "a=b")
			require.NoError(t, p.Write(w, httptest.NewRequest(http.MethodGet, "/", nil)))
			assert.Equal(t, p.Status, w.Code)
			assert.Equal(t, string(p.Body), w.Body.String())
			assert.Equal(t, fmt.Sprint(len(p.Body)), w.Header().Get("Content-Length"))
			assert.Equal(t, "no-store", w.Header().Get("Cache-Control"))
			assert.Equal(t, "nosniff", w.Header().Get("X-Content-Type-Options"))
			assert.Equal(t, "a=b", w.Header().Get("Set-Cookie"), "what others set stays")

			head := httptest.NewRecorder()
			head.Header().Set("Set-Cookie", "a=b")
			require.NoError(t, p.Write(head, httptest.NewRequest(http.MethodHead, "/", nil)))
			assert.Equal(t, w.Header(), head.Header(), name)
			assert.Equal(t, w.Code, head.Code)
			assert.Empty(t, head.Body.String())
		}
	}
}

func TestMachine(t *testing.T) {
	phases := map[string]string{"waiting": "installing", "failed": "failed", "failed_retryable": "failed"}
	for name, page := range usual() {
		t.Run(name, func(t *testing.T) {
			m := page.Machine()
			assert.Equal(t, "application/json", m.Header.Get("Content-Type"))
			var got struct {
				Error, Phase, RequestID string
				Status                  int
			}
			require.NoError(t, json.Unmarshal(m.Body, &got))
			assert.Equal(t, page.Status, m.Status)
			assert.Equal(t, page.Status, got.Status)
			assert.Equal(t, requestID, got.RequestID)
			assert.Equal(t, phases[name], got.Phase)
			assert.NotEmpty(t, got.Error)
		})
	}
}

// FuzzEscaping puts any text into every place that shows something from elsewhere.
// The document's elements and attributes must stay those of the same page with a
// harmless text, and no link may run a script.
func FuzzEscaping(f *testing.F) {
	for _, text := range []string{
		`</script><script>alert(1)</script>`, `" onload="x`, `'><img src=x onerror=x>`, `<!--`, `--></style>`,
		"javascript:alert(1)", "data:text/html,<script>", "{{.}}", "\x00<b>", "&lt;b&gt;", "\u202e", "//evil.example", `\`,
	} {
		f.Add(text)
	}
	want := map[string]string{}
	for name, page := range everyPage("amelia", "/x") {
		want[name] = shape(f, page.Body)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if strings.TrimSpace(text) == "" {
			return
		}
		for name, page := range everyPage("x"+text, text) {
			if got := shape(t, page.Body); got != want[name] {
				t.Fatalf("%s with %q has the shape\n%s\ninstead of\n%s", name, text, got, want[name])
			}
			if !json.Valid(page.Machine().Body) {
				t.Fatalf("%s with %q is no JSON for programs", name, text)
			}
		}
	})
}

// shape is a document without its texts and values.
func shape(t testing.TB, body []byte) string {
	var out strings.Builder
	for n := range elements(t, body) {
		out.WriteString(n.Data)
		keys := map[string]bool{}
		for _, a := range n.Attr {
			keys[a.Key] = true
			if a.Key == "href" || a.Key == "action" {
				assert.NotRegexp(t, `(?i)^\s*(javascript|vbscript|data:text)`, a.Val)
			}
		}
		fmt.Fprintln(&out, slices.Sorted(maps.Keys(keys)))
	}
	return out.String()
}

// elements parses a document and walks over its elements, those in noscript too.
func elements(t testing.TB, body []byte) func(yield func(*html.Node) bool) {
	t.Helper()
	doc, err := html.ParseWithOptions(bytes.NewReader(body), html.ParseOptionEnableScripting(false))
	require.NoError(t, err)
	return func(yield func(*html.Node) bool) {
		for n := range doc.Descendants() {
			if n.Type == html.ElementNode && !yield(n) {
				return
			}
		}
	}
}

func attr(n *html.Node, key string) (string, bool) {
	for _, a := range n.Attr {
		if a.Key == key {
			return a.Val, true
		}
	}
	return "", false
}
