package steps

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/webordinary/router/containerboot/bootapi"
	"github.com/webordinary/router/containerboot/tool"
)

// TestCauses feeds what the tools really print, of a site in /w/site. The files in testdata
// have sections: a name, what must be said, and the output.
func TestCauses(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.txt")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	b := New(Config{Workspace: "/w", Site: bootapi.Site{Directory: "site"}, Log: zap.NewNop()})
	for _, file := range files {
		data, err := os.ReadFile(file)
		require.NoError(t, err)
		what := "The build failed"
		if filepath.Base(file) == "managers.txt" {
			what = installFailed
		}
		for _, section := range strings.Split("\n"+string(data), "\n=== ")[1:] {
			name, section, _ := strings.Cut(section, "\n")
			want, output, found := strings.Cut(section, "\n---\n")
			require.True(t, found, name)
			name, mayPass := strings.CutSuffix(name, " (may pass)")
			t.Run(filepath.Base(file)+" "+name, func(t *testing.T) {
				t.Parallel()
				lines := strings.Split(strings.TrimRight(output, "\n"), "\n")
				cause, retryable := b.causeOf(what, &tool.Error{Name: "npm run build", Code: 1, Lines: lines})
				assert.Equal(t, want, cause)
				assert.Equal(t, mayPass, retryable)
				assert.NotContains(t, cause, "/w/")
			})
		}
	}
}

// ofContainer ends a sentence about Node's limit on the machine that runs the test.
func ofContainer() string {
	if limit := memoryLimit(); limit > 0 {
		return fmt.Sprintf(", and the container %d MB.", limit)
	}
	return "."
}

func TestExplain(t *testing.T) {
	t.Parallel()
	b := New(Config{Workspace: "/w", Log: zap.NewNop()})
	ran := func(lines ...string) error { return &tool.Error{Name: "npm ci", Code: 1, Lines: lines} }
	many := make([]string, 100)
	for i := range many {
		many[i] = fmt.Sprint("line ", i)
	}
	cases := map[string]struct {
		err       error
		cause     string
		retryable bool
	}{
		"no output":       {ran(), "Installing failed: npm ci ended with status 1.", false},
		"full disk, tool": {ran("npm error ENOSPC: no space left on device, write"), diskFull, true},
		"full disk, ours": {fmt.Errorf("keeping: %w", &os.PathError{Op: "write", Path: "/x", Err: syscall.ENOSPC}), diskFull, true},
		"too many files to watch": {
			ran("Error: ENOSPC: System limit for number of file watchers reached, watch '/w/src'", "  code: 'ENOSPC',"), tooManyWatched, false,
		},
		"registry down": {ran("npm error code ECONNREFUSED", "npm error errno ECONNREFUSED"), "The package registry could not be reached: it refuses the connection.", true},
		"no such package": {
			ran("npm error code E404", "npm error 404 Not Found - GET https://registry.example/nope - Not found"),
			"A package that the site needs was not found in the registry: Not Found - GET https://registry.example/nope - Not found", false,
		},
		"out of memory": {ran("FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory"), noMemory + limitText(), false},
		"out of memory, of Node's own": {
			ran("[1:0x2b] 2301 ms: Mark-Compact 132.9 (152.2) -> 132.2 (167.7) MB, 34.53 / 0.00 ms", "FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory"),
			noMemory + ": Node's own limit was reached at 132 MB" + ofContainer(), false,
		},
		"killed, in npm": {ran("npm error path /w", "npm error signal SIGKILL"), noMemory + limitText(), false},
		"registry down, named": {
			ran("npm error code ENOTFOUND", "npm error network request to https://registry.example:8443/astro failed, reason: getaddrinfo ENOTFOUND registry.example"),
			"The package registry could not be reached: registry.example does not answer: its name was not found.", true,
		},
		"registry down, pnpm": {
			ran(" ERR_PNPM_META_FETCH_FAIL  GET https://registry.example/astro: request to https://registry.example/astro failed, reason: connect ECONNREFUSED 192.0.2.1:443"),
			"The package registry could not be reached: registry.example does not answer: it refuses the connection.", true,
		},
		"registry down, Yarn": {
			ran(`error An unexpected error occurred: "https://registry.example/astro: connect ETIMEDOUT 192.0.2.1:443".`),
			"The package registry could not be reached: registry.example does not answer: it took too long.", true,
		},
		"a host that does not answer": {
			ran("TypeError: fetch failed", "    at node:internal/deps/undici/undici:1:2", "  [cause]: Error: getaddrinfo ENOTFOUND cms.example"),
			"Installing failed: the host cms.example on the network does not answer: its name was not found.", true,
		},
		"a host that does not answer, after one that did": {
			ran("GET https://answers.example/posts 200", "TypeError: fetch failed", "  [cause]: Error: connect ECONNREFUSED 192.0.2.1:443"),
			"Installing failed: the host 192.0.2.1:443 on the network does not answer: it refuses the connection.", true,
		},
		"a host that does not answer in time": {
			ran("TypeError: fetch failed", "  [cause]: ConnectTimeoutError: Connect Timeout Error (attempted address: cms.example:443, timeout: 10000ms)"),
			"Installing failed: the host cms.example:443 on the network does not answer: it took too long.", true,
		},
		"Node too old, Yarn": {
			ran(`error astro@7.0.0: The engine "node" is incompatible with this module. Expected version ">=22.12.0". Got "20.20.2"`),
			`The site needs another version of Node: astro@7.0.0: The engine "node" is incompatible with this module. Expected version ">=22.12.0". Got "20.20.2"`, false,
		},
		"Node too old, npm": {
			ran("npm error code EBADENGINE", "npm error engine Unsupported engine", "npm error engine Not compatible with your version of node/npm: undici@8.13.1",
				`npm error notsup Required: {"node":">=22.19.0"}`, `npm error notsup Actual:   {"npm":"10.9.9","node":"v20.20.2"}`),
			"The site needs another version of Node: undici@8.13.1 needs >=22.19.0.", false,
		},
		"too long":    {fmt.Errorf("x: %w", context.DeadlineExceeded), "Installing failed: it took too long.", true},
		"no npm":      {&exec.Error{Name: "npm", Err: exec.ErrNotFound}, `Installing failed: the program "npm" is not installed here.`, false},
		"ours":        {fmt.Errorf("odd"), "Installing failed.", false},
		"long output": {ran(many...), "Installing failed: line 99", false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var f *Error
			require.ErrorAs(t, b.explain(bootapi.PhaseInstalling, "Installing failed", tc.err), &f)
			assert.Equal(t, tc.cause, f.Cause)
			assert.Equal(t, tc.retryable, f.Retryable)
			assert.Equal(t, bootapi.PhaseInstalling, f.Phase)
			assert.NotEmpty(t, f.Detail)
			assert.LessOrEqual(t, strings.Count(f.Detail, "\n"), detailLines)
		})
	}
}

func TestCauseIsShort(t *testing.T) {
	t.Parallel()
	b := New(Config{Workspace: "/w", Log: zap.NewNop()})
	cause, _ := b.causeOf("The build failed", &tool.Error{Lines: []string{"Error: " + strings.Repeat("ü", 1000)}})
	assert.LessOrEqual(t, len(cause), maxCause)
	assert.True(t, strings.HasSuffix(cause, "ü…"))
}

// TestLinesThatAreNotThere is what a compiler says that counts in its own output.
func TestLinesThatAreNotThere(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "index.astro"), []byte("one\ntwo\n"), 0o644))
	b := New(Config{Workspace: dir, Log: zap.NewNop()})
	for line, want := range map[int]string{2: "index.astro line 2: ", 27: "index.astro: "} {
		cause, _ := b.causeOf("The build failed", &tool.Error{Lines: []string{
			"06:37:11 [ERROR] [vite] ✗ Build failed in 454ms", `Expected "}"`, "  Location:",
			fmt.Sprintf("    %s/index.astro:%d:10", dir, line), "  Stack trace:",
		}})
		assert.Equal(t, "The build failed: "+want+`Expected "}"`, cause)
	}
}
