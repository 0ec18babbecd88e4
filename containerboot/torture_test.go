package containerboot_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/containerboot/bootapi"
)

// manyPages is a site of so many files that a crash finds them half written. Each says
// what it was made from.
const manyPages = 200

var tortured = with(plainSite, map[string]string{
	".gitignore": "dist/\nnode_modules/\n",
	"mine.txt":   "0",
	"build.mjs": fmt.Sprintf(`import fs from "node:fs";
const page = "<p>" + fs.readFileSync("text.txt", "utf8") + " " + fs.readFileSync("mine.txt", "utf8") + "</p>";
fs.mkdirSync("dist/pages", {recursive: true});
fs.writeFileSync("dist/index.html", page);
for (let i = 0; i < %d; i++) fs.writeFileSync("dist/pages/" + i + ".html", page);
fs.mkdirSync("node_modules/made", {recursive: true});
`, manyPages),
})

// TestKilledAtAnyMoment kills containers of one client, with all that they run, at random
// moments of starts, rebuilds, saves and sweeps: 10 times, 200 with TORTURE=1. The next
// start serves nothing but whole builds, of what was asked for, and has all work.
// TORTURE_SEED repeats the choices of an earlier run.
func TestKilledAtAnyMoment(t *testing.T) {
	t.Parallel()
	kills := 10
	if os.Getenv("TORTURE") != "" {
		kills = 200
	}
	newTorture(t, tortured).run(kills)
}

// TestAstroKilledAtAnyMoment is the same with a real site, of which a start takes longer.
func TestAstroKilledAtAnyMoment(t *testing.T) {
	if os.Getenv("TORTURE") == "" {
		t.Log("TORTURE=1 runs it")
		return
	}
	page := `---
import fs from "node:fs";
const read = (name) => fs.readFileSync(name, "utf8");
---
<p>{read("text.txt")} {read("mine.txt")}</p>
`
	site := with(astroSite("^5.0.0", ""), map[string]string{"text.txt": "hello", "mine.txt": "0", "src/pages/index.astro": page})
	for i := range manyPages {
		site[fmt.Sprintf("src/pages/pages/%d.astro", i)] = page
	}
	newTorture(t, locked(t, site, "package-lock.json", "npm", "install", "--package-lock-only", "--ignore-scripts")).run(10)
}

func newTorture(t *testing.T, site map[string]string) *torture {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if given := os.Getenv("TORTURE_SEED"); given != "" {
		var err error
		seed, err = strconv.ParseUint(given, 10, 64)
		require.NoError(t, err, "TORTURE_SEED")
	}
	t.Logf("TORTURE_SEED=%d", seed)
	x := &torture{world: newWorld(t, site), rng: rand.New(rand.NewPCG(seed, seed)), text: "hello", mine: "0", site: site}
	x.attributes = &syscall.SysProcAttr{Setpgid: true}
	return x
}

func (x *torture) run(kills int) {
	x.t.Helper()
	for i := range kills {
		x.life(i)
	}
	x.aftermath(kills)
}

// torture is a world in which containers of two kinds of sessions are killed: "kept", in
// which somebody edits, and sessions that begin anew each time.
type torture struct {
	*world
	site map[string]string
	rng  *rand.Rand
	// text is what was pushed last; mine what was written in the kept session last, and
	// saved what was confirmed to be saved.
	text, mine, saved string
	took              time.Duration // of the last start
}

// life is that of one container, which ends in a kill.
func (x *torture) life(i int) {
	x.t.Helper()
	if x.rng.IntN(2) == 0 {
		x.text = fmt.Sprint("text", i)
		x.push(map[string]string{"text.txt": x.text})
	}
	id, kept := "kept", x.rng.IntN(2) == 0
	if !kept {
		id = fmt.Sprint("new", i)
		defer os.RemoveAll(filepath.Dir(x.workspace(id)))
	}
	c := x.begin(id)
	if x.rng.IntN(2) == 0 {
		x.kill(c, max(x.took, 500*time.Millisecond))
		if !kept { // the same session again
			c = x.begin(id)
			x.check(c, kept)
			x.kill(c, 200*time.Millisecond)
		}
		return
	}
	x.check(c, kept)
	switch x.rng.IntN(3) {
	case 0:
		c.post(bootapi.PathRebuild, nil)
	case 1:
		if kept {
			x.mine = fmt.Sprint("mine", i)
			write(x.t, x.workspace(id)+"/mine.txt", x.mine)
			if code, _ := c.post(bootapi.PathSave, nil); code == http.StatusOK {
				x.saved = x.mine
			}
		}
	default: // what comes after the start
	}
	x.kill(c, x.took/2)
}

// kill kills a container and all that it runs, within a time.
func (x *torture) kill(c *container, within time.Duration) {
	x.t.Helper()
	select {
	case <-time.After(time.Duration(x.rng.Int64N(int64(within) + 1))):
	case code := <-c.exit:
		x.t.Fatalf("ended by itself with status %d; log:\n%s", code, c.logged())
	}
	if err := syscall.Kill(-c.cmd.Process.Pid, syscall.SIGKILL); !errors.Is(err, syscall.ESRCH) {
		require.NoError(x.t, err)
	}
	c.exited()
}

var wholePage = regexp.MustCompile(`^(<!DOCTYPE html>)?<p>(hello|text\d+) (0|mine\d+)</p>$`)

// check waits until a container serves what it must, and makes sure that it never serves
// anything that is not whole.
func (x *torture) check(c *container, kept bool) {
	x.t.Helper()
	start := time.Now()
	require.Equal(x.t, bootapi.PhaseReady, c.settled().Phase, "%+v", c.status().Failure)
	x.took = time.Since(start)
	pages := []string{"/", fmt.Sprintf("/pages/%d", x.rng.IntN(manyPages)), fmt.Sprintf("/pages/%d", manyPages-1)}
	var last string
	c.await(func() bool {
		var seen []string
		for _, page := range pages {
			code, body := c.get(page)
			require.Equal(x.t, http.StatusOK, code, "%s: %s", page, body)
			require.Regexp(x.t, wholePage, body, page)
			seen = append(seen, body)
		}
		slices.Sort(seen)
		seen = slices.Compact(seen)
		last = strings.Join(seen, " ")
		if kept {
			// It may have work that is newer than what others pushed, never older of its own.
			return len(seen) == 1 && strings.HasSuffix(seen[0], " "+x.mine+"</p>")
		}
		return len(seen) == 1 && strings.Contains(seen[0], "<p>"+x.text+" ")
	})
	require.NotEmpty(x.t, last)
	if kept {
		data, err := os.ReadFile(x.workspace("kept") + "/mine.txt")
		require.NoError(x.t, err)
		require.Equal(x.t, x.mine, string(data), "work was lost")
	}
	if x.saved != "" {
		require.Equal(x.t, x.saved, x.git(x.remote, "show", "edit/kept:mine.txt"), "saved work was lost")
	}
}

// aftermath lets time pass over what the killed left behind, and looks at what remains.
func (x *torture) aftermath(kills int) {
	x.t.Helper()
	cache := x.dir + "/cache/amelia"
	long := time.Now().Add(-2 * time.Hour)
	left := func() []string {
		var all []string
		for _, pattern := range []string{"/*/aside/*", "/*/leads/*", "/downloads/new/*"} {
			found, err := filepath.Glob(cache + pattern)
			require.NoError(x.t, err)
			all = append(all, found...)
		}
		return all
	}
	x.t.Logf("%d kills left %d files and folders to sweep", kills, len(left()))
	for _, path := range left() {
		require.NoError(x.t, os.Chtimes(path, long, long))
	}
	x.text = "text999999"
	x.push(map[string]string{"text.txt": x.text, "package.json": strings.Replace(x.site["package.json"], `"site"`, `"changed"`, 1)})
	c := x.begin("last")
	x.check(c, false)
	c.await(func() bool { return len(left()) == 0 })
	for dir, most := range map[string]int{"dist": 10, "node_modules": 3} {
		entries, err := filepath.Glob(cache + "/" + dir + "/*.*/whole.json")
		require.NoError(x.t, err)
		assert.NotEmpty(x.t, entries, dir)
		assert.LessOrEqual(x.t, len(entries), most, dir)
	}
	require.Zero(x.t, c.stop())
	c = x.begin("kept")
	x.check(c, true)
	x.mine = "mine999999" // there may have been no work yet, of which nothing is pushed
	write(x.t, x.workspace("kept")+"/mine.txt", x.mine)
	require.Zero(x.t, c.stop())
	assert.Equal(x.t, x.mine, x.git(x.remote, "show", "edit/kept:mine.txt"))
}
