package containerboot

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/containerboot/activity"
	"github.com/webordinary/router/containerboot/bootapi"
	"github.com/webordinary/router/containerboot/progress"
)

// TestClaimWhileEnding: a claim that comes between the stop and the end starts nothing
// that nobody would save or close.
func TestClaimWhileEnding(t *testing.T) {
	t.Parallel()
	token := bootapi.NewToken()
	s := &server{
		tokenHash: bootapi.HashToken(token),
		board:     progress.New(time.Now, activity.New(time.Now).Idle),
		born:      time.Now(),
		start: func(bootapi.Claim) (*session, error) {
			assert.Fail(t, "started")
			return &session{}, nil
		},
	}
	assert.Nil(t, s.endClaims())
	s.board.Enter(bootapi.PhaseStopping, "saving")
	claim, err := json.Marshal(bootapi.Claim{
		Token: token, SessionID: "s1", ClientID: "amelia", EditBranch: "edit/s1",
		Site: bootapi.Site{RepositoryURL: "https://example.com/r.git", Branch: "main"},
	})
	require.NoError(t, err)
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequest(http.MethodPost, bootapi.PathClaim, bytes.NewReader(claim)))
	assert.Equal(t, http.StatusServiceUnavailable, w.Code, w.Body)
	assert.Equal(t, bootapi.PhaseStopping, s.board.Phase())
}
