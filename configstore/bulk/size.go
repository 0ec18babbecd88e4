package bulk

import "github.com/webordinary/router/configstore"

// batchSize finds how many clients fit one transaction of the store, which depends on how
// much they hold: half as many after a batch that did not fit, a few more after several
// that did, and after tries that failed for longer and longer not.
type batchSize struct {
	size     int
	before   int // what fitted before the present size was tried; 0: it is no try
	fitted   int // batches in a row
	patience int // how many must fit before more are tried
}

const (
	leastPatience = 8
	mostPatience  = 1024
)

func newBatchSize() *batchSize {
	return &batchSize{size: configstore.MaxWrites, patience: leastPatience}
}

// take returns the first groups that have no more clients than the size, or one group.
func (b *batchSize) take(groups []group) []group {
	n, clients := 0, 0
	for n < len(groups) && (n == 0 || clients+len(groups[n]) <= b.size) {
		clients += len(groups[n])
		n++
	}
	return groups[:n]
}

// learn is told whether the last batch was too large.
func (b *batchSize) learn(tooLarge bool) {
	switch {
	case tooLarge && b.before > 0:
		b.size, b.before, b.fitted = b.before, 0, 0
		b.patience = min(2*b.patience, mostPatience)
		return
	case tooLarge:
		b.size, b.fitted, b.patience = max(1, b.size/2), 0, leastPatience
		return
	}
	if b.before > 0 {
		b.before, b.patience = 0, leastPatience
	}
	if b.fitted++; b.fitted >= b.patience && b.size < configstore.MaxWrites {
		b.before, b.fitted = b.size, 0
		b.size = min(b.size+max(1, b.size/8), configstore.MaxWrites)
	}
}
