package containerboot_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/containerboot/bootapi"
)

// draft is the work in progress of a session on the remote, or "".
func (w *world) draft(id string) string {
	w.t.Helper()
	return w.git(w.remote, "for-each-ref", "--format=%(objectname)", "refs/webordinary/"+id)
}

// assertSpent asserts that the draft, which changed hands, says nothing that the branch does
// not.
func (w *world) assertSpent(id string) {
	w.t.Helper()
	branch := "edit/" + id
	assert.Equal(w.t, w.git(w.remote, "rev-parse", branch, branch+"^{tree}"), w.git(w.remote, "rev-parse", w.draft(id)+"^1", w.draft(id)+"^{tree}"))
}

// awaitDraft waits until a file is part of the work in progress with some content.
func (w *world) awaitDraft(c *container, id, name, content string) {
	w.t.Helper()
	c.await(func() bool {
		draft := w.draft(id)
		return draft != "" && w.git(w.remote, "ls-tree", draft, name) != "" && w.git(w.remote, "show", draft+":"+name) == content
	})
}

// lose takes a session's folder away, as the loss of its machine does.
func (w *world) lose(id string) {
	w.t.Helper()
	require.NoError(w.t, os.RemoveAll(filepath.Dir(w.workspace(id))))
}

const autoSaved = "AUTOSAVE_AFTER=1s"

func TestWorkIsSavedByItself(t *testing.T) {
	t.Parallel()
	w := newWorld(t, plainSite)
	claim := w.claim("s1")
	c, _ := w.ready(claim, autoSaved)
	c.get("/session/s1/")
	write(t, w.workspace("s1")+"/text.txt", "edited")
	w.awaitDraft(c, "s1", "text.txt", "edited")
	assert.Empty(t, w.git(w.remote, "branch", "--list", "edit/s1"))
	assert.Empty(t, c.status().LastSave, "it is no save")
	first := w.draft("s1")

	// Pushed is what has changed, and nothing else.
	pushes := func() int { return strings.Count(w.called(), "git push") }
	pushes()
	write(t, w.workspace("s1")+"/text.txt", "edited again")
	w.awaitDraft(c, "s1", "text.txt", "edited again")
	assert.Equal(t, 1, pushes())
	assert.Equal(t, first, w.git(w.remote, "rev-parse", w.draft("s1")+"^2"))

	require.NoError(t, c.cmd.Process.Kill())
	c.exited()
	w.lose("s1")
	require.NoError(t, os.RemoveAll(w.dir+"/cache"))
	claim.Epoch++
	c, status := w.ready(claim, autoSaved)
	_, page := c.get("/session/s1/")
	require.Contains(t, page, "<h1>edited again</h1>")
	assert.Equal(t, w.git(w.remote, "rev-parse", "main"), status.Commit)
	assert.Zero(t, c.stop())
	assert.Equal(t, "M\ttext.txt", w.git(w.remote, "diff", "--name-status", "main", "edit/s1"))
	assert.Equal(t, "1", w.git(w.remote, "rev-list", "--count", "main..edit/s1"))
	w.assertSpent("s1")
}

// TestAutoSaveKeepsNothingAwake waits for one between two questions.
func TestAutoSaveKeepsNothingAwake(t *testing.T) {
	t.Parallel()
	w := newWorld(t, plainSite)
	c, _ := w.ready(w.claim("s1"), autoSaved)
	before := c.status()
	began := time.Now()
	write(t, w.workspace("s1")+"/text.txt", "edited")
	c.says("work in progress saved")
	took := time.Since(began)
	after := c.status()
	assert.Equal(t, before.ActivityKind, after.ActivityKind)
	assert.GreaterOrEqual(t, after.IdleMillis+1, before.IdleMillis+took.Milliseconds(), "it is nobody's doing")
	reply := c.quiesce(time.Duration(after.IdleMillis) * time.Millisecond)
	require.True(t, reply.Agreed, reply.Reason)
	require.Equal(t, "remote", reply.Save.Where)
	assert.Equal(t, "edited", w.git(w.remote, "show", "edit/s1:text.txt"))
	assert.Empty(t, w.draft("s1"))
}

func TestAutoSaveWhileChangesNeverStop(t *testing.T) {
	t.Parallel()
	w := newWorld(t, plainSite)
	c, _ := w.ready(w.claim("s1"), autoSaved)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			case now := <-tick.C:
				_ = os.WriteFile(w.workspace("s1")+"/text.txt", []byte(now.String()), 0o644)
			}
		}
	}()
	c.await(func() bool { return w.draft("s1") != "" })
	close(stop)
	<-stopped
}

// TestSaveWhileAnAutoSaveHangs: the save's own push begins only once the other was ended.
func TestSaveWhileAnAutoSaveHangs(t *testing.T) {
	t.Parallel()
	w := newWorld(t, plainSite)
	c, _ := w.ready(w.claim("s1"), autoSaved)
	w.hang("push")
	w.edit("s1")
	w.hung("push")
	require.NoError(t, os.Remove(w.dir+"/hung-push"))
	saved := make(chan string, 1)
	go func() {
		_, body := c.post(bootapi.PathSave, nil)
		saved <- body
	}()
	w.hung("push")
	w.goOn("push")
	assert.Contains(t, <-saved, `"where":"remote"`)
	w.assertSaved("s1")
	require.NoError(t, c.cmd.Process.Signal(syscall.SIGTERM))
	assert.Zero(t, c.exited())
}

func TestAutoSaveWithoutSuchRefs(t *testing.T) {
	t.Parallel()
	w := newWorld(t, plainSite)
	w.git(w.remote, "config", "receive.hideRefs", "refs/webordinary")
	claim := w.claim("s1")
	c, _ := w.ready(claim, autoSaved)
	write(t, w.workspace("s1")+"/text.txt", "edited")
	c.says("work in progress is kept in the cache only")
	require.NoError(t, c.cmd.Process.Kill())
	c.exited()
	assert.Equal(t, 1, strings.Count(c.logged(), "kept in the cache only"))
	w.lose("s1")
	claim.Epoch++
	c, _ = w.ready(claim, "AUTOSAVE_AFTER=off")
	_, page := c.get("/session/s1/")
	assert.Contains(t, page, "<h1>edited</h1>")
	assert.Zero(t, c.stop())
	assert.Equal(t, "M\ttext.txt", w.git(w.remote, "diff", "--name-status", "main", "edit/s1"))
}
