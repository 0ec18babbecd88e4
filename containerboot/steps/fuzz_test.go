package steps

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"go.uber.org/zap"

	"github.com/webordinary/router/containerboot/bootapi"
	"github.com/webordinary/router/containerboot/tool"
)

// FuzzCause feeds what a hostile build may print. The sentence is one, short, valid and
// without anything that steers a terminal or turns text round, wherever it is shown; to
// escape it is the page's part.
func FuzzCause(f *testing.F) {
	for _, seed := range []string{
		"", "\n\n\n", "\x1b[31mError: red\x1b[0m", "Error: \u202egnp.exe", "Error: <script>alert(1)</script>",
		"\xff\xfe[ERROR] \xc3", "06:36:47 [ERROR] [vite] ✗ Build failed in 1ms\nx\n  Location:\n    /w/site/a:0:0\n  Stack trace:",
		"  Stack trace:", "Caused by:", "[a] [b] [c]:", "npm error code E404", "npm error path /w/site/node_modules/", "npm error command sh -c x",
		"ERR_PNPM_FETCH_404 GET https://x/y: ", "➤ YN0035: │ x: y\n➤ YN0035: │   Response Code: 403", "➤ YN0009: │ a@b couldn't be built",
		"   ╭─[ a:1:1 ]", "file: /../../etc/passwd:1:1\n  Location:", strings.Repeat("[x] ", 5000), strings.Repeat("Error: ", 5000),
		"a:99999999999999999999:1 - error ts(1): x", "/w/site/:1:1", "[config] Astro found issue\n! ", strings.Repeat("! a\n", 500),
		"16:24:46 [ERROR] [build] Caught error rendering /: Error: x", "16:11:40   └─ /index.htmlfetch failed\n  Stack trace:\n  Caused by:\n  getaddrinfo ENOTFOUND \u2066x",
	} {
		f.Add(seed)
	}
	b := New(Config{Workspace: "/w", Private: "/p", Site: bootapi.Site{Directory: "site"}, Log: zap.NewNop()})
	f.Fuzz(func(t *testing.T, said string) {
		// No more and no longer lines come from a tool.
		lines := lastOf(strings.Split(said, "\n"), 200)
		for i, line := range lines {
			lines[i] = line[:min(len(line), 1000)]
		}
		cause, _ := b.causeOf("The build failed", &tool.Error{Name: "npm run build", Code: 1, Lines: lines})
		if cause == "" || len(cause) > maxCause || !utf8.ValidString(cause) {
			t.Fatalf("%q", cause)
		}
		for _, r := range cause {
			if r != ' ' && !unicode.IsGraphic(r) || unicode.Is(unicode.Bidi_Control, r) {
				t.Fatalf("%q has %U", cause, r)
			}
		}
		if strings.Contains(cause, "/w/site/") || strings.Contains(cause, "/w/x") {
			t.Fatalf("%q has a path of the container", cause)
		}
	})
}
