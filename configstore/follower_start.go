package configstore

import (
	"context"
	"errors"
	"io/fs"
	"time"

	"go.uber.org/zap"
)

// start loads a table that is not loaded from the snapshot, and returns when to poll. A
// snapshot is published
//   - with what has changed since, where the change log still tells;
//   - as it is, where the store is unavailable;
//   - not before a scan was tried, where the change log no longer reaches back: what has
//     changed since is not known.
func (f *follower) start(ctx context.Context) time.Duration {
	if f.Snapshot == "" || f.table.Loaded() {
		return f.Interval
	}
	sweepSnapshots(f.Snapshot)
	head, bb, ok := f.readSnapshot()
	if !ok {
		return f.Interval
	}
	began := time.Now()
	changes, position, err := f.changes(ctx, head.position, startTimeout)
	switch {
	case err == nil:
		f.publish(loading{builder: bb, changes: changes, source: SourceChanges}, position)
		return f.Interval
	case errors.Is(err, ErrPositionLost):
		f.Logger.Info("change log does not reach back to the routing table's snapshot, loading the table anew")
		f.keptBack = true
		return f.Interval
	default:
		f.publishSnapshot(head, bb)
		f.position = head.position
		return f.failed(ctx, &f.pollRetries, time.Since(began), err)
	}
}

// readSnapshot is false where there is no snapshot of this store that can be read.
func (f *follower) readSnapshot() (snapshotHead, *baseBuilder, bool) {
	head, bb, err := readSnapshot(f.Snapshot, f.Store)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			f.Logger.Warn("routing table's snapshot is ignored", zap.String("file", f.Snapshot), zap.Error(err))
		}
		return snapshotHead{}, nil, false
	}
	return head, bb, true
}

// publishSnapshot publishes a snapshot as it is.
func (f *follower) publishSnapshot(head snapshotHead, bb *baseBuilder) {
	f.publish(loading{builder: bb, source: SourceSnapshot, checkedAt: head.checkedAt}, "")
	f.Logger.Warn("config store is unavailable, serving from the routing table's snapshot",
		zap.Time("as_of", head.checkedAt), zap.Int("clients", f.table.Len()))
}

// publishKeptBack publishes the snapshot that was kept back: the scan that was to replace
// it has failed. It is read again rather than kept in memory.
func (f *follower) publishKeptBack() {
	f.keptBack = false
	if head, bb, ok := f.readSnapshot(); ok {
		f.publishSnapshot(head, bb)
	}
}
