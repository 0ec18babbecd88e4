package bulk

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/webordinary/router/configstore"
)

// Options tune Write. The zero value is ready to use.
type Options struct {
	// Workers is how many transactions may run at the same time. Default: 1.
	Workers int
	// Isolate goes on after a client that the store refuses (its host is taken, or
	// somebody else has written it), instead of ending with the first.
	Isolate bool
	// Written is called for each client that was written, with the index of its step
	// and what is stored now, one call at a time.
	Written func(step int, stored configstore.Record)
	// Retry is told of a failure after which the same is tried again in a while.
	Retry func(err error, in time.Duration)
}

// Result is what became of the steps.
type Result struct {
	Written int
	// Refused are steps that the store refused, with Options.Isolate.
	Refused []Refused
}

// Refused is a step that was not written.
type Refused struct {
	Step int
	Err  error
}

const (
	// callTimeout bounds one transaction, which is carried through once it was begun.
	callTimeout = time.Minute
	// patience is how long a store may be unavailable once it has taken something.
	patience = time.Minute
	// growAfter is how many transactions in a row must fit before larger ones are tried.
	growAfter = 8
)

// Write writes clients, each once, in transactions of as many as the store takes: those
// between which hosts move in the same. It ends at the first error of the store, save that
// it waits for one that is unavailable after it has taken something, or when ctx ends,
// after the transactions that are under way; Result is right then too.
func Write(ctx context.Context, store configstore.Store, steps []Step, o Options) (Result, error) {
	if o.Written == nil {
		o.Written = func(int, configstore.Record) {}
	}
	if o.Retry == nil {
		o.Retry = func(error, time.Duration) {}
	}
	w := &writer{Options: o, store: store, steps: steps, left: groups(steps), size: configstore.MaxWrites}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var workers sync.WaitGroup
	for range max(1, o.Workers) {
		workers.Go(func() {
			for ctx.Err() == nil {
				batch := w.next()
				if len(batch) == 0 {
					return
				}
				if err := w.put(ctx, batch); err != nil {
					cancel(err)
				}
			}
		})
	}
	workers.Wait()
	return w.result, context.Cause(ctx)
}

type writer struct {
	Options
	store configstore.Store
	steps []Step

	mu     sync.Mutex
	left   []group
	size   int // how many clients a transaction should have at most
	fitted int // transactions in a row that had no more than size
	result Result
}

// next takes the next batch: some groups, with no more clients than fit, or one group.
func (w *writer) next() []group {
	w.mu.Lock()
	defer w.mu.Unlock()
	n, clients := 0, 0
	for n < len(w.left) && (n == 0 || clients+len(w.left[n]) <= w.size) {
		clients += len(w.left[n])
		n++
	}
	batch := w.left[:n]
	w.left = w.left[n:]
	return batch
}

// put writes a batch, in parts where it is too large or holds what is refused.
func (w *writer) put(ctx context.Context, batch []group) error {
	if len(batch) == 0 || ctx.Err() != nil {
		return context.Cause(ctx)
	}
	records, err := w.putAll(ctx, batch)
	switch {
	case err == nil:
		w.wrote(batch, records)
		return nil
	case errors.Is(err, configstore.ErrTooLarge) && len(batch) > 1:
		w.shrink(len(batch))
		return w.halves(ctx, batch)
	case errors.Is(err, configstore.ErrTooLarge) && len(batch[0]) > 1:
		err = fmt.Errorf("hosts move between the clients %s, which are too many for one transaction: move them in steps: %w", w.names(batch[0]), err)
	case !isRefusal(err):
		return err
	}
	if !w.Isolate {
		return err
	}
	return w.isolate(ctx, batch, err)
}

// isolate writes a batch without the group that was refused.
func (w *writer) isolate(ctx context.Context, batch []group, err error) error {
	at := 0
	if len(batch) > 1 {
		named, ok := errors.AsType[*configstore.WriteError](err)
		if !ok {
			return w.halves(ctx, batch)
		}
		at = slices.IndexFunc(batch, func(g group) bool {
			return slices.ContainsFunc(g, func(i int) bool { return w.steps[i].Client.ClientID == named.ClientID })
		})
		if at < 0 {
			return err
		}
	}
	if !w.landed(ctx, batch[at]) {
		w.refuse(batch[at], err)
	}
	return w.put(ctx, slices.Concat(batch[:at], batch[at+1:]))
}

func (w *writer) halves(ctx context.Context, batch []group) error {
	half := len(batch) / 2
	if err := w.put(ctx, batch[:half]); err != nil {
		return err
	}
	return w.put(ctx, batch[half:])
}

// isRefusal reports whether a store refuses a client, as it would again.
func isRefusal(err error) bool {
	for _, target := range []error{configstore.ErrHostTaken, configstore.ErrConflict, configstore.ErrExists} {
		if errors.Is(err, target) {
			return true
		}
	}
	return false
}

// putAll is one transaction. A store that has taken something before and is unavailable
// now is tried again for some time.
func (w *writer) putAll(ctx context.Context, batch []group) ([]configstore.Record, error) {
	var writes []configstore.Write
	for _, g := range batch {
		for _, i := range g {
			writes = append(writes, w.steps[i].Write)
		}
	}
	for waited, wait := time.Duration(0), 500*time.Millisecond; ; wait = min(2*wait, 10*time.Second) {
		records, err := w.call(ctx, writes)
		if !errors.Is(err, configstore.ErrUnavailable) || waited >= patience || !w.begun() {
			return records, err
		}
		w.Retry(err, wait)
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil, err
		case <-timer.C:
			waited += wait
		}
	}
}

// call is not cut short with ctx: what is under way is carried through, so that it is
// known what was written.
func (w *writer) call(ctx context.Context, writes []configstore.Write) ([]configstore.Record, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
	defer cancel()
	return w.store.PutAll(ctx, writes)
}

func (w *writer) begun() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.result.Written > 0
}

func (w *writer) wrote(batch []group, records []configstore.Record) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for _, g := range batch {
		for _, i := range g {
			w.result.Written++
			w.Written(i, records[n])
			n++
		}
	}
	if w.fitted++; w.fitted >= growAfter {
		w.size, w.fitted = min(2*w.size, configstore.MaxWrites), 0
	}
}

// shrink has the next batches no larger than the half of one that was too large.
func (w *writer) shrink(groups int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.size, w.fitted = max(1, min(w.size, groups)/2), 0
}

// landed reports whether what a group would write is stored already: a transaction whose
// answer was lost may have been carried out.
func (w *writer) landed(ctx context.Context, g group) bool {
	records := make([]configstore.Record, 0, len(g))
	for _, i := range g {
		rec, err := w.store.Get(ctx, w.steps[i].Client.ClientID)
		if err != nil || rec.Version == 0 {
			return false
		}
		c, err := compare(w.steps[i].Client, rec)
		if err != nil || !c.Unchanged() {
			return false
		}
		records = append(records, rec)
	}
	w.wrote([]group{g}, records)
	return true
}

func (w *writer) refuse(g group, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, i := range g {
		w.result.Refused = append(w.result.Refused, Refused{Step: i, Err: err})
	}
}

// names lists the clients of a group for a message; of many, the first.
func (w *writer) names(g group) string {
	const most = 10
	var names []string
	for _, i := range g[:min(len(g), most)] {
		names = append(names, w.steps[i].Client.ClientID)
	}
	if len(g) > most {
		names = append(names, fmt.Sprintf("and %d more", len(g)-most))
	}
	return strings.Join(names, ", ")
}
