package bench

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/e2e/harness"
)

const (
	fewClients  = 10
	manyClients = 100_000
	// dearest is how much dearer a request may be with many clients than with few.
	dearest = 1.05
	// heaviest is how many bytes of an edge's heap a client may take.
	heaviest = 400
)

// BenchmarkClients loads many clients into DynamoDB by `client put`, and few into other
// tables; then it prints, for an edge on each, how long it takes to start, the heap that a
// client takes, the store's calls in a minute, and the CPU time of a request.
func BenchmarkClients(b *testing.B) {
	out := tabwriter.NewWriter(os.Stdout, 0, 0, 3, ' ', tabwriter.AlignRight)
	defer out.Flush()
	few, many := loaded(b, out, fewClients), loaded(b, out, manyClients)

	perClient := float64(many.heap-few.heap) / (manyClients - fewClients)
	fmt.Fprintf(out, "heap of a client at %d\t%.0f bytes\t\n", manyClients, perClient)
	b.ReportMetric(perClient, "bytes/client")
	if perClient > heaviest {
		b.Errorf("a client takes %.0f bytes, at most %d are allowed", perClient, heaviest)
	}

	calls := [2]int64{few.link.Calls(), many.link.Calls()}
	<-time.After(time.Minute)
	fmt.Fprintf(out, "calls of the store in a minute, %d and %d clients\t%d and %d\t\n",
		fewClients, manyClients, few.link.Calls()-calls[0], many.link.Calls()-calls[1])

	for _, connections := range []int{32, 128} {
		var withFew, withMany, ratios []float64
		for round := range rounds + 1 {
			f := cpuPerRequest(b, few.PID(), func() { few.load.send(b, connections, requests) })
			m := cpuPerRequest(b, many.PID(), func() { many.load.send(b, connections, requests) })
			if round > 0 { // the first warms both
				withFew, withMany, ratios = append(withFew, f), append(withMany, m), append(ratios, m/f)
			}
		}
		ratio := median(withMany) / median(withFew)
		fmt.Fprintf(out, "CPU time of a request at %d connections\t%.1f and %.1f µs: ratio %.3f, single rounds %.3f to %.3f\t\n",
			connections, median(withFew), median(withMany), ratio, slices.Min(ratios), slices.Max(ratios))
		b.ReportMetric(ratio, fmt.Sprintf("clients-ratio-%d", connections))
		if ratio > dearest {
			b.Errorf("with %d clients a request costs %.3f times as much as with %d, at most %.2f is allowed", manyClients, ratio, fewClients, dearest)
		}
	}
}

// loadedEdge is an edge on a store of its own, with a session that answers.
type loadedEdge struct {
	*harness.Edge
	link *harness.Link
	heap int64
	load load
}

func loaded(b *testing.B, out *tabwriter.Writer, clients int) loadedEdge {
	b.Helper()
	self, err := os.Executable()
	require.NoError(b, err)
	store := harness.NewStore(b)
	store.CreateTables()
	l := loadedEdge{link: store.Link()}
	l.Edge = harness.New(b, store.Edge(l.link, harness.Options{
		IdleTimeout: "1h",
		Containerboot: func(string) string {
			return fmt.Sprintf("%s=%q exec %q", envUpstream, filepath.Join(b.TempDir(), "told"), self)
		},
	}))
	site := l.NewSite("amelia", harness.SiteOptions{})

	began := time.Now()
	put := l.RunWithin(30*time.Minute, configurations(clients-1), "webordinary", "client", "put", "-")
	require.Zero(b, put.Code, put.Err)
	took := time.Since(began)
	fmt.Fprintf(out, "client put of %d clients\t%.1f s, %.0f a second\t\n", clients-1, took.Seconds(), float64(clients-1)/took.Seconds())

	began = time.Now()
	l.Start()
	fmt.Fprintf(out, "start of an edge until it serves %d clients\t%.2f s\t\n", clients, time.Since(began).Seconds())
	table := l.RoutingTable()
	require.Equal(b, clients, table.Clients)
	session := l.CreateSession(site)
	session.Open()
	a := l.Do(harness.Request{Host: fmt.Sprintf("edit.client-%d.example.com", clients/2), Path: "/new", Header: harness.DocumentHeader()})
	require.Equal(b, http.StatusOK, a.Status)
	l.heap = l.HeapAfterGC()
	l.load = load{address: fmt.Sprintf("127.0.0.1:%d", l.HTTPPort), host: session.Host(), path: session.Path("/kilobyte.txt")}
	return l
}

// configurations are some clients' in JSON, one a line.
func configurations(n int) *bytes.Buffer {
	var lines bytes.Buffer
	for i := range n {
		fmt.Fprintf(&lines, `{"clientId":"client-%d","domains":{"production":"www.client-%[1]d.example.com","edit":"edit.client-%[1]d.example.com",`+
			`"aliases":["edit-%[1]d.agency.example"]},"repository":{"url":"https://git.example.com/client-%[1]d.git","branch":"main"},`+
			`"settings":{"containerSize":"small","idleTimeoutMinutes":15,"maxConcurrentSessions":5}}`+"\n", i)
	}
	return &lines
}
