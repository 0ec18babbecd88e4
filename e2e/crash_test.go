package e2e

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/e2e/harness"
)

// binary holds what text tools change: zero bytes, line ends of both kinds, no UTF-8.
var binary = bytes.Repeat([]byte{0, 1, 0xff, 0xfe, '\r', '\n', '\n', 0x80}, 500)

// edit does what an editor does to a workspace: it modifies, adds and deletes.
func edit(t *testing.T, session *harness.Session, content string) {
	t.Helper()
	w := session.Workspace()
	require.NoError(t, os.WriteFile(filepath.Join(w, "content.txt"), []byte(content+"\n"), 0o600))
	require.NoError(t, os.MkdirAll(filepath.Join(w, "folder"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(w, "folder", "new.txt"), []byte("new, with "+content+"\n"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(w, "binary.bin"), binary, 0o600))
	require.NoError(t, os.RemoveAll(filepath.Join(w, "old.txt")))
}

// requireSaved checks that the work of edit is on the session's branch of the remote.
func requireSaved(t *testing.T, site *harness.Site, session *harness.Session, content string) {
	t.Helper()
	branch := session.EditBranch
	git := func(args ...string) string {
		return site.Git(append([]string{"--git-dir", site.Repository}, args...)...)
	}
	require.Equal(t, content, git("show", branch+":content.txt"))
	require.Equal(t, "new, with "+content, git("show", branch+":folder/new.txt"))
	require.Equal(t, string(binary), git("show", branch+":binary.bin"))
	require.Empty(t, git("ls-tree", branch, "old.txt"), "a deleted file is there")
	require.Empty(t, git("ls-tree", branch, "dist"), "the built site was saved")
}

// requireRestored checks that the work of edit is in the workspace again, and on the site.
func requireRestored(t *testing.T, session *harness.Session, content string, page harness.Answer) {
	t.Helper()
	w := session.Workspace()
	require.Contains(t, page.Body, content, "the site")
	text, err := os.ReadFile(filepath.Join(w, "content.txt"))
	require.NoError(t, err)
	require.Equal(t, content+"\n", string(text))
	text, err = os.ReadFile(filepath.Join(w, "folder", "new.txt"))
	require.NoError(t, err)
	require.Equal(t, "new, with "+content+"\n", string(text))
	text, err = os.ReadFile(filepath.Join(w, "binary.bin"))
	require.NoError(t, err)
	require.Equal(t, binary, text)
	require.NoFileExists(t, filepath.Join(w, "old.txt"))
}

func TestKilledEdgeLosesNoWork(t *testing.T) {
	parallel(t)
	e := harness.New(t, harness.Options{Bin: harness.Raced(t)})
	site := e.NewSite("amelia", harness.SiteOptions{})
	e.Start()
	session := e.CreateSession(site)
	session.Open()
	edit(t, session, "edited")
	<-time.After(time.Second) // the edits are to be a second old

	e.Kill9()
	session.AwaitAsleep()
	harness.Eventually(t, harness.Patience, "nothing of a killed edge runs", func() bool { return len(harness.Processes(t, e.Data)) == 0 })
	requireSaved(t, site, session, "edited")

	e.Start()
	requireRestored(t, session, "edited", session.Open())
	assert.Equal(t, 2, e.Started(), "containers ever started")
}

func TestEdgeRestartsWhileItsContainerSaves(t *testing.T) {
	parallel(t)
	// Without the race detector: after 10 s the push is given up, and the next one starts.
	e := harness.New(t, harness.Options{})
	site := e.NewSite("amelia", harness.SiteOptions{})
	e.Start()
	session := e.CreateSession(site)
	session.Open()
	pushing, gate := filepath.Join(t.TempDir(), "pushing"), filepath.Join(t.TempDir(), "gate")
	site.OnPush(fmt.Sprintf("touch %q\nwhile [ ! -e %q ]; do sleep 0.05; done\n", pushing, gate))
	t.Cleanup(func() { _ = os.WriteFile(gate, nil, 0o600) })
	edit(t, session, "edited meanwhile")
	most := session.Most()

	e.Kill9()
	harness.Eventually(t, harness.Patience, "the container saves", func() bool {
		_, err := os.Stat(pushing)
		return err == nil
	})
	old := session.Container()
	e.Start()
	a := e.Do(session.Document("/"))
	assert.Equal(t, http.StatusAccepted, a.Status, "while the old container saves")
	<-time.After(time.Second) // time in which a second one would start
	assert.Equal(t, old.PID, session.Container().PID)
	assert.Equal(t, 1, e.Started(), "containers ever started")

	require.NoError(t, os.WriteFile(gate, nil, 0o600))
	requireRestored(t, session, "edited meanwhile", session.Open())
	requireSaved(t, site, session, "edited meanwhile")
	assert.Equal(t, 2, e.Started(), "containers ever started")
	assert.Equal(t, 1, most(), "containers at once")
}

func TestEdgeKilledWhileItWakes(t *testing.T) {
	parallel(t)
	gate := filepath.Join(t.TempDir(), "gate")
	e := harness.New(t, harness.Options{Bin: harness.Raced(t)})
	site := e.NewSite("amelia", harness.SiteOptions{Build: fmt.Sprintf("awaitFile(%q);", gate)})
	e.Start()
	session := e.CreateSession(site)
	awaitPhase(t, e, session, "building")
	most := session.Most()
	e.Kill9()
	e.Start()
	require.NoError(t, os.WriteFile(gate, nil, 0o600))
	session.Open()
	assert.Equal(t, 1, most(), "containers at once")
}

func TestSleepAndWakeKeepWork(t *testing.T) {
	parallel(t)
	e := harness.New(t, harness.Options{Bin: harness.Raced(t)})
	site := e.NewSite("amelia", harness.SiteOptions{})
	e.Start()
	session := e.CreateSession(site, "--thread", "spring-menu")
	assert.Equal(t, "spring-menu", session.EditBranch)
	session.Open()
	edit(t, session, "edited before sleep")
	e.CLI("session", "sleep", session.SessionID)
	session.AwaitAsleep()
	requireSaved(t, site, session, "edited before sleep")

	// The thread has its session; asking for it again resumes it.
	again := e.CreateSession(site, "--thread", "spring-menu")
	assert.Equal(t, session.SessionID, again.SessionID)
	requireRestored(t, session, "edited before sleep", session.Open())
}

func TestWhateverEndsTheVisitorComesBackToTheWork(t *testing.T) {
	parallel(t)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	e := harness.New(t, harness.Options{Bin: harness.Raced(t)})
	site := e.NewSite("amelia", harness.SiteOptions{})
	e.Start()
	session := e.CreateSession(site)
	session.Open()
	most := session.Most()
	for round := range times(4, 150) {
		content := fmt.Sprintf("round %d", round)
		edit(t, session, content)
		switch what := random.IntN(4); what {
		case 0:
			t.Log("kill -9 of the edge, started again at once")
			e.Kill9()
			e.Start()
		case 1:
			t.Log("Ctrl-C, started again")
			e.Interrupt()
			e.Start()
		case 2:
			t.Log("SIGTERM of the container")
			require.NoError(t, syscall.Kill(session.Container().PID, syscall.SIGTERM))
		default:
			t.Log("sleep by the CLI")
			e.CLI("session", "sleep", session.SessionID)
		}
		var page harness.Answer
		harness.EventuallyEvery(t, harness.Patience, 100*time.Millisecond, "the site with the work is there", func() bool {
			page = e.Do(session.Document("/"))
			return page.Status == http.StatusOK && bytes.Contains([]byte(page.Body), []byte(content))
		})
		requireRestored(t, session, content, page)
	}
	assert.Equal(t, 1, most(), "containers at once")
}
