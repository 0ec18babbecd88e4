package caddymodule

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/webordinary/router/containerboot/bootapi"
	"github.com/webordinary/router/sessions"
)

func init() {
	caddy.RegisterModule(Admin{})
}

// adminPrefix is where the admin API is in Caddy's admin endpoint.
const adminPrefix = "/webordinary/"

// maxAdminBody bounds what a request of the admin API may send, in bytes.
const maxAdminBody = 64 << 10

// Admin is the admin API, under /webordinary/ of Caddy's admin endpoint:
//
//	GET    /webordinary/status
//	GET    /webordinary/routing-table
//	GET    /webordinary/clients?after=ID&limit=N
//	GET    /webordinary/clients/{id}
//	PUT    /webordinary/clients/{id}?ifVersion=N   a configuration
//	DELETE /webordinary/clients/{id}?ifVersion=N
//	GET    /webordinary/sessions?client=ID&after=ID
//	POST   /webordinary/sessions              {"clientId", "userId", "threadId"}
//	GET    /webordinary/sessions/{id}
//	POST   /webordinary/sessions/{id}/wake
//	POST   /webordinary/sessions/{id}/sleep
//	DELETE /webordinary/sessions/{id}?force=true
//
// Answers are JSON; one that is not 200 has its reason in "error". Lists are pages: an
// answer shorter than its limit (at most and by default 500) is the last, and the last id
// of one is the "after" of the next. A deploy key is never shown.
//
// A client comes with its version, which is its ETag too. PUT and DELETE take the version
// that must be stored as If-Match: "N" (412 where another is) or as ifVersion=N (409);
// both versions are in "stored" and "expected". If-None-Match: * creates only. PUT says
// whether the client was created, what changed, or that it is unchanged, and answers 422
// with all "faults" of a configuration, each with its path, and 409 with the "host" where
// that is another client's.
//
// A session whose work may be unsaved is not deleted (409), unless forced: then "notice"
// says where the work is.
//
// The routing table is described by how many clients and hosts it has, how many bytes it
// takes, what it was last made from and when, which change came last, how many seconds ago
// the store last said that this is all, and why it could not, if it could not.
type Admin struct {
	mux *http.ServeMux
}

// CaddyModule returns the Caddy module information.
func (Admin) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "admin.api.webordinary",
		New: func() caddy.Module { return new(Admin) },
	}
}

// Routes implements caddy.AdminRouter. The app is looked up at each request: admin
// routers are provisioned before apps.
func (a *Admin) Routes() []caddy.AdminRoute {
	a.mux = http.NewServeMux()
	for pattern, h := range map[string]adminCall{
		"GET /webordinary/status":               adminStatus,
		"GET /webordinary/routing-table":        adminTable,
		"GET /webordinary/clients":              adminListClients,
		"GET /webordinary/clients/{id}":         adminGetClient,
		"PUT /webordinary/clients/{id}":         adminPutClient,
		"DELETE /webordinary/clients/{id}":      adminDeleteClient,
		"GET /webordinary/sessions":             adminListSessions,
		"POST /webordinary/sessions":            adminCreateSession,
		"GET /webordinary/sessions/{id}":        adminGetSession,
		"POST /webordinary/sessions/{id}/wake":  adminWakeSession,
		"POST /webordinary/sessions/{id}/sleep": adminSleepSession,
		"DELETE /webordinary/sessions/{id}":     adminDeleteSession,
	} {
		a.mux.Handle(pattern, h)
	}
	return []caddy.AdminRoute{{Pattern: adminPrefix, Handler: caddy.AdminHandlerFunc(a.serve)}}
}

func (a *Admin) serve(w http.ResponseWriter, r *http.Request) error {
	a.mux.ServeHTTP(w, r)
	return nil
}

// adminCall answers a request with a value for JSON, or an error.
type adminCall func(r *http.Request, app *App, live *running) (any, error)

// ServeHTTP implements http.Handler.
func (call adminCall) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	answer, err := call.answer(r)
	status := http.StatusOK
	if err != nil {
		status = adminStatusOf(err)
		answer = describeError(err)
	}
	w.Header().Set("Content-Type", "application/json")
	if versioned, ok := answer.(interface{ eTag() string }); ok {
		w.Header().Set("ETag", versioned.eTag())
	}
	w.WriteHeader(status)
	// The client is gone if this fails; there is nobody to tell.
	_ = json.NewEncoder(w).Encode(answer)
}

func (call adminCall) answer(r *http.Request) (any, error) {
	mod, err := caddy.ActiveContext().AppIfConfigured("webordinary")
	if err != nil {
		return nil, fmt.Errorf("%w: this server's configuration has no webordinary app", errNoEdge)
	}
	app := mod.(*App)
	live := app.state.live()
	if live == nil {
		return nil, fmt.Errorf("%w: it is starting", errNoEdge)
	}
	return call(r, app, live)
}

var (
	errNoEdge     = errors.New("no edge is running here")
	errBadRequest = errors.New("bad request")
)

// edgeStatus is the answer of GET /webordinary/status.
type edgeStatus struct {
	// Identity names the data that the edge works on; see App.dataIdentity.
	Identity string `json:"identity"`
	// Loaded: the routing table is loaded, requests are served.
	Loaded  bool `json:"loaded"`
	Clients int  `json:"clients"`
}

func adminStatus(_ *http.Request, app *App, live *running) (any, error) {
	return edgeStatus{Identity: app.dataIdentity(), Loaded: live.table.Loaded(), Clients: live.table.Len()}, nil
}

// sessionInfo is a session as the CLI and the admin API show it: never with its token.
type sessionInfo struct {
	SessionID    string          `json:"sessionId"`
	ClientID     string          `json:"clientId"`
	UserID       string          `json:"userId,omitempty"`
	ThreadID     string          `json:"threadId"`
	EditBranch   string          `json:"editBranch"`
	PreviewURL   string          `json:"previewUrl"`
	Status       sessions.Status `json:"status"`
	Epoch        int64           `json:"epoch"`
	CreatedAt    time.Time       `json:"createdAt"`
	LastActivity time.Time       `json:"lastActivity"`
	// Container is the runner's reference to the container, and HeldBy the edge that is at
	// work on it: waking it, putting it to sleep, or finding out what became of it.
	Container     string            `json:"taskArn,omitempty"`
	HeldBy        string            `json:"heldBy,omitempty"`
	ContainerIP   string            `json:"containerIp,omitempty"`
	ContainerPort int               `json:"containerPort,omitempty"`
	Failure       *sessions.Failure `json:"failure,omitempty"`
	// Awake is why an active session was awake when its container was last asked, and
	// AskAt when it is asked next.
	Awake *sessions.Awake `json:"awake,omitempty"`
	AskAt time.Time       `json:"askAt,omitzero"`
	// EndsAt is when an active session's lifetime is over; zero if it has none.
	EndsAt time.Time `json:"endsAt,omitzero"`
	// Unsaved, of one that was put to sleep just now, says where work is that has not
	// reached its branch.
	Unsaved string `json:"unsaved,omitempty"`
	// Progress is how far a wake is; nil where nothing is known of a container.
	Progress *bootapi.Status `json:"progress,omitempty"`
}

func describeSession(r sessions.Record) sessionInfo {
	info := sessionInfo{
		SessionID: r.SessionID, ClientID: r.ClientID, UserID: r.UserID, ThreadID: r.ThreadID,
		EditBranch: r.EditBranch, PreviewURL: r.PreviewURL, Status: r.Status, Epoch: r.Epoch,
		CreatedAt: r.CreatedAt, LastActivity: r.LastActivity,
		Container: r.Container, ContainerIP: r.ContainerIP, ContainerPort: r.ContainerPort,
		Failure: r.Failure, Awake: r.Awake, AskAt: r.AskAt,
	}
	if r.Lease != nil {
		info.HeldBy = r.Lease.Holder
	}
	return info
}

func describeView(v sessions.View) sessionInfo {
	info := describeSession(v.Record)
	if v.Progress.Phase != "" {
		progress := v.Progress
		info.Progress = &progress
	}
	return info
}

// createRequest is the body of POST /webordinary/sessions.
type createRequest struct {
	ClientID string `json:"clientId"`
	UserID   string `json:"userId,omitempty"`
	ThreadID string `json:"threadId,omitempty"`
}

// pageSize is how many sessions one answer lists.
const pageSize = 500

func adminListSessions(r *http.Request, _ *App, live *running) (any, error) {
	q := r.URL.Query()
	records, err := live.service.List(r.Context(), q.Get("client"), q.Get("after"), pageSize)
	if err != nil {
		return nil, err
	}
	infos := make([]sessionInfo, 0, len(records))
	for _, rec := range records {
		infos = append(infos, describeSession(rec))
	}
	return infos, nil
}

func adminCreateSession(r *http.Request, _ *App, live *running) (any, error) {
	dec := json.NewDecoder(http.MaxBytesReader(nil, r.Body, maxAdminBody))
	dec.DisallowUnknownFields()
	var req createRequest
	if err := dec.Decode(&req); err != nil {
		return nil, fmt.Errorf("%w: decoding body: %w", errBadRequest, err)
	}
	if dec.More() {
		return nil, fmt.Errorf("%w: something follows the body's JSON", errBadRequest)
	}
	rec, _, err := live.service.Create(r.Context(), sessions.CreateRequest{
		ClientID: req.ClientID, UserID: req.UserID, ThreadID: req.ThreadID, Wake: true,
	})
	if err != nil {
		return nil, err
	}
	return describeSession(rec), nil
}

func adminGetSession(r *http.Request, _ *App, live *running) (any, error) {
	v, err := live.service.Lookup(r.Context(), r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	info := describeView(v)
	if rec := v.Record; rec.Status == sessions.StatusActive {
		if now, err := live.service.AwakeNow(r.Context(), rec.SessionID); err == nil {
			info.Awake, info.LastActivity = &now.Awake, now.LastActivity
		}
		route, _ := live.table.ByID(rec.ClientID)
		if most := route.Settings.MaxLifetimeMinutes; most > 0 && rec.Start != nil {
			info.EndsAt = rec.Start.At.Add(time.Duration(most) * time.Minute)
		}
	}
	return info, nil
}

func adminWakeSession(r *http.Request, _ *App, live *running) (any, error) {
	v, err := live.service.WakeNow(r.Context(), r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	return describeView(v), nil
}

func adminSleepSession(r *http.Request, _ *App, live *running) (any, error) {
	// Once begun, going to sleep is carried through, whether the caller waits or not.
	ctx := context.WithoutCancel(r.Context())
	id := r.PathValue("id")
	unsaved, err := live.service.SleepTold(ctx, id, "asked for by the operator")
	if err != nil {
		return nil, err
	}
	rec, err := live.service.Get(ctx, id)
	if err != nil {
		return nil, err
	}
	info := describeSession(rec)
	info.Unsaved = unsaved
	return info, nil
}

// deleted is the answer of DELETE /webordinary/sessions/{id}.
type deleted struct {
	// Notice says which work was kept on disk because it is on no branch yet.
	Notice string `json:"notice,omitempty"`
}

func adminDeleteSession(r *http.Request, _ *App, live *running) (any, error) {
	force := false
	if text := r.URL.Query().Get("force"); text != "" {
		var err error
		if force, err = strconv.ParseBool(text); err != nil {
			return nil, fmt.Errorf("%w: force is true or false, not %q", errBadRequest, text)
		}
	}
	ctx, id := context.WithoutCancel(r.Context()), r.PathValue("id")
	if force {
		err := live.service.DeleteUnsaved(ctx, id)
		if errors.Is(err, sessions.ErrUnsaved) {
			return deleted{Notice: err.Error() + "; what was saved by itself is at refs/webordinary/" + id + " of its repository"}, nil
		}
		return deleted{}, err
	}
	err := live.service.Delete(ctx, id)
	if errors.Is(err, sessions.ErrUnsaved) {
		err = fmt.Errorf("%w; wake it once, so that its work is saved, then delete it; "+
			"--force deletes it all the same: what is unsaved then stays there, or at refs/webordinary/%s of its repository", err, id)
	}
	return deleted{}, err
}

// Interface guard
var _ caddy.AdminRouter = (*Admin)(nil)
