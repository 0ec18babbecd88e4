package progress

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/containerboot/bootapi"
)

func took(cloning, installing, building int64, reused ...string) Run {
	return Run{Reused: reused, Millis: map[bootapi.Phase]int64{
		bootapi.PhaseCloning: cloning, bootapi.PhaseInstalling: installing, bootapi.PhaseBuilding: building,
	}}
}

// TestExpected follows a boot whose earlier ones had much or little to do.
func TestExpected(t *testing.T) {
	t.Parallel()
	f := newFixture()
	f.t = f.t.Add(time.Second)
	expect := func(here, total int64) {
		t.Helper()
		s := f.Status()
		assert.Equal(t, []int64{here, total}, []int64{s.ExpectedMillis, s.ExpectedTotalMillis})
	}
	f.Expect([]Run{
		took(9_000, 60_000, 90_000), took(10_000, 20_000, 30_000), took(11_000, 21_000, 31_000),
		took(8_000, 22_000, 32_000), took(5_000, 500, 33_000, "install"), took(12_000, 19_000, 29_000), took(20, 0, 10, "build", "clone", "install"),
	})
	expect(0, 0) // there is nothing to be waited for yet
	f.Enter(bootapi.PhaseCloning, "")
	expect(20, 1_030) // as the last time
	f.Afresh("clone")
	expect(10_000, 1_000+10_000+21_000+31_000)
	f.t = f.t.Add(4 * time.Second)
	f.Enter(bootapi.PhaseInstalling, "npm ci")
	expect(21_000, 5_000+21_000+31_000)
	f.Reuse("install")
	expect(500, 5_000+500+33_000)
	f.t = f.t.Add(time.Second)
	f.Enter(bootapi.PhaseBuilding, "")
	expect(33_000, 6_000+33_000)
	f.Reuse("build")
	expect(0, 0) // that never happened before
	f.t = f.t.Add(2 * time.Second)
	f.Enter(bootapi.PhaseReady, "")
	expect(0, 0)
	assert.Equal(t, took(4_000, 1_000, 2_000, "build", "install"), f.Run())
}

func TestOnlyTheLastRunsCount(t *testing.T) {
	t.Parallel()
	f := newFixture()
	past := []Run{took(1, 1, 1_000_000), took(1, 1, 1_000_000), took(1, 1, 1_000_000)}
	for _, ms := range []int64{3, 900, 1, 2, 4} {
		past = append(past, took(ms, 0, 0))
	}
	f.Expect(past)
	f.Enter(bootapi.PhaseCloning, "")
	assert.Equal(t, int64(3), f.Status().ExpectedMillis)
	assert.Equal(t, int64(3), f.Status().ExpectedTotalMillis)
}

func TestPast(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "amelia", "times.json")
	assert.Empty(t, ReadRuns(path, "site"))
	for i := range int64(12) {
		require.NoError(t, AddRun(path, "site", took(i, 0, 0)))
		if i < 2 {
			require.NoError(t, AddRun(path, "site", took(100+i, 0, 0, "clone")))
		}
	}
	assert.Equal(t, []Run{
		took(100, 0, 0, "clone"), took(101, 0, 0, "clone"),
		took(7, 0, 0), took(8, 0, 0), took(9, 0, 0), took(10, 0, 0), took(11, 0, 0),
	}, ReadRuns(path, "site"), "five of each kind")
	assert.Empty(t, ReadRuns(path, "another"))
	require.NoError(t, AddRun(path, "another", took(1, 2, 3)))
	assert.Equal(t, []Run{took(1, 2, 3)}, ReadRuns(path, "another"))
	assert.Empty(t, ReadRuns(path, "site"), "another site has taken its place")
	left, err := filepath.Glob(filepath.Join(filepath.Dir(path), ".*"))
	require.NoError(t, err)
	assert.Empty(t, left)
}

// TestPastThatIsBroken is what others may have made of the file: it is as good as none,
// and is replaced.
func TestPastThatIsBroken(t *testing.T) {
	t.Parallel()
	for name, content := range map[string]string{
		"empty": "", "cut short": `{"site":"site","runs":[{"mil`, "another shape": `[1,2]`,
		"endless":  `{"site":"site","runs":[` + strings.Repeat(`{"millis":{"cloning":1}},`, 10_000) + `{}]}`,
		"negative": `{"site":"site","runs":[{"millis":{"cloning":-5}}]}`,
		"for ever": `{"site":"site","runs":[{"millis":{"building":99999999999}}]}`,
	} {
		path := filepath.Join(t.TempDir(), "times.json")
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		assert.Empty(t, ReadRuns(path, "site"), name)
		require.NoError(t, AddRun(path, "site", took(1, 2, 3)), name)
		assert.Equal(t, []Run{took(1, 2, 3)}, ReadRuns(path, "site"), name)
	}
}

func TestPercent(t *testing.T) {
	t.Parallel()
	cases := []struct {
		phase   bootapi.Phase
		line    string
		step    string
		percent int // -1: none
	}{
		{bootapi.PhaseCloning, "Receiving objects:  43% (43/100), 1.20 MiB | 2.40 MiB/s", "Receiving objects", 43},
		{bootapi.PhaseCloning, "Resolving deltas: 100% (5/5), done.", "Resolving deltas", 100},
		{bootapi.PhaseCloning, "remote: Compressing objects:   9% (9/100)", "Compressing objects", 9},
		{bootapi.PhaseCloning, "remote: Enumerating objects: 12, done.", "", -1},
		{bootapi.PhaseCloning, "Receiving objects: 943% (43/100)", "", -1},
		{bootapi.PhaseCloning, "a file of 43% (of all)", "", -1},
		{bootapi.PhaseInstalling, "Progress: resolved 8, reused 8, downloaded 0, added 8, done", "", -1},
		{bootapi.PhaseInstalling, "Receiving objects:  43% (43/100)", "", -1},
		{bootapi.PhaseBuilding, "16:11:30   ▶ /_astro/pic.B1_2.webp (before: 30kB, after: 4kB) (+120ms) (3/12)", "making images", 25},
		{bootapi.PhaseBuilding, "16:11:30   ▶ /_astro/pic.B1_2.webp (reused cache entry) (+1ms) (12/12)", "making images", 100},
		{bootapi.PhaseBuilding, "16:11:30   ▶ /_astro/pic.webp (reused cache entry) (+1ms) (13/12)", "", -1},
		{bootapi.PhaseBuilding, "16:11:30   ▶ /_astro/pic.webp (reused cache entry) (+1ms) (0/0)", "", -1},
		{bootapi.PhaseBuilding, "16:11:31   └─ /index.html (+15ms)", "", -1},
	}
	for _, tc := range cases {
		f := newFixture()
		f.Enter(tc.phase, "before")
		f.Log(tc.phase, tc.line)
		s := f.Status()
		if tc.percent < 0 {
			assert.Nil(t, s.Percent, tc.line)
			assert.Equal(t, "before", s.Step)
			continue
		}
		require.NotNil(t, s.Percent, tc.line)
		assert.Equal(t, tc.percent, *s.Percent, tc.line)
		assert.Equal(t, tc.step, s.Step)
		data, err := json.Marshal(s)
		require.NoError(t, err)
		assert.Contains(t, string(data), `"percent":`)
		f.Step("after")
		assert.Nil(t, f.Status().Percent, "it was of another step")
	}
}

// TestPercentIsPublished shows that readers are told of each new percentage, and once.
func TestPercentIsPublished(t *testing.T) {
	t.Parallel()
	f := newFixture()
	f.Enter(bootapi.PhaseCloning, "")
	sub, err := f.Subscribe()
	require.NoError(t, err)
	for _, line := range []string{"Receiving objects:   0% (0/9)", "Receiving objects:  50% (4/9)", "Receiving objects:  50% (5/9)"} {
		f.Log(bootapi.PhaseCloning, line)
	}
	events, err := sub.Wait(t.Context(), time.Minute)
	require.NoError(t, err)
	var percents []int
	for _, e := range events {
		var s bootapi.Status
		require.NoError(t, json.Unmarshal(e.Data, &s))
		if e.Name == bootapi.EventStatus && s.Percent != nil {
			percents = append(percents, *s.Percent)
		}
	}
	assert.Equal(t, []int{0, 50}, percents)
}
