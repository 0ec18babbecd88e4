//go:build unix

package ecs

import (
	"fmt"
	"runtime"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/runner/ecs/ecstest"
)

// BenchmarkListOfTenThousand is what the first List of an edge costs where 10,000
// containers run, and the next one, to which they are known.
func BenchmarkListOfTenThousand(b *testing.B) {
	const containers = 10_000
	fake := ecstest.Start(b, ecstest.Options{})
	starter, err := New(benchOptions(b, fake))
	require.NoError(b, err)
	places := make(chan struct{}, 20)
	var wg sync.WaitGroup
	for i := range containers {
		places <- struct{}{}
		wg.Go(func() {
			defer func() { <-places }()
			if _, err := starter.Start(b.Context(), request(fmt.Sprintf("session-%d", i), 1)); err != nil {
				b.Error(err)
			}
		})
	}
	wg.Wait()
	require.NoError(b, starter.Close(b.Context()))
	for _, again := range []bool{false, true} {
		b.Run(fmt.Sprintf("known=%t", again), func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				before := memory()
				r, err := New(benchOptions(b, fake))
				require.NoError(b, err)
				r.timing.surveyEvery = 0
				if again {
					_, err = r.List(b.Context())
					require.NoError(b, err)
				}
				calls := fake.Calls()
				b.StartTimer()
				list, err := r.List(b.Context())
				b.StopTimer()
				require.NoError(b, err)
				require.Len(b, list, containers)
				now := fake.Calls()
				b.ReportMetric(float64(now["ListTasks"]-calls["ListTasks"]), "ListTasks/op")
				b.ReportMetric(float64(now["DescribeTasks"]-calls["DescribeTasks"]), "DescribeTasks/op")
				b.ReportMetric((memory()-before)/containers, "B/container")
				require.NoError(b, r.Close(b.Context()))
				b.StartTimer()
			}
		})
	}
}

func benchOptions(b *testing.B, fake *ecstest.Server) Options {
	client, err := NewClient(b.Context(), ClientOptions{Region: fake.Region(), Endpoint: fake.Endpoint()})
	require.NoError(b, err)
	return Options{
		Client: client, Cluster: "sessions", StartedBy: "tests",
		Tunables: Tunables{TaskDefinition: "session", Subnets: []string{"subnet-1"}},
	}
}

// memory is what is in use on the heap.
func memory() float64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}
