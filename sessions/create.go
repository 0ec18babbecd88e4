package sessions

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"go.uber.org/zap"

	"github.com/webordinary/router/configstore"
)

// ErrInvalid: a request for a session is not well formed. See InvalidError.
var ErrInvalid = errors.New("invalid request")

// InvalidError names the field of a request that is not well formed. It is ErrInvalid.
type InvalidError struct{ Field, Problem string }

// Error names the field and what is wrong with it.
func (e *InvalidError) Error() string { return e.Field + ": " + e.Problem }

// Is reports whether target is ErrInvalid.
func (e *InvalidError) Is(target error) bool { return target == ErrInvalid }

// CreateRequest asks for a session.
type CreateRequest struct {
	// ClientID is the client whose site is edited.
	ClientID string
	// UserID is who edits; for show only. At most 200 bytes; may be empty.
	UserID string
	// ThreadID is the editing thread, and the git branch of the edits: at most 100
	// letters, digits, dots, dashes and underscores. Empty: a new one is made up.
	ThreadID string
	// Instruction is a text for the editing agent, at most 16 KiB; may be empty.
	Instruction string
	// Wake begins to wake the session too.
	Wake bool
}

const (
	maxUserID      = 200
	maxThreadID    = 100
	maxInstruction = 16 << 10
	// createTries bounds how often a creation that met another of the same thread
	// looks for the winner's session.
	createTries = 5
)

// threadID is what is safe as a git branch's name, in a path, and in a key: no slash,
// because of two branches "a" and "a/b" only one can exist.
var threadID = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]*$`)

func (r CreateRequest) validate() error {
	switch {
	case r.ClientID == "":
		return &InvalidError{"clientId", "must be set"}
	case len(r.UserID) > maxUserID:
		return &InvalidError{"userId", fmt.Sprintf("must have at most %d bytes", maxUserID)}
	case !utf8.ValidString(r.UserID) || strings.ContainsFunc(r.UserID, unicode.IsControl):
		return &InvalidError{"userId", "must be text without control characters"}
	case len(r.ThreadID) > maxThreadID:
		return &InvalidError{"threadId", fmt.Sprintf("must have at most %d characters", maxThreadID)}
	case r.ThreadID != "" && !threadID.MatchString(r.ThreadID):
		return &InvalidError{"threadId", "must consist of letters, digits, dots, dashes and underscores, and begin with a letter, digit or underscore"}
	case strings.Contains(r.ThreadID, "..") || strings.HasSuffix(r.ThreadID, ".") ||
		strings.HasSuffix(strings.ToLower(r.ThreadID), ".lock") || strings.EqualFold(r.ThreadID, "HEAD"):
		return &InvalidError{"threadId", "must be usable as the name of a git branch"}
	case len(r.Instruction) > maxInstruction:
		return &InvalidError{"instruction", fmt.Sprintf("must have at most %d bytes", maxInstruction)}
	case !utf8.ValidString(r.Instruction):
		return &InvalidError{"instruction", "must be text"}
	}
	return nil
}

// Create returns the session of a client's thread, made if need be (created), and
// begins to wake it if the request says so: then a new session is not created at all
// unless it gets its slot. The record is as it was when Create was done with it.
//
// ErrInvalid; configstore.ErrNotFound if there is no such client; ErrDisabled;
// ErrLimit; ErrUnavailable; ErrNoRunner if it should be woken; ErrClosed.
func (s *Service) Create(ctx context.Context, req CreateRequest) (r Record, created bool, err error) {
	if err := req.validate(); err != nil {
		return Record{}, false, err
	}
	if req.Wake && s.runner == nil {
		return Record{}, false, ErrNoRunner
	}
	client, err := s.client(ctx, req.ClientID)
	if err != nil {
		return Record{}, false, err
	}
	switch {
	case client.Disabled:
		return Record{}, false, ErrDisabled
	case req.ThreadID == client.Repository.Branch && req.ThreadID != "":
		return Record{}, false, &InvalidError{"threadId", "must not be the branch that the site is published from"}
	}
	madeUp := req.ThreadID == ""
	if madeUp {
		req.ThreadID = "edit-" + strings.ToLower(rand.Text()[:12])
	}
	for try := range createTries {
		r, created, err = s.createOrResume(ctx, req, client, madeUp && try == 0)
		if !errors.Is(err, ErrThreadTaken) && !errors.Is(err, ErrConflict) && !isNotFound(err) {
			break
		}
	}
	return r.WithoutToken(), created, asUnavailable(err)
}

// createOrResume is one try. Nobody has a session of a thread that is new, as far as can be
// told: it is not looked for.
func (s *Service) createOrResume(ctx context.Context, req CreateRequest, client configstore.Client, isNew bool) (r Record, created bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, registryTimeout)
	defer cancel()
	err = ErrNotFound
	if !isNew {
		r, err = s.registry.ByThread(ctx, client.ClientID, req.ThreadID)
	}
	switch {
	case err == nil:
		// Another edge may have made it since this one was asked for it in vain.
		s.flights.outdate(threadKey(r.ClientID, r.ThreadID))
		r, err = s.resumeThread(ctx, r, req)
		return r, false, err
	case !isNotFound(err):
		return Record{}, false, err
	}
	r, err = s.create(ctx, req, client)
	if err == nil {
		s.flights.outdate(threadKey(r.ClientID, r.ThreadID))
	}
	return r, err == nil, err
}

// resumeThread gives a session that exists its instruction, and wakes it.
func (s *Service) resumeThread(ctx context.Context, r Record, req CreateRequest) (Record, error) {
	if req.Instruction != "" {
		if r.HoldsSlot() {
			return r, &InvalidError{"instruction", "the session is running already, and takes instructions by its own API"}
		}
		r.Instruction = req.Instruction
		var err error
		if r, err = s.update(ctx, r, 0); err != nil {
			return r, err
		}
	}
	if !req.Wake {
		return r, nil
	}
	v, err := s.WakeNow(ctx, r.SessionID)
	if err != nil {
		return r, err
	}
	return v.Record, nil
}

// create adds a session. One that is to be woken is written as such, so that it has
// its slot from the beginning.
func (s *Service) create(ctx context.Context, req CreateRequest, client configstore.Client) (Record, error) {
	now := time.Now().UTC()
	r := Record{
		SessionID: NewID(), ClientID: client.ClientID, UserID: req.UserID,
		ThreadID: req.ThreadID, EditBranch: req.ThreadID, Instruction: req.Instruction,
		Status: StatusInactive, CreatedAt: now, LastActivity: now,
	}
	r.PreviewURL = s.tunables.Load().PublicOrigin.PreviewURL(client.Domains.Edit, r.SessionID)
	if !req.Wake {
		stored, err := s.registry.Create(ctx, r, client.Settings.MaxConcurrentSessions)
		if err == nil {
			s.logger(stored).Info("session created")
		}
		return stored, err
	}
	r, err := s.awake(r, client)
	if err != nil {
		return r, err
	}
	e := s.hold(r.SessionID)
	defer s.release(e)
	e.mu.Lock()
	// Nobody knows the id yet, so nothing else can be under way.
	o := s.begin(e, opWake, func(ctx context.Context, o *op) {
		writing, cancel := context.WithTimeout(ctx, registryTimeout)
		stored, err := s.registry.Create(writing, r, client.Settings.MaxConcurrentSessions)
		cancel()
		if err != nil {
			o.refuse(ctx, err)
			return
		}
		r = stored
		e.publish(stored)
		s.logger(stored).Info("session created", zap.Bool("wake", true))
		o.announce()
		s.boot(ctx, o, newHeld(s, e, stored, now), client, now, false)
	})
	e.mu.Unlock()
	select {
	case <-o.begun:
		return r, o.err
	case <-ctx.Done():
		return Record{}, ctx.Err()
	}
}

// Get returns a session's record, as the registry has it. ErrNotFound, ErrUnavailable.
func (s *Service) Get(ctx context.Context, id string) (Record, error) {
	r, err := s.get(ctx, id)
	return r.WithoutToken(), asUnavailable(err)
}

// List returns up to limit records, those after the id `after`: of one client, in the
// order of their ids, or, with clientID "", of all, in an order of the registry's own.
// ErrUnavailable.
func (s *Service) List(ctx context.Context, clientID, after string, limit int) ([]Record, error) {
	ctx, cancel := context.WithTimeout(ctx, registryTimeout)
	defer cancel()
	records, err := s.registry.List(ctx, clientID, after, limit)
	for i := range records {
		records[i] = records[i].WithoutToken()
	}
	return records, asUnavailable(err)
}

// Running returns the sessions of a client that hold a slot. ErrUnavailable.
func (s *Service) Running(ctx context.Context, clientID string) ([]Record, error) {
	ctx, cancel := context.WithTimeout(ctx, registryTimeout)
	defer cancel()
	ids, err := s.registry.Running(ctx, clientID)
	if err != nil {
		return nil, asUnavailable(err)
	}
	records := make([]Record, 0, len(ids))
	for _, id := range ids {
		r, err := s.registry.Get(ctx, id)
		if isNotFound(err) || (err == nil && !r.HoldsSlot()) {
			continue // has ended since
		}
		if err != nil {
			return nil, asUnavailable(err)
		}
		records = append(records, r.WithoutToken())
	}
	return records, nil
}
