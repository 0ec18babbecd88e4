// Package bench measures what the edge costs: the CPU time of a proxied request beside
// that of Caddy's own reverse_proxy, and the time from a request to a session's site.
//
// Run it with `make bench`, on a machine that does nothing else.
package bench

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/e2e/harness"
)

const (
	rounds = 5
	// requests are sent in each round to each of the two: some seconds of CPU time,
	// of which the kernel counts hundredths.
	requests = 40_000
	// most is how much dearer than reverse_proxy the router may be.
	most = 1.10
)

// TestMain lets this binary stand in for containerboot too.
func TestMain(m *testing.M) {
	if os.Getenv(envUpstream) != "" {
		os.Exit(serveUpstream())
	}
	os.Exit(m.Run())
}

// static is Caddy's reverse_proxy to one container, with the transport of
// webordinary_router and the token that the container asks for.
const static = `
http://127.0.0.1:%d {
	reverse_proxy %s {
		header_up X-Webordinary-Token %s
		transport http {
			dial_timeout 1s
			compression off
			keepalive 2m
			keepalive_idle_conns_per_host 512
		}
	}
}
`

// BenchmarkProxy prints the CPU time of the edge's process per request, through
// webordinary_router and through a static reverse_proxy to the same container in the
// same process, by turns. It fails where the router is dearer than it may be.
func BenchmarkProxy(b *testing.B) {
	told := filepath.Join(b.TempDir(), "told")
	self, err := os.Executable()
	require.NoError(b, err)
	e := harness.New(b, harness.Options{
		IdleTimeout:   "1h",
		Containerboot: func(string) string { return fmt.Sprintf("%s=%q exec %q", envUpstream, told, self) },
	})
	site := e.NewSite("amelia", harness.SiteOptions{})
	e.Start()
	session := e.CreateSession(site)
	session.Open()

	var to upstream
	text, err := os.ReadFile(told)
	require.NoError(b, err)
	require.NoError(b, json.Unmarshal(text, &to))
	port := harness.FreePorts(b, 1)[0]
	r := e.Reload(e.ConfigText() + fmt.Sprintf(static, port, to.Address, to.Token))
	require.Zero(b, r.Code, r.Err)

	router := load{address: fmt.Sprintf("127.0.0.1:%d", e.HTTPPort), host: session.Host(), path: session.Path("/kilobyte.txt")}
	plain := load{address: fmt.Sprintf("127.0.0.1:%d", port), host: fmt.Sprintf("127.0.0.1:%d", port), path: session.Path("/kilobyte.txt")}
	out := tabwriter.NewWriter(os.Stdout, 0, 0, 3, ' ', tabwriter.AlignRight)
	defer out.Flush()
	fmt.Fprintf(out, "\nCPU time of the edge for each request of 1 KiB, median of %d rounds\n", rounds)
	fmt.Fprintln(out, "connections\twebordinary_router\treverse_proxy\tratio\tat least\tat most\t")
	for _, connections := range []int{32, 128} {
		for _, l := range []load{router, plain} { // warm both
			l.send(b, connections, requests/10)
		}
		var ours, theirs, ratios []float64
		for range rounds {
			a := cpuPerRequest(b, e.PID(), func() { router.send(b, connections, requests) })
			s := cpuPerRequest(b, e.PID(), func() { plain.send(b, connections, requests) })
			ours, theirs, ratios = append(ours, a), append(theirs, s), append(ratios, a/s)
		}
		ratio := median(ours) / median(theirs)
		fmt.Fprintf(out, "%d\t%.1f µs\t%.1f µs\t%.3f\t%.3f\t%.3f\t\n",
			connections, median(ours), median(theirs), ratio, slices.Min(ratios), slices.Max(ratios))
		b.ReportMetric(ratio, fmt.Sprintf("ratio-%d", connections))
		if ratio > most {
			b.Errorf("at %d connections a request costs %.3f times as much as with reverse_proxy, at most %.2f is allowed", connections, ratio, most)
		}
	}
}

// ticks is the unit in which the kernel counts CPU time, per second, on every Linux.
const ticks = 100

// cpuPerRequest is the CPU time in microseconds that a process spends on each of the
// requests that fn sends.
func cpuPerRequest(b *testing.B, pid int, fn func()) float64 {
	b.Helper()
	const own = 2
	before := cpuTicks(b, pid, own)
	fn()
	return float64(cpuTicks(b, pid, own)-before) / ticks * 1e6 / requests
}

// cpuTicks sums up the first times of a process: its own in user and in system mode, then
// those of its children that have ended.
func cpuTicks(b *testing.B, pid, first int) int64 {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	require.NoError(b, err)
	// The command's name, in brackets, may hold spaces; utime, stime, cutime and cstime are
	// the 14th to 17th of all fields.
	_, rest, ok := strings.Cut(string(text), ") ")
	require.True(b, ok)
	fields := strings.Fields(rest)
	var sum int64
	for _, field := range fields[11 : 11+first] {
		n, err := strconv.ParseInt(field, 10, 64)
		require.NoError(b, err)
		sum += n
	}
	return sum
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}

// BenchmarkWake prints the time from the request that wakes a session to its answer by
// the site, for the example site: with empty caches, after an edit, and unchanged.
func BenchmarkWake(b *testing.B) {
	e := harness.New(b, harness.Options{IdleTimeout: "1h"})
	site := e.NewSite("amelia", harness.SiteOptions{From: filepath.Join(harness.Root(b), "examples", "amelia", "site")})
	session := e.CreateSession(site)
	e.Start()
	wake := func() time.Duration {
		a := e.Do(session.Document("/", "Prefer", "wait=600"))
		require.Equal(b, http.StatusOK, a.Status, a.Body)
		e.CLI("session", "sleep", session.SessionID)
		return a.Took
	}
	out := tabwriter.NewWriter(os.Stdout, 0, 0, 3, ' ', tabwriter.AlignRight)
	defer out.Flush()
	fmt.Fprintln(out, "\nfrom the request to the site\ttime\t")

	first := wake()
	fmt.Fprintf(out, "first wake: clone, install, build\t%.2f s\t\n", first.Seconds())
	require.NoError(b, os.WriteFile(filepath.Join(session.Workspace(), "public", "edited.txt"), []byte("edited\n"), 0o600))
	second := wake()
	fmt.Fprintf(out, "second wake, after an edit: build\t%.2f s\t\n", second.Seconds())
	var unchanged []float64
	for range rounds {
		unchanged = append(unchanged, wake().Seconds())
	}
	fmt.Fprintf(out, "unchanged, median of %d\t%.2f s\t\n", rounds, median(unchanged))
	b.ReportMetric(first.Seconds(), "first-s")
	b.ReportMetric(second.Seconds(), "second-s")
	b.ReportMetric(median(unchanged), "unchanged-s")
}
