package bulk

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/webordinary/router/configstore"
)

// Comparison is a configuration beside what is stored of its client.
type Comparison struct {
	// Client is the configuration.
	Client configstore.Client
	// Stored is the version that is stored; configstore.NoVersion where nothing is, or
	// AnyVersion where that could not be read.
	Stored int64
	// Changes are the fields in which the two differ. Nil where nothing is stored, or
	// nothing that can be read.
	Changes []configstore.FieldChange
	// Broken says why the stored row cannot be read; empty for a good one.
	Broken string

	held   []string            // edit hosts of the stored row
	stored *configstore.Client // nil: none that can be read
}

// Unchanged reports whether writing the configuration would change nothing. A row of the
// older tools (version 0) claims no hosts yet, so that it always changes.
func (c Comparison) Unchanged() bool {
	return c.Stored > 0 && c.Broken == "" && len(c.Changes) == 0
}

// Step is the write of the configuration over the version that expect names.
func (c Comparison) Step(expect int64) (Step, error) {
	hosts, err := c.Client.EditHosts()
	if err != nil {
		return Step{}, fmt.Errorf("client %q: %w", c.Client.ClientID, err)
	}
	step := Step{
		Write:    configstore.Write{Client: c.Client, Expect: expect},
		claims:   without(hosts, c.held),
		releases: without(c.held, hosts),
	}
	if expect == 0 {
		step.Seen = c.stored // the version would not tell what the older tools did since
	}
	return step, nil
}

func without(hosts, others []string) []string {
	return slices.DeleteFunc(slices.Clone(hosts), func(h string) bool { return slices.Contains(others, h) })
}

const (
	// fewClients are compared one by one; for more, the whole store is read in pages.
	fewClients = 1000
	// getters is how many of them are read at the same time.
	getters = 16
	// pageSize is how many clients are read at once.
	pageSize = 500
)

// Compare reads what is stored of clients with different ids. progress, which may be nil,
// is told how many clients were read so far, of whomever.
func Compare(ctx context.Context, store configstore.Store, clients []configstore.Client, progress func(read int)) ([]Comparison, error) {
	if progress == nil {
		progress = func(int) {}
	}
	if len(clients) <= fewClients {
		return compareFew(ctx, store, clients, progress)
	}
	found := make([]Comparison, len(clients))
	index := make(map[string]int, len(clients))
	for i, c := range clients {
		found[i] = Comparison{Client: c, Stored: configstore.NoVersion}
		index[c.ClientID] = i
	}
	read := 0
	return found, each(ctx, store, func(rec configstore.Record) error {
		read++
		progress(read)
		i, ok := index[rec.Client.ClientID]
		if !ok {
			return nil
		}
		var err error
		found[i], err = compare(clients[i], rec)
		return err
	})
}

func compareFew(ctx context.Context, store configstore.Store, clients []configstore.Client, progress func(read int)) ([]Comparison, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var (
		found  = make([]Comparison, len(clients))
		queue  = make(chan int)
		mu     sync.Mutex
		read   int
		toRead sync.WaitGroup
	)
	for range min(getters, len(clients)) {
		toRead.Go(func() {
			for i := range queue {
				c, err := compareOne(ctx, store, clients[i])
				if err != nil {
					cancel(err)
					continue
				}
				found[i] = c
				mu.Lock()
				read++
				progress(read)
				mu.Unlock()
			}
		})
	}
	for i := range clients {
		if ctx.Err() != nil {
			break
		}
		queue <- i
	}
	close(queue)
	toRead.Wait()
	return found, context.Cause(ctx)
}

func compareOne(ctx context.Context, store configstore.Store, c configstore.Client) (Comparison, error) {
	rec, err := store.Get(ctx, c.ClientID)
	switch {
	case errors.Is(err, configstore.ErrNotFound):
		return Comparison{Client: c, Stored: configstore.NoVersion}, nil
	case errors.Is(err, configstore.ErrBroken):
		return Comparison{Client: c, Stored: configstore.AnyVersion, Broken: err.Error()}, nil
	case err != nil:
		return Comparison{}, err
	default:
		return compare(c, rec)
	}
}

// compare compares a configuration with the row of its client, whose unknown fields a
// write keeps.
func compare(c configstore.Client, rec configstore.Record) (Comparison, error) {
	found := Comparison{Client: c, Stored: rec.Version, Broken: rec.Broken}
	if rec.Broken != "" {
		return found, nil
	}
	found.held, found.stored = rec.Entry().Hosts, &rec.Client
	var err error
	found.Changes, err = configstore.Diff(rec.Client, configstore.MergeUnknown(c, rec.Client.Unknown))
	return found, err
}

// each calls fn for every record of a store, in the order of their ids.
func each(ctx context.Context, store configstore.Store, fn func(configstore.Record) error) error {
	for after := ""; ; {
		page, err := store.List(ctx, after, pageSize)
		if err != nil {
			return err // says what was being done
		}
		for _, rec := range page {
			if err := fn(rec); err != nil {
				return err
			}
			after = rec.Client.ClientID
		}
		if len(page) < pageSize {
			return nil
		}
	}
}
