package configstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"
)

// FollowOptions tune Follow. The zero value is ready to use.
type FollowOptions struct {
	// Interval is the time between two polls of the change log. Default: 1s.
	Interval time.Duration
	// Reconcile is about the time between two loads of the whole table, which catch
	// what other tools wrote past the change log; it is varied by a fifth, so that
	// edges don't scan together. Default: 10m.
	Reconcile time.Duration
	// Snapshot is the file in which the table outlives this process: a start while the
	// store is down serves from it. Empty: none is read or written.
	Snapshot string
	// Store is the identity of the store. A snapshot of another one is ignored.
	Store string
	// Logger tells of broken rows and of an unavailable store. Default: none.
	Logger *zap.Logger
}

// Limits of the store's answers. With maxBackoff they make for a table that is up to date
// within 5 seconds of the end of an outage, though all calls hung in it.
const (
	// startTimeout bounds the question whether a snapshot is still up to date; after
	// that it is served as it is.
	startTimeout = 2 * time.Second
	// answerTimeout bounds a poll, and any other question.
	answerTimeout = 3 * time.Second
	// scanQuiet is how long a scan may come up with nothing before the store is asked
	// something else, and scanStalled before it is given up whatever is answered.
	scanQuiet   = time.Second
	scanStalled = 30 * time.Second
)

func (o FollowOptions) withDefaults() FollowOptions {
	if o.Interval <= 0 {
		o.Interval = time.Second
	}
	if o.Reconcile <= 0 {
		o.Reconcile = 10 * time.Minute
	}
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	return o
}

// Follow keeps a table up to date with a store until ctx ends, and returns once nothing
// of it runs any more. While the store is unavailable the table stays as it is; one that
// is not loaded yet is loaded from the snapshot, where there is one. No error of the
// store ends it.
func Follow(ctx context.Context, store Store, table *Table, o FollowOptions) {
	f := follower{
		store: store, table: table, FollowOptions: o.withDefaults(),
		scans: make(chan scanned, 1), saver: saver{saves: make(chan error, 1)}, reported: make(map[RowFault]bool), silent: true,
	}
	f.run(ctx)
}

// follower is what Follow does; its fields belong to the goroutine of run.
type follower struct {
	FollowOptions
	store Store
	table *Table

	// position is up to where in the change log the table has come; empty: not known,
	// only a scan helps.
	position    Position
	pollRetries retries
	// outrun: a poll took too long though the store answers, because more has changed
	// than can be read in its time. A scan, one until a poll succeeds, is faster.
	outrun bool

	// Scans run beside the polls, which thereby stay in time however long a scan takes.
	scans       chan scanned
	scanning    bool
	scanRetries retries
	// silent: the store may be, for all that the last scan tells.
	silent bool

	saver
	// keptBack: there is a snapshot too old to be brought up to date, to be published
	// if the store cannot be scanned either.
	keptBack bool

	// reported keeps a fault that every poll repeats from being logged each time.
	reported map[RowFault]bool
}

func (f *follower) run(ctx context.Context) {
	poll := time.NewTimer(f.start(ctx))
	defer poll.Stop()
	scan := time.NewTimer(0)
	defer scan.Stop()
	save := time.NewTicker(saveInterval)
	defer save.Stop()
	defer f.end()
	for {
		select {
		case <-ctx.Done():
			return
		case s := <-f.scans:
			f.scanning = false
			scan.Reset(f.take(ctx, s))
		case <-scan.C:
			f.startScan(ctx)
		case <-poll.C:
			poll.Reset(f.poll(ctx))
		case <-save.C:
			f.save()
		case err := <-f.saves:
			f.saved(err)
		}
	}
}

// end waits for what runs beside, and saves what has not been saved.
func (f *follower) end() {
	if f.scanning {
		<-f.scans
	}
	if f.saving {
		f.saved(<-f.saves)
	}
	if f.saveLast(); f.saving {
		f.saved(<-f.saves)
	}
}

// poll applies the changes since the last poll and returns when to poll next.
func (f *follower) poll(ctx context.Context) time.Duration {
	if f.position == "" {
		return f.Interval
	}
	began := time.Now()
	changes, position, err := f.changes(ctx, f.position, answerTimeout)
	switch {
	case errors.Is(err, ErrPositionLost):
		f.Logger.Info("change log no longer reaches back, loading the routing table anew")
		f.position = ""
		f.startScan(ctx)
		return f.Interval
	case err != nil:
		if errors.Is(err, context.DeadlineExceeded) && !f.outrun && f.answers(ctx) {
			f.outrun = true
			f.startScan(ctx)
		}
		return f.failed(ctx, &f.pollRetries, time.Since(began), err)
	}
	f.outrun = false
	f.succeeded(&f.pollRetries)
	f.report(f.table.Apply(changes))
	f.moved(position)
	return f.Interval
}

// changes asks for what changed since a position.
func (f *follower) changes(ctx context.Context, since Position, limit time.Duration) ([]Change, Position, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	changes, position, err := f.store.Changes(ctx, since)
	if err != nil {
		return nil, "", fmt.Errorf("reading the change log: %w", err)
	}
	return changes, position, nil
}

// moved takes note of how far the table has come.
func (f *follower) moved(to Position) {
	f.unsaved = f.unsaved || to != f.position
	f.position = to
}

// report logs what the table leaves out.
func (f *follower) report(faults []RowFault) {
	for _, fault := range faults {
		if f.reported[fault] {
			continue
		}
		f.reported[fault] = true
		f.Logger.Error("client is not routed as stored",
			zap.String("client", fault.ClientID), zap.String("host", fault.Host), zap.String("reason", fault.Reason))
	}
}
