package pages_test

import (
	"testing"

	"github.com/webordinary/router/pages"
)

// BenchmarkNotFound is what any stranger can ask for.
func BenchmarkNotFound(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		pages.NotFound(requestID)
	}
}
