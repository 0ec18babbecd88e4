package sessions_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"testing/cryptotest"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"pgregory.net/rapid"
)

// TestModel holds sessions to what they must never do, and to what they must do in the
// end, in made-up worlds in which edges crash, are suspended and cut off, containers die
// and hang, replies are lost, and addresses are given again at once. See simulate.
//
// A failure shows the smallest scenario that was found and what happened in it.
// TORTURE=1: 500 repetitions; otherwise -rapid.checks, or 40.
func TestModel(t *testing.T) {
	repetitions := "40"
	if os.Getenv("TORTURE") != "" {
		repetitions = "500"
	}
	set := false
	flag.Visit(func(f *flag.Flag) { set = set || f.Name == "rapid.checks" })
	if !set {
		require.NoError(t, flag.Set("rapid.checks", repetitions))
	}
	rapid.Check(t, func(rt *rapid.T) {
		sc := simScenarios().Draw(rt, "scenario")
		var broken, trace []string
		func() {
			defer simLeak(&trace)
			synctest.Test(t, func(t *testing.T) {
				cryptotest.SetGlobalRandom(t, sc.Seed)
				broken, trace = simulate(sc, simLog)
			})
		}()
		if len(broken) > 0 {
			rt.Fatalf("%s\n\n%s", strings.Join(broken, "\n"), strings.Join(trace, "\n"))
		}
	})
}

// simLeak adds to a panic, which tells that goroutines are left behind, what these do.
func simLeak(trace *[]string) {
	why := recover()
	if why == nil {
		return
	}
	stacks := make([]byte, 1<<20)
	var left []string
	for stack := range strings.SplitSeq(string(stacks[:runtime.Stack(stacks, true)]), "\n\n") {
		if strings.Contains(stack, "synctest bubble") {
			left = append(left, stack)
		}
	}
	panic(fmt.Sprintf("%v\n\n%s\n\n%s", why, strings.Join(left, "\n\n"), strings.Join(*trace, "\n")))
}

// simEdges is the most edges that a scenario has.
const simEdges = 3

// simScenarios draws scenarios.
func simScenarios() *rapid.Generator[simScenario] {
	kinds := rapid.SampledFrom([]string{
		"visit", "visit", "visit", "visit", "write", "write", "write", "crowd", "create", "sleep", "delete",
		"crash edge", "crash edge", "suspend edge", "cut " + simToRegistry, "cut " + simToRunner, "cut " + simToContainers,
		"registry down", "cluster full", "crash container", "crash container", "hang container", "fail save", "fail push",
	})
	seconds := func(most ...int) *rapid.Generator[time.Duration] {
		return rapid.Custom(func(t *rapid.T) time.Duration {
			m := rapid.SampledFrom(most).Draw(t, "most")
			return time.Duration(rapid.IntRange(0, m*1000).Draw(t, "ms")) * time.Millisecond
		})
	}
	actions := rapid.Custom(func(t *rapid.T) simAction {
		return simAction{
			Kind:    kinds.Draw(t, "kind"),
			Edge:    rapid.IntRange(0, 2).Draw(t, "edge"),
			Session: rapid.IntRange(0, 7).Draw(t, "session"),
			For:     seconds(1, 10, 60).Draw(t, "for"),
			Pause:   seconds(0, 1, 1, 10, 10, 60, 300).Draw(t, "pause"),
		}
	})
	return rapid.Custom(func(t *rapid.T) simScenario {
		return simScenario{
			Seed:  rapid.Uint64Range(0, 1<<20).Draw(t, "seed"),
			Edges: rapid.IntRange(1, simEdges).Draw(t, "edges"),
			Moods: simMoods{
				Slow: rapid.Bool().Draw(t, "slow"), Lossy: rapid.Bool().Draw(t, "lossy"), Late: rapid.Bool().Draw(t, "late"),
				Lagging: rapid.Bool().Draw(t, "lagging"), FailBoots: rapid.Bool().Draw(t, "fail boots"),
				Returning: rapid.Bool().Draw(t, "returning"),
			},
			Actions: rapid.SliceOfN(actions, 1, 40).Draw(t, "actions"),
		}
	})
}

// simLog has what services log in the trace.
func simLog(w *simWorld) *zap.Logger {
	cfg := zap.NewDevelopmentEncoderConfig()
	cfg.TimeKey = ""
	return zap.New(zapcore.NewCore(zapcore.NewConsoleEncoder(cfg), simSink{w}, zap.DebugLevel))
}

type simSink struct{ w *simWorld }

func (s simSink) Write(b []byte) (int, error) {
	s.w.note("  %s", bytes.TrimSpace(b))
	return len(b), nil
}

func (s simSink) Sync() error { return nil }
