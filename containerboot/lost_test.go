package containerboot_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/containerboot/bootapi"
)

const oddName = "odd/a b 'c' \"ü\"\nd"

// work does to a session's workspace all that an editor and an agent may do.
func (w *world) doWork(id string) {
	w.t.Helper()
	dir := w.workspace(id)
	write(w.t, dir+"/agent.txt", "by the agent")
	w.git(dir, "add", "agent.txt")
	w.git(dir, "commit", "-q", "-m", "An agent's commit")
	write(w.t, dir+"/text.txt", "edited")
	write(w.t, dir+"/image.png", "\x89PNG\r\n\x00\xff")
	require.NoError(w.t, os.MkdirAll(dir+"/odd", 0o755))
	write(w.t, dir+"/"+oddName, "odd")
	write(w.t, dir+"/staged.txt", "staged")
	w.git(dir, "add", "staged.txt")
	require.NoError(w.t, os.Remove(dir+"/obsolete.txt"))
}

// assertWork finds it in a workspace.
func (w *world) assertWork(id string) {
	w.t.Helper()
	for name, want := range map[string]string{
		"agent.txt": "by the agent", "text.txt": "edited", "image.png": "\x89PNG\r\n\x00\xff", oddName: "odd", "staged.txt": "staged",
	} {
		data, err := os.ReadFile(filepath.Join(w.workspace(id), name))
		if assert.NoError(w.t, err) {
			assert.Equal(w.t, want, string(data), name)
		}
	}
	assert.NoFileExists(w.t, w.workspace(id)+"/obsolete.txt")
}

// moveOn puts a commit onto a session's branch from elsewhere.
func (w *world) moveOn(id, name, content string) {
	w.t.Helper()
	w.git(w.work, "fetch", "-q", "origin")
	w.git(w.work, "checkout", "-q", "-B", "edit/"+id, "origin/edit/"+id)
	w.push(map[string]string{name: content})
}

func (w *world) refusePushes() {
	w.t.Helper()
	require.NoError(w.t, os.MkdirAll(w.remote+"/hooks", 0o755))
	writeProgram(w.t, w.remote+"/hooks/pre-receive", "#!/bin/sh\nexit 1\n")
}

// TestNothingIsLost ends sessions with work in them that is not saved, whatever the remote
// does about it, and wakes them here and on another machine that shares the cache.
func TestNothingIsLost(t *testing.T) {
	t.Parallel()
	remotes := map[string]struct {
		meanwhile func(w *world) // before the end
		mend      func(w *world) // before the wake
		where     string         // it was saved
		also      func(w *world) // of the wake
	}{
		"reachable": {func(*world) {}, func(*world) {}, "remote", func(*world) {}},
		"moved on": {
			func(w *world) { w.moveOn("s1", "theirs.txt", "theirs") }, func(*world) {}, "remote",
			func(w *world) { assert.FileExists(w.t, w.workspace("s1")+"/theirs.txt") },
		},
		"moved on with a conflict": {
			func(w *world) { w.moveOn("s1", "text.txt", "theirs") }, func(*world) {}, "remote",
			func(w *world) {
				assert.Equal(w.t, "theirs", w.git(w.remote, "show", "edit/s1^2:text.txt"), "the other version is kept")
				assert.Contains(w.t, w.git(w.remote, "log", "-1", "--format=%B", "edit/s1"), "text.txt", "and said")
			},
		},
		"unreachable": {
			func(w *world) { require.NoError(w.t, os.Rename(w.remote, w.remote+".away")) },
			func(w *world) { require.NoError(w.t, os.Rename(w.remote+".away", w.remote)) },
			"bundle", func(*world) {},
		},
		"refusing": {
			func(w *world) { w.refusePushes() },
			func(w *world) { require.NoError(w.t, os.Remove(w.remote+"/hooks/pre-receive")) },
			"bundle", func(*world) {},
		},
	}
	for name, remote := range remotes {
		for place, elsewhere := range map[string]bool{"here": false, "elsewhere": true} {
			t.Run(name+", "+place, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, with(plainSite, map[string]string{"obsolete.txt": "obsolete"}))
				claim := w.claim("s1")
				c, _ := w.ready(claim)
				write(t, w.workspace("s1")+"/first.txt", "first")
				code, _ := c.post(bootapi.PathSave, nil)
				require.Equal(t, 200, code)
				remote.meanwhile(w)
				w.doWork("s1")
				require.Zero(t, c.stop())
				c.says(`"where":"` + remote.where + `"`)
				remote.mend(w)
				if elsewhere {
					w.lose("s1")
				}
				claim.Epoch++
				c, _ = w.ready(claim)
				w.assertWork("s1")
				remote.also(w)
				require.Zero(t, c.stop())
				assert.Equal(t, "edited", w.git(w.remote, "show", "edit/s1:text.txt"), "by now the remote has it")
				assert.Equal(t, "first", w.git(w.remote, "show", "edit/s1:first.txt"))
				assert.Contains(t, w.git(w.remote, "log", "--format=%s", "edit/s1"), "An agent's commit")
			})
		}
	}
}

// TestPowerLoss takes the machine away, and the cache with it, after an auto-save.
func TestPowerLoss(t *testing.T) {
	t.Parallel()
	w := newWorld(t, with(plainSite, map[string]string{"obsolete.txt": "obsolete"}))
	claim := w.claim("s1")
	c, _ := w.ready(claim, autoSaved)
	w.doWork("s1")
	w.awaitDraft(c, "s1", "staged.txt", "staged")
	c.await(func() bool { return w.git(w.remote, "ls-tree", w.draft("s1"), "obsolete.txt") == "" })
	require.NoError(t, c.cmd.Process.Kill())
	c.exited()
	w.lose("s1")
	require.NoError(t, os.RemoveAll(w.dir+"/cache"))
	claim.Epoch++
	c, _ = w.ready(claim, autoSaved)
	w.assertWork("s1")
	assert.Zero(t, c.stop())
	assert.Equal(t, "edited", w.git(w.remote, "show", "edit/s1:text.txt"))
	w.assertSpent("s1")
}
