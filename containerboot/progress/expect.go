package progress

import (
	"slices"

	"github.com/webordinary/router/containerboot/bootapi"
)

// usual is how many of the last runs the usual time is the median of.
const usual = 5

// Run is how long a boot took.
type Run struct {
	// Reused says which steps a cache made needless, as bootapi.Status.Reused does: runs
	// with the same ones had as much to do.
	Reused []string `json:"reused,omitempty"`
	// Millis is how long each phase took.
	Millis map[bootapi.Phase]int64 `json:"millis"`
}

// Expect says how long earlier boots of the client's site took, oldest first: from then
// on a status says what is to be expected.
func (b *Board) Expect(past []Run) {
	b.change(func(*bootapi.Status) { b.past = past })
}

// Afresh notes that steps of the boot, named as in Reuse, have to be done.
func (b *Board) Afresh(steps ...string) {
	b.change(func(s *bootapi.Status) {
		if order(s.Phase) < order(bootapi.PhaseReady) {
			b.afresh = append(b.afresh, steps...)
		}
	})
}

// Run is how long each phase took that is over.
func (b *Board) Run() Run {
	b.mu.Lock()
	defer b.mu.Unlock()
	run := Run{Reused: slices.Sorted(slices.Values(b.status.Reused)), Millis: map[bootapi.Phase]int64{}}
	for _, phase := range expected {
		run.Millis[phase] = b.run.Millis[phase]
	}
	return run
}

// expected are the phases whose times are kept: those in which a container works.
var expected = []bootapi.Phase{bootapi.PhaseCloning, bootapi.PhaseInstalling, bootapi.PhaseBuilding}

// expectLocked adds to a status what is to be expected. It is taken from runs that had as
// much to do, as far as that is known by now, and of those from such as the last.
func (b *Board) expectLocked(s *bootapi.Status) {
	at := slices.Index(expected, s.Phase)
	if at < 0 {
		return
	}
	var alike []Run
	for _, run := range slices.Backward(b.past) {
		if !b.mayBe(run) || len(alike) > 0 && !slices.Equal(run.Reused, alike[0].Reused) {
			continue
		}
		if alike = append(alike, run); len(alike) == usual {
			break
		}
	}
	if len(alike) == 0 {
		return
	}
	s.ExpectedMillis = median(alike, s.Phase)
	s.ExpectedTotalMillis = b.since.Sub(b.started).Milliseconds() + s.ExpectedMillis
	for _, later := range expected[at+1:] {
		s.ExpectedTotalMillis += median(alike, later)
	}
}

// mayBe reports whether the present boot may have as much to do as another had.
func (b *Board) mayBe(run Run) bool {
	for _, step := range b.status.Reused {
		if !slices.Contains(run.Reused, step) {
			return false
		}
	}
	return !slices.ContainsFunc(b.afresh, func(step string) bool { return slices.Contains(run.Reused, step) })
}

func median(runs []Run, phase bootapi.Phase) int64 {
	all := make([]int64, len(runs))
	for i, run := range runs {
		all[i] = run.Millis[phase]
	}
	slices.Sort(all)
	return all[len(all)/2]
}
