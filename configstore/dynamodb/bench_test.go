package dynamodb

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/configstore"
	"github.com/webordinary/router/internal/dynamodblocal"
)

// fillMany writes clients as a bulk load does.
func fillMany(b *testing.B, s *Store, first, n int) {
	b.Helper()
	for begin := first; begin < first+n; begin += configstore.MaxWrites {
		writes := make([]configstore.Write, 0, configstore.MaxWrites)
		for i := begin; i < min(begin+configstore.MaxWrites, first+n); i++ {
			writes = append(writes, configstore.Write{Client: testClient(fmt.Sprintf("client-%06d", i)), Expect: configstore.NoVersion})
		}
		_, err := s.PutAll(b.Context(), writes)
		require.NoError(b, err)
	}
}

func benchStore(b *testing.B) *Store {
	b.Helper()
	dynamodblocal.Start(b).Setenv(b)
	return openStore(b, newClient(b), makeTables(b))
}

// BenchmarkPutAll creates clients, as many in one call as one call takes.
func BenchmarkPutAll(b *testing.B) {
	s := benchStore(b)
	n := 0
	for b.Loop() {
		fillMany(b, s, n, configstore.MaxWrites)
		n += configstore.MaxWrites
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "clients/s")
}

// BenchmarkPut changes one client again and again.
func BenchmarkPut(b *testing.B) {
	s := benchStore(b)
	put(b, s, "amelia")
	for b.Loop() {
		put(b, s, "amelia")
	}
}

// BenchmarkScan reads 10,000 clients.
func BenchmarkScan(b *testing.B) {
	const clients = 10_000
	s := benchStore(b)
	fillMany(b, s, 0, clients)
	b.ResetTimer()
	scans := 0
	for b.Loop() {
		entries, _ := scan(b, s)
		require.Len(b, entries, clients)
		scans++
	}
	b.ReportMetric(float64(scans*clients)/b.Elapsed().Seconds(), "clients/s")
}

// BenchmarkChanges polls a log in which nothing happened, beside 10,000 clients.
func BenchmarkChanges(b *testing.B) {
	s := benchStore(b)
	fillMany(b, s, 0, 10_000)
	_, position := scan(b, s)
	b.ResetTimer()
	for b.Loop() {
		_, _, err := s.Changes(b.Context(), position)
		require.NoError(b, err)
	}
}
