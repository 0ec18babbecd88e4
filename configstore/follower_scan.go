package configstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"
)

// scanned is the outcome of reading the whole store.
type scanned struct {
	builder  *baseBuilder // nil with err
	position Position
	took     time.Duration
	err      error
}

// startScan starts a scan unless one runs.
func (f *follower) startScan(ctx context.Context) {
	if f.scanning {
		return
	}
	f.scanning = true
	go func() { f.scans <- f.scan(ctx) }()
}

var errScanStalled = errors.New("the config store does not answer")

// scan reads the whole store. It may take as long as it likes while it gets on.
func (f *follower) scan(ctx context.Context) scanned {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stalled := time.AfterFunc(scanBegins, func() { cancel(fmt.Errorf("%w: %w", ErrUnavailable, errScanStalled)) })
	defer stalled.Stop()

	began, bb := time.Now(), new(baseBuilder)
	position, err := f.store.Scan(ctx, func(e Entry) error {
		stalled.Reset(scanGoesOn)
		bb.add(e)
		return nil
	})
	if err != nil {
		if cause := context.Cause(ctx); errors.Is(cause, errScanStalled) {
			err = cause // plainer than that a context was cancelled
		}
		return scanned{took: time.Since(began), err: fmt.Errorf("scanning the config store: %w", err)}
	}
	return scanned{builder: bb, position: position}
}

// take publishes a scan together with what changed while it ran, and returns when to
// scan next.
func (f *follower) take(ctx context.Context, s scanned) time.Duration {
	if s.err != nil {
		if f.keptBack && ctx.Err() == nil {
			f.publishKeptBack()
		}
		return f.failed(ctx, &f.scanRetries, s.took, s.err)
	}
	began := time.Now()
	changes, position, err := f.changes(ctx, s.position, changesTimeout)
	if err != nil {
		if f.position != "" { // the table follows the change log and may be ahead of the scan
			return f.failed(ctx, &f.scanRetries, time.Since(began), err)
		}
		f.Logger.Warn("reading what changed during the scan failed, the routing table may be behind", zap.Error(err))
		changes, position = nil, s.position
	}
	f.succeeded(&f.scanRetries)
	f.publish(loading{builder: s.builder, changes: changes, source: SourceScan}, position)
	return jittered(f.Reconcile)
}

// publish loads the table with what is as of a position, and saves it.
func (f *follower) publish(l loading, position Position) {
	clear(f.reported)
	f.report(f.table.load(l))
	f.keptBack = false
	f.position = position
	f.unsaved = l.source != SourceSnapshot
	f.save()
}
