package configstore_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/webordinary/router/configstore"
)

// memoryStore is what a follower uses of a store, in memory and with faults to switch on.
// Its writers are never disturbed. The rest of a Store is missing.
type memoryStore struct {
	configstore.Store

	mu       sync.Mutex
	id       string // of the change log
	rows     map[string]configstore.Entry
	versions map[string]int64 // the highest that each client ever had
	log      []configstore.Change
	trimmed  int // entries that the log has lost

	fault fault
	// between is called once, after the first entry of the next scan.
	between func()
	scans   int
	polls   int
}

// fault is what befalls the calls of a follower.
type fault func(ctx context.Context) error

// Faults.
var (
	refused fault = func(context.Context) error { return configstore.ErrUnavailable }
	hanging fault = func(ctx context.Context) error {
		<-ctx.Done()
		return fmt.Errorf("waiting: %w", ctx.Err())
	}
)

func newMemoryStore(ids ...string) *memoryStore {
	s := &memoryStore{id: "log", rows: make(map[string]configstore.Entry), versions: make(map[string]int64)}
	for _, id := range ids {
		s.put(id)
	}
	return s
}

// entryOf is a client with edit.{id}.example and these aliases.
func entryOf(id string, aliases ...string) configstore.Entry {
	return configstore.Entry{
		ClientID: id, Hosts: append([]string{"edit." + id + ".example"}, aliases...),
		Settings: configstore.Settings{ContainerSize: configstore.SizeSmall, IdleTimeoutMinutes: 15, MaxConcurrentSessions: 3},
	}
}

// put writes a client as our tools do.
func (s *memoryStore) put(id string, aliases ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.versions[id]++
	e := entryOf(id, aliases...)
	e.Version = s.versions[id]
	s.rows[id] = e
	s.log = append(s.log, configstore.Change{ClientID: id, Version: e.Version, Entry: e})
}

// delete removes a client as our tools do.
func (s *memoryStore) delete(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.versions[id]++
	delete(s.rows, id)
	s.log = append(s.log, configstore.Change{ClientID: id, Version: s.versions[id], Deleted: true})
}

// overwrite puts a row past the change log, as older tools and hands do.
func (s *memoryStore) overwrite(e configstore.Entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rows[e.ClientID] = e
}

// trim takes from the change log what it has.
func (s *memoryStore) trim() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.trimmed = len(s.log)
}

// suffer switches a fault on; nil ends it, for calls to come: those that hang, hang on.
func (s *memoryStore) suffer(f fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = f
}

// calls are how many there were.
func (s *memoryStore) calls() (scans, polls int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.scans, s.polls
}

func (s *memoryStore) Scan(ctx context.Context, fn func(configstore.Entry) error) (configstore.Position, error) {
	s.mu.Lock()
	s.scans++
	position, fault, ids := s.position(), s.fault, slices.Sorted(maps.Keys(s.rows))
	s.mu.Unlock()
	if fault != nil {
		return "", fault(ctx)
	}
	for _, id := range ids {
		s.mu.Lock()
		e, ok := s.rows[id]
		fault, between := s.fault, s.between
		s.mu.Unlock()
		if fault != nil {
			return "", fault(ctx)
		}
		if !ok {
			continue // deleted meanwhile
		}
		if err := fn(e); err != nil {
			return "", err
		}
		if between != nil {
			between()
			s.mu.Lock()
			s.between = nil
			s.mu.Unlock()
		}
	}
	return position, nil
}

// Get answers for clients that there are not.
func (s *memoryStore) Get(ctx context.Context, id string) (configstore.Record, error) {
	s.mu.Lock()
	fault := s.fault
	s.mu.Unlock()
	if fault != nil {
		return configstore.Record{}, fault(ctx)
	}
	return configstore.Record{}, fmt.Errorf("getting %q: %w", id, configstore.ErrNotFound)
}

func (s *memoryStore) Changes(ctx context.Context, since configstore.Position) ([]configstore.Change, configstore.Position, error) {
	s.mu.Lock()
	s.polls++
	fault := s.fault
	s.mu.Unlock()
	if fault != nil {
		return nil, "", fault(ctx)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	id, number, _ := strings.Cut(string(since), ":")
	from, err := strconv.Atoi(number)
	if err != nil || id != s.id || from < s.trimmed || from > len(s.log) {
		return nil, "", configstore.ErrPositionLost
	}
	return slices.Clone(s.log[from:]), s.position(), nil
}

func (s *memoryStore) position() configstore.Position {
	return configstore.Position(fmt.Sprintf("%s:%d", s.id, len(s.log)))
}
