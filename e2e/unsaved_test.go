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
