package sessions_test

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/webordinary/router/configstore"
	"github.com/webordinary/router/sessions"
)

// simWorld is everything outside of the edges, made up: a registry, a cluster that runs
// containers, and a network. It lives in virtual time, and keeps watch: what must never
// happen is noted as broken at the moment at which it does.
//
// Chance is drawn by name and count, never from one stream that all share: what one
// goroutine draws does not depend on when the others run, so that a scenario that fails
// mostly fails again.
type simWorld struct {
	seed    uint64
	began   time.Time
	moods   simMoods
	records *simRegistry
	cluster *simCluster
	clients map[string]configstore.Client
	log     *zap.Logger

	onAgree func(*simBox) // called when a container agrees to its stop

	mu      sync.Mutex
	draws   map[string]uint64
	trace   []string
	broken  []string
	healthy bool // no more faults
	writes  int
	written map[int]string // the session of each write that was acknowledged
	blind   time.Time      // until when an edge may take a container for dead that is not
}

// simMoods are how the world is in one repetition.
type simMoods struct {
	Slow      bool // calls take seconds now and then
	Lossy     bool // replies are lost now and then, after the call was acted upon
	Late      bool // a call that its caller has given up may be acted upon all the same
	Lagging   bool // what the runner tells, and the registry's lists, are some time old
	Returning bool // somebody comes whenever a container has just agreed to its stop
	FailBoots bool // now and then a site cannot be built, or its build never ends
}

// The idle timeout of all clients in virtual time, and how long a container takes to
// save of its own accord.
const (
	simIdle     = 3 * time.Minute
	simAutosave = time.Minute
)

func newSimWorld(seed uint64, moods simMoods) *simWorld {
	w := &simWorld{
		seed: seed, moods: moods, began: time.Now(), log: zap.NewNop(),
		draws: map[string]uint64{}, clients: map[string]configstore.Client{}, written: map[int]string{},
	}
	for id, limit := range map[string]int{"amelia": 2, "bramble": 1} {
		w.clients[id] = configstore.Client{
			ClientID:   id,
			Domains:    configstore.Domains{Production: id + ".example.com", Edit: "edit." + id + ".localhost"},
			Repository: configstore.Repository{URL: "https://git.example.com/" + id, Branch: "main"},
			Settings: configstore.Settings{
				ContainerSize: configstore.SizeSmall, IdleTimeoutMinutes: int(simIdle.Minutes()), MaxConcurrentSessions: limit,
			},
		}
	}
	w.records = newSimRegistry()
	w.cluster = newSimCluster(w)
	w.records.onFree = w.cluster.slotFreed
	w.records.lag = func() time.Duration { return w.lag("registry lag") }
	return w
}

// draw returns the next number of a name.
func (w *simWorld) draw(name string) uint64 {
	w.mu.Lock()
	n := w.draws[name]
	w.draws[name]++
	w.mu.Unlock()
	h := fnv.New64a()
	var b [16]byte
	binary.LittleEndian.PutUint64(b[:8], w.seed)
	binary.LittleEndian.PutUint64(b[8:], n)
	_, _ = h.Write(b[:])
	_, _ = h.Write([]byte(name))
	x := h.Sum64() // and well mixed, as splitmix does
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// between draws a duration.
func (w *simWorld) between(name string, least, most time.Duration) time.Duration {
	return least + time.Duration(w.draw(name)%uint64(most-least+1))
}

// chance is true so many times in a hundred.
func (w *simWorld) chance(name string, percent uint64) bool { return w.draw(name)%100 < percent }

// note adds a line to the trace.
func (w *simWorld) note(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.trace = append(w.trace, fmt.Sprintf("%11s  ", time.Since(w.began).Round(time.Microsecond))+fmt.Sprintf(format, args...))
}

// breaks notes that something happened which never may.
func (w *simWorld) breaks(format string, args ...any) {
	what := fmt.Sprintf(format, args...)
	w.note("BROKEN: %s", what)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.broken = append(w.broken, what)
}

func (w *simWorld) isHealthy() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.healthy
}

// blinded notes that until some time after now an edge cannot reach a container which
// others reach: that the edge takes it for dead is not its fault.
func (w *simWorld) blinded(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if until := time.Now().Add(d); until.After(w.blind) {
		w.blind = until
	}
}

func (w *simWorld) isBlind() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return time.Now().Before(w.blind)
}

// lag draws how old something is that is told.
func (w *simWorld) lag(name string) time.Duration {
	if !w.moods.Lagging || w.isHealthy() {
		return 0
	}
	return w.between(name, 0, time.Second)
}

// fits reports whether a container is the one that its session's record speaks of.
func (w *simWorld) fits(req sessions.StartRequest) bool {
	r, ok := w.records.now(req.SessionID)
	return ok && r.HoldsSlot() && r.Epoch == req.Epoch
}

// nextWrite returns the number of a new write.
func (w *simWorld) nextWrite() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.writes++
	return w.writes
}

// acknowledge notes that an editor was told that a write was taken.
func (w *simWorld) acknowledge(session string, n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.written[n] = session
}
