package bulk

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/webordinary/router/configstore"
)

// Options tune Write. The zero value is ready to use.
type Options struct {
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
)

// Write writes clients, each once, in transactions of as many as the store takes, those
// between which hosts move in the same, one after the other: a store orders its writes, so
// that several at once would only wait for each other. It ends at the first error of the
// store, save that it waits for one that is unavailable after it has taken something, or
// when ctx ends, after the transaction that is under way; Result is right then too.
func Write(ctx context.Context, store configstore.Store, steps []Step, o Options) (Result, error) {
	if o.Written == nil {
		o.Written = func(int, configstore.Record) {}
	}
	if o.Retry == nil {
		o.Retry = func(error, time.Duration) {}
	}
	w := &writer{Options: o, store: store, steps: steps}
	left, size := groups(steps), newBatchSize()
	for len(left) > 0 {
		batch := size.take(left)
		left = left[len(batch):]
		w.tooLarge = false
		if err := w.put(ctx, batch); err != nil {
			return w.result, err
		}
		size.learn(w.tooLarge)
	}
	return w.result, nil
}

type writer struct {
	Options
	store configstore.Store
	steps []Step

	tooLarge bool // the batch did not fit one transaction
	result   Result
}

// put writes a batch, in parts where it is too large or holds what is refused.
func (w *writer) put(ctx context.Context, batch []group) error {
	if len(batch) == 0 || ctx.Err() != nil {
		return ctx.Err()
	}
	records, err := w.putAll(ctx, batch)
	switch {
	case err == nil:
		w.wrote(batch, records)
		return nil
	case errors.Is(err, configstore.ErrTooLarge) && len(batch) > 1:
		w.tooLarge = true
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
		if !errors.Is(err, configstore.ErrUnavailable) || waited >= patience || w.result.Written == 0 {
			return records, err
		}
		w.Retry(err, wait)
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil, ctx.Err()
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

func (w *writer) wrote(batch []group, records []configstore.Record) {
	n := 0
	for _, g := range batch {
		for _, i := range g {
			w.result.Written++
			w.Written(i, records[n])
			n++
		}
	}
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
