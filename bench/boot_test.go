package bench

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/stretchr/testify/require"
)

// sitePages is how many pages the site has that is booted.
const sitePages = 10

// bootKinds are the cases that are measured by turns, each with what it may take at most as
// a ratio to doing it by hand, and in seconds; 0 for what is printed only.
var bootKinds = []struct {
	name    string
	ratio   float64
	seconds float64
}{
	{name: byHand},
	{name: bare},
	{name: cold, ratio: 1.15},
	{name: changed, ratio: 0.55},
	{name: another},
	{name: unchanged, ratio: 0.05, seconds: 0.3},
}

const (
	byHand    = "by hand: git clone, npm ci, npm run build, serve"
	bare      = "a client's first session, npm downloads"
	cold      = "cold, npm has downloaded before"
	changed   = "changed content, same lock file"
	another   = "same content, another session"
	unchanged = "unchanged, the same session again"
)

// BenchmarkBoot prints the time from the start of a containerboot to the first byte of a
// page of a real site, beside that of doing it by hand, by turns: npm has downloaded
// everything before by hand too, and the hand's server costs nothing. It fails where a boot
// takes longer than it may. BENCH_ROUNDS makes fewer rounds of it while something is tried.
func BenchmarkBoot(b *testing.B) {
	n := rounds
	if few := os.Getenv("BENCH_ROUNDS"); few != "" {
		var err error
		n, err = strconv.Atoi(few)
		require.NoError(b, err, "BENCH_ROUNDS")
	}
	s := newBootSite(b)
	s.byHand(b) // npm downloads

	took := map[string][]parts{}
	add := func(kind string, p parts) { took[kind] = append(took[kind], p) }
	fmt.Println()
	for i := range n {
		session := func(kind string) string { return fmt.Sprint(kind, i) }
		add(byHand, s.byHand(b))
		s.emptyCache(b)
		x := s.boot(b, session("bare"))
		add(bare, x.parts)
		x.end("downloads kept")
		s.drop(b, session("bare"))

		s.emptyCache(b, "downloads")
		x = s.boot(b, session("cold"))
		add(cold, x.parts)
		x.end("downloads kept")
		s.drop(b, session("cold"))

		s.change(b, i)
		x = s.boot(b, session("changed"))
		add(changed, x.parts)
		x.end("")
		x = s.boot(b, session("another"))
		add(another, x.parts)
		x.end("")
		x = s.boot(b, session("changed"))
		add(unchanged, x.parts)
		x.end("")
		s.drop(b, session("changed"), session("another"))

		fmt.Printf("round %d of %d:", i+1, n)
		for _, kind := range bootKinds {
			fmt.Printf(" %.2f s (%.2f s of CPU)", took[kind.name][i].all(), took[kind.name][i].cpu.Seconds())
		}
		fmt.Println()
	}
	report(b, n, took)
}

// report prints the medians, and fails what is beyond its bound.
func report(b *testing.B, n int, took map[string][]parts) {
	b.Helper()
	out := tabwriter.NewWriter(os.Stdout, 0, 0, 3, ' ', tabwriter.AlignRight)
	defer out.Flush()
	fmt.Fprintf(out, "\nfrom the start to the first byte of a page, %d pages of Astro, median of %d rounds\n", sitePages, n)
	fmt.Fprintln(out, "\ttime\tleast\tmost\tof which install\tbuild\trest\tCPU time\tratio\tat most\t")
	hand := middle(took[byHand], parts.all)
	for _, kind := range bootKinds {
		all := took[kind.name]
		t := middle(all, parts.all)
		var each []float64
		for _, p := range all {
			each = append(each, p.all())
		}
		bound := ""
		if kind.ratio > 0 {
			bound = fmt.Sprintf("%.2f", kind.ratio)
		}
		fmt.Fprintf(out, "%s\t%.2f s\t%.2f s\t%.2f s\t%.2f s\t%.2f s\t%.2f s\t%.2f s\t%.3f\t%s\t\n", kind.name, t, slices.Min(each), slices.Max(each),
			middle(all, func(p parts) float64 { return p.install.Seconds() }),
			middle(all, func(p parts) float64 { return p.build.Seconds() }),
			middle(all, func(p parts) float64 { return p.all() - p.install.Seconds() - p.build.Seconds() }),
			middle(all, func(p parts) float64 { return p.cpu.Seconds() }), t/hand, bound)
		if kind.ratio > 0 && t/hand > kind.ratio {
			b.Errorf("%s: %.3f times what it takes by hand, at most %.2f is allowed", kind.name, t/hand, kind.ratio)
		}
		if kind.seconds > 0 && t > kind.seconds {
			b.Errorf("%s: %.2f s, at most %.2f s is allowed", kind.name, t, kind.seconds)
		}
	}
	for unit, kind := range map[string]string{"hand-s": byHand, "cold-s": cold, "changed-s": changed, "unchanged-s": unchanged} {
		b.ReportMetric(middle(took[kind], parts.all), unit)
	}
}

// parts is the time of a boot, that of its longest parts as far as there were any, and the
// CPU time of all, of which a busy machine takes hardly more.
type parts struct{ took, install, build, cpu time.Duration }

func (p parts) all() float64 { return p.took.Seconds() }

func middle(all []parts, of func(parts) float64) float64 {
	var values []float64
	for _, p := range all {
		values = append(values, of(p))
	}
	return median(values)
}
