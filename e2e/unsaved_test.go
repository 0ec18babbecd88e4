package e2e

import (
	"net/http"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/e2e/harness"
)

// crash ends a session's container as the kernel does when memory is short.
func crash(t *testing.T, session *harness.Session) {
	t.Helper()
	require.NoError(t, syscall.Kill(session.Container().PID, syscall.SIGKILL))
}

func TestCrashedSessionIsNotDeletedWithItsWork(t *testing.T) {
	parallel(t)
	e := harness.New(t, harness.Options{})
	site := e.NewSite("amelia", harness.SiteOptions{})
	e.Start()
	session := e.CreateSession(site)
	session.Open()
	edit(t, session, "edited")
	crash(t, session)
	out := e.CLI("session", "sleep", session.SessionID)
	assert.Contains(t, out, "its container was lost")

	r := e.Run("", "webordinary", "session", "delete", session.SessionID)
	assert.Equal(t, 1, r.Code)
	assert.NotContains(t, r.Out, "deleted")
	assert.Contains(t, r.Err, "session is not deleted")
	assert.Contains(t, r.Err, "wake it once, so that its work is saved, then delete it; --force deletes it all the same")
	assert.Contains(t, r.Err, session.SessionID, "where its work is")
	path := "/webordinary/sessions/" + session.SessionID
	status, body := e.AskAdmin(http.MethodDelete, path, "")
	assert.Equal(t, http.StatusConflict, status, body)
	status, body = e.AskAdmin(http.MethodDelete, path+"?force=perhaps", "")
	assert.Equal(t, http.StatusBadRequest, status, body)

	e.CLI("session", "wake", session.SessionID)
	crash(t, session)
	assert.Contains(t, e.CLI("session", "wake", session.SessionID), "active")
	assert.Equal(t, 3, e.Started(), "one that is dead is started again, though the record calls it active")
	e.CLI("session", "delete", session.SessionID)
	requireSaved(t, site, session, "edited")

	again := e.CreateSession(site, "--thread", session.ThreadID)
	assert.Contains(t, again.Open().Body, "edited")
	edit(t, again, "edited twice")
	crash(t, again)
	r = e.Run("", "webordinary", "session", "delete", again.SessionID, "--force")
	assert.Equal(t, 0, r.Code)
	assert.Contains(t, r.Out, "deleted")
	assert.Contains(t, r.Err, again.SessionID, "where its work is")
	assert.DirExists(t, again.Workspace())
}

func TestSleepSaysThatTheRemoteRefused(t *testing.T) {
	parallel(t)
	e := harness.New(t, harness.Options{})
	site := e.NewSite("amelia", harness.SiteOptions{})
	e.Start()
	session := e.CreateSession(site)
	session.Open()
	assert.NotContains(t, e.CLI("session", "sleep", session.SessionID), "last save", "there is nothing to say")
	session.Open()
	site.OnPush("echo 'frozen for the launch' >&2\nexit 1\n")
	edit(t, session, "edited")
	assert.Regexp(t, `last save +kept in the cache, not pushed: .*frozen`, e.CLI("session", "sleep", session.SessionID))
	r := e.Run("", "webordinary", "session", "delete", session.SessionID)
	assert.Equal(t, 1, r.Code)
	assert.Contains(t, r.Err, ".bundle")
}

func TestOrderlyStopIsNoLoss(t *testing.T) {
	parallel(t)
	e := harness.New(t, harness.Options{})
	site := e.NewSite("amelia", harness.SiteOptions{})
	e.Start()
	session := e.CreateSession(site)
	session.Open()
	edit(t, session, "edited")
	e.Interrupt()
	requireSaved(t, site, session, "edited")
	e.Start()
	assert.Contains(t, session.Open().Body, "edited")
	assert.NotContains(t, e.Log.String(), "container was lost")
	assert.Contains(t, e.Log.String(), "container had ended in order")
}
