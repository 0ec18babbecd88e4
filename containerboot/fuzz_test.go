package containerboot

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/containerboot/activity"
	"github.com/webordinary/router/containerboot/bootapi"
	"github.com/webordinary/router/containerboot/progress"
)

// FuzzRequests sends a claimed container whatever may stand at its address's other end:
// who does not know the token gets at nothing, and who knows it gets at the session alone.
func FuzzRequests(f *testing.F) {
	token := bootapi.NewToken()
	for _, path := range []string{
		"/", "/session/s1/", "/.boot/claim", "/.boot/quiesce", "/.boot/", "/.boot", "/.BOOT/quiesce", "//.boot/quiesce",
		"/./.boot/quiesce", "/session/s1/.boot/quiesce", "/session/s1/../../.boot/quiesce", "/%2eboot/quiesce",
		"/.boot/quiesce;x", "/.boot%2fquiesce", "http://x/.boot/quiesce", "/session/s1//.boot/claim", "/.boot/./quiesce",
	} {
		for _, method := range []string{"GET", "POST"} {
			f.Add(method, path, "x", "Bearer "+token, `{"idleMillis":0}`)
			f.Add(method, path, token, "", `{"token":"x","sessionId":"s1"}`)
			f.Add(method, path, "", "bearer "+token[1:], `{"nonce":"00"}`)
		}
	}
	f.Fuzz(func(t *testing.T, method, target, given, authorization, body string) {
		u, err := url.ParseRequestURI(target)
		if err != nil {
			return
		}
		claim := bootapi.Claim{Token: token, SessionID: "s1", Epoch: 7}
		reached := false
		x := &session{
			life: t.Context(), born: time.Now(), claim: claim, prefix: "/session/s1",
			board: progress.New(time.Now, activity.New(time.Now).Idle), account: activity.New(time.Now),
			proof: []string{bootapi.ResponseProof(token, "s1", 7)},
			pages: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				reached = true
				for name := range r.Header {
					assert.True(t, name == bootapi.HeaderActivity || !strings.HasPrefix(name, bootapi.HeaderPrefix), name)
				}
				w.Header().Set(bootapi.HeaderProof, "of the site")
			}),
		}
		s := &server{
			tokenHash: bootapi.HashToken(token), sessionID: "s1", board: x.board, born: time.Now(), claim: &claim,
			start: func(bootapi.Claim) (*session, error) {
				t.Error("started once more")
				return x, nil
			},
		}
		s.session.Store(x)
		r := httptest.NewRequest("GET", "/", io.NopCloser(strings.NewReader(body)))
		r.Method, r.URL = method, u
		r.Header.Set(bootapi.HeaderToken, given)
		r.Header.Set("Authorization", authorization)
		// What only a knowing edge sends takes more than a session of a fuzz test.
		if strings.EqualFold(authorization, "Bearer "+token) && u.Path == bootapi.PathQuiesce ||
			u.Path == "/session/s1"+bootapi.PathSave || u.Path == bootapi.PathSave || strings.HasSuffix(u.Path, bootapi.PathEvents) {
			return
		}
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		private := strings.HasPrefix(u.Path, bootapi.PathPrivate)
		_, credential, _ := strings.Cut(authorization, " ")
		proved := bootapi.CheckResponse(w.Result().Header, x.proof[0])
		switch {
		case u.Path == bootapi.PathProof, u.Path == bootapi.PathClaim:
			require.False(t, reached || proved)
		case private:
			require.False(t, reached)
			require.True(t, !proved || credential == token, "%d", w.Code)
		case given != token:
			require.False(t, reached || proved)
			require.Equal(t, http.StatusMisdirectedRequest, w.Code)
		default:
			require.True(t, proved)
		}
	})
}
