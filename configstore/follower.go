package configstore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
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
	// MaxBackoff bounds the time between two tries while the store is unavailable.
	// Default: 10s.
	MaxBackoff time.Duration
	// Logger tells of broken rows and of an unavailable store. Default: none.
	Logger *zap.Logger
}

// Timeouts of one call of the store.
const (
	scanTimeout    = 5 * time.Minute
	changesTimeout = 10 * time.Second
)

func (o FollowOptions) withDefaults() FollowOptions {
	if o.Interval <= 0 {
		o.Interval = time.Second
	}
	if o.Reconcile <= 0 {
		o.Reconcile = 10 * time.Minute
	}
	if o.MaxBackoff <= 0 {
		o.MaxBackoff = 10 * time.Second
	}
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	return o
}

// Follow keeps a table up to date with a store until ctx ends, and returns once nothing
// of it runs any more. While the store is unavailable the table stays as it is, and not
// loaded if it was not. No error of the store ends it.
func Follow(ctx context.Context, store Store, table *Table, o FollowOptions) {
	f := follower{store: store, table: table, FollowOptions: o.withDefaults(), scans: make(chan scanned, 1)}
	f.run(ctx)
}

type follower struct {
	FollowOptions
	store Store
	table *Table

	position Position // empty until a scan was taken
	// Scans run beside the polls, which thereby stay in time however long a scan takes.
	scans        chan scanned
	scanning     bool
	scanFailures int // tries since the last that succeeded; likewise
	pollFailures int
	// reported keeps a fault that every poll repeats from being logged each time.
	reported map[RowFault]bool
}

// scanned is the outcome of reading the whole store.
type scanned struct {
	builder  *baseBuilder
	position Position
	err      error
}

func (f *follower) run(ctx context.Context) {
	f.startScan(ctx)
	defer func() {
		if f.scanning {
			<-f.scans
		}
	}()
	poll := time.NewTimer(f.Interval)
	defer poll.Stop()
	reconcile := time.NewTimer(jittered(f.Reconcile))
	defer reconcile.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case s := <-f.scans:
			f.scanning = false
			reconcile.Reset(f.take(ctx, s))
		case <-reconcile.C:
			f.startScan(ctx)
		case <-poll.C:
			poll.Reset(f.poll(ctx))
		}
	}
}

// startScan starts a scan unless one runs.
func (f *follower) startScan(ctx context.Context) {
	if f.scanning {
		return
	}
	f.scanning = true
	go func() { f.scans <- f.scan(ctx) }()
}

// poll applies the changes since the last poll and returns when to poll next.
func (f *follower) poll(ctx context.Context) time.Duration {
	if f.position == "" {
		return f.Interval
	}
	changes, position, err := f.changes(ctx, f.position)
	switch {
	case errors.Is(err, ErrPositionLost):
		f.Logger.Info("change log no longer reaches back, loading the routing table anew")
		f.position = ""
		f.startScan(ctx)
		return f.Interval
	case err != nil:
		return f.failed(ctx, &f.pollFailures, err)
	}
	f.succeeded(&f.pollFailures)
	f.report(f.table.Apply(changes))
	f.position = position
	return f.Interval
}

// take publishes a scan together with what changed while it ran, and returns when to
// scan next.
func (f *follower) take(ctx context.Context, s scanned) time.Duration {
	if s.err != nil {
		return f.failed(ctx, &f.scanFailures, s.err)
	}
	changes, position, err := f.changes(ctx, s.position)
	if err != nil {
		return f.failed(ctx, &f.scanFailures, err)
	}
	f.succeeded(&f.scanFailures)
	f.reported = make(map[RowFault]bool)
	f.report(f.table.load(s.builder, changes))
	f.position = position
	return jittered(f.Reconcile)
}

// scan reads the whole store.
func (f *follower) scan(ctx context.Context) scanned {
	ctx, cancel := context.WithTimeout(ctx, scanTimeout)
	defer cancel()
	s := scanned{builder: new(baseBuilder)}
	s.position, s.err = f.store.Scan(ctx, func(e Entry) error {
		s.builder.add(e)
		return nil
	})
	if s.err != nil {
		s.err = fmt.Errorf("scanning the config store: %w", s.err)
	}
	return s
}

func (f *follower) changes(ctx context.Context, since Position) ([]Change, Position, error) {
	ctx, cancel := context.WithTimeout(ctx, changesTimeout)
	defer cancel()
	changes, position, err := f.store.Changes(ctx, since)
	if err != nil {
		return nil, "", fmt.Errorf("reading the change log: %w", err)
	}
	return changes, position, nil
}

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

// failed counts a failure and returns when to try again. It logs the first of several;
// Info.CheckedAt tells of the others.
func (f *follower) failed(ctx context.Context, failures *int, err error) time.Duration {
	*failures++
	if *failures == 1 && ctx.Err() == nil {
		f.Logger.Warn("following the config store failed, the routing table stays as it is",
			zap.Error(err), zap.Bool("loaded", f.table.Loaded()))
	}
	const first = 200 * time.Millisecond
	return jittered(min(first<<min(*failures-1, 16), f.MaxBackoff))
}

func (f *follower) succeeded(failures *int) {
	if *failures > 0 {
		f.Logger.Info("config store answers again", zap.Int("failures", *failures))
	}
	*failures = 0
}

// jittered varies a time by a fifth either way.
func jittered(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (0.8 + 0.4*rand.Float64())) //nolint:gosec // nothing secret depends on it
}
