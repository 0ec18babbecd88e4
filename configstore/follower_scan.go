package configstore

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
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
	afterSilence := f.silent
	go func() { f.scans <- f.scan(ctx, afterSilence) }()
}

// Why scans are given up.
var (
	errStoreSilent = fmt.Errorf("%w: it does not answer", ErrUnavailable)
	errScanStalled = fmt.Errorf("%w: a scan gets no further", ErrUnavailable)
)

// scan reads the whole store. It may take as long as it likes while it gets on.
func (f *follower) scan(ctx context.Context, afterSilence bool) scanned {
	ctx, cancel := context.WithCancelCause(ctx)
	var entries atomic.Int64
	var watch sync.WaitGroup
	watch.Go(func() { cancel(f.watch(ctx, &entries, afterSilence)) })
	defer watch.Wait()
	defer cancel(nil)

	began, bb := time.Now(), new(baseBuilder)
	position, err := f.store.Scan(ctx, func(e Entry) error {
		entries.Add(1)
		bb.add(e)
		return nil
	})
	if err != nil {
		if cause := context.Cause(ctx); errors.Is(cause, errStoreSilent) || errors.Is(cause, errScanStalled) {
			err = cause // plainer than that a context was cancelled
		}
		return scanned{took: time.Since(began), err: fmt.Errorf("scanning the config store: %w", err)}
	}
	return scanned{builder: bb, position: position}
}

// watch says why to give up a scan that comes up with nothing; nil when it has ended. It
// does so at once where the store answers no other question either. One which is merely
// slow is left alone for longer, but not where the store may have been silent when the
// scan began: what it waits for is lost then.
func (f *follower) watch(ctx context.Context, entries *atomic.Int64, afterSilence bool) error {
	tick := time.NewTicker(scanQuiet)
	defer tick.Stop()
	seen, since := int64(0), time.Now()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		n, quiet := entries.Load(), time.Since(since)
		switch {
		case n != seen:
			seen, since = n, time.Now()
		case !f.answers(ctx):
			return errStoreSilent
		case quiet >= scanStalled, afterSilence && seen == 0 && quiet >= 2*scanQuiet:
			return errScanStalled
		}
	}
}

// nobody is an id that no client can have.
const nobody = "-"

// answers reports whether the store answers a question.
func (f *follower) answers(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	_, err := f.store.Get(ctx, nobody)
	return err == nil || errors.Is(err, ErrNotFound)
}

// take publishes a scan together with what changed while it ran, and returns when to
// scan next.
func (f *follower) take(ctx context.Context, s scanned) time.Duration {
	f.silent = errors.Is(s.err, errStoreSilent)
	if s.err != nil {
		if f.keptBack && ctx.Err() == nil {
			f.publishKeptBack()
		}
		return f.failed(ctx, &f.scanRetries, s.took, s.err)
	}
	began := time.Now()
	changes, position, err := f.changes(ctx, s.position, answerTimeout)
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
