package steps

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/containerboot/bootapi"
)

// longAgo is before any build of a test.
var longAgo = time.Unix(1_000_000_000, 0)

// TestOutputs has builds that leave something else than they must.
func TestOutputs(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		build, cause string
		output       string
	}{
		"nothing":         {"true", `The build succeeded but left no folder "dist".`, ""},
		"elsewhere":       {"mkdir build && echo x >build/index.html", `The build succeeded but left no folder "dist", but has written pages to "build" (build.output says which).`, ""},
		"deeper":          {"mkdir -p .vercel/output out/static && echo x >out/static/index.html && echo x >.vercel/output/index.html", `The build succeeded but left no folder "dist", but has written pages to ".vercel/output" and "out/static" (build.output says which).`, ""},
		"another by name": {"mkdir dist && echo x >dist/index.html", `The build succeeded but left no folder "public/site", but has written pages to "dist" (build.output says which).`, "public/site"},
		"empty":           {"mkdir dist", `The build succeeded but left no index.html in the folder "dist", which is empty.`, ""},
		"no home page":    {"mkdir dist && cd dist && touch about.html b c d e f g", `The build succeeded but left no index.html in the folder "dist", only about.html, b, c, d, e, 2 more.`, ""},
		"a file":          {"touch dist", `The build succeeded but left no folder "dist".`, ""},
		"a hostile name":  {"mkdir dist && touch \"dist/$(printf 'a\\n\\342\\200\\256b\\033[31m')\"", `The build succeeded but left no index.html in the folder "dist", only a b[31m.`, ""},
		"too much":        {"mkdir dist && echo x >dist/index.html && truncate -s 3G dist/film.mp4", `The build left 3072 MB in the folder "dist", of which 3072 MB are film.mp4: at most 2048 MB can be served.`, ""},
		"too much, by links": {
			"mkdir dist && echo x >dist/index.html && truncate -s 900M dist/film.mp4 && cd dist && ln -s film.mp4 b && ln -s film.mp4 c",
			`The build left 2700 MB in the folder "dist", of which 900 MB are b: at most 2048 MB can be served.`, "",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			b.write("", map[string]string{"readme": "x", "src/index.html": "not a build's"})
			require.NoError(t, os.Chtimes(filepath.Join(b.workspace, "src/index.html"), longAgo, longAgo))
			err := b.try(bootapi.Site{Install: "true", Command: tc.build, Output: tc.output}, false, true)
			var f *Error
			require.ErrorAs(t, err, &f)
			assert.Equal(t, tc.cause, f.Cause)
			assert.Equal(t, bootapi.PhaseBuilding, f.Phase)
			assert.False(t, f.Retryable)
		})
	}
}

// TestNoBuildSaysWhatItPrinted: a command that is no build may succeed all the same.
func TestNoBuildSaysWhatItPrinted(t *testing.T) {
	t.Parallel()
	for command, want := range map[string]string{
		"seq 60 # no build": "the command \"seq 60 # no build\" printed, at the end:\n21\n22\n",
		"true":              `the command "true" printed nothing`,
	} {
		b := newBench(t)
		b.write("", map[string]string{"readme": "x"})
		err := b.try(bootapi.Site{Install: "true", Command: command}, false, true)
		var f *Error
		require.ErrorAs(t, err, &f)
		assert.Contains(t, f.Detail, want)
		assert.Contains(t, f.Detail, "build.output must name the folder")
	}
}
