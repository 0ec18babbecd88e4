package containerboot

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/webordinary/router/containerboot/activity"
	"github.com/webordinary/router/containerboot/progress"
)

// TestWorkspaceInTheRootFolder has the default, whose neighbours lie in the root folder.
func TestWorkspaceInTheRootFolder(t *testing.T) {
	t.Parallel()
	s, err := readSettings([]string{
		"CLIENT_ID=amelia",
		`CLIENT_CONFIG={"clientId":"amelia","domains":{"production":"amelia.example","edit":"edit.amelia.example"},"repository":{"url":"https://git.example/a.git","branch":"main"},"settings":{"containerSize":"small","idleTimeoutMinutes":10,"maxConcurrentSessions":2}}`,
	})
	require.NoError(t, err)
	assert.Equal(t, "/workspace", s.workspace)
	account := activity.New(time.Now)
	x, err := newSession(t.Context(), s, *s.standalone, progress.New(time.Now, account.Idle), account, zap.NewNop())
	require.NoError(t, err)
	assert.Equal(t, "/git", x.gitDir)
}
