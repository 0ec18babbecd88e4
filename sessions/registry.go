package sessions

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Errors of registries, always wrapped; compare with errors.Is.
var (
	// ErrNotFound: there is no such session.
	ErrNotFound = errors.New("session not found")
	// ErrConflict: the record has changed since it was read; read it again.
	ErrConflict = errors.New("session has changed")
	// ErrThreadTaken: the client's thread has a session already. See ThreadTakenError.
	ErrThreadTaken = errors.New("thread has a session already")
	// ErrLimit: the client has as many sessions with a container as it may have.
	ErrLimit = errors.New("client is at its limit of concurrent sessions")
	// ErrUnavailable: the registry cannot be reached or is overloaded.
	ErrUnavailable = errors.New("session registry unavailable")
)

// ThreadTakenError names the session that a thread has. It is ErrThreadTaken.
type ThreadTakenError struct{ ThreadID, SessionID string }

// Error names the thread.
func (e *ThreadTakenError) Error() string {
	return fmt.Sprintf("thread %q has a session already", e.ThreadID)
}

// Is reports whether target is ErrThreadTaken.
func (e *ThreadTakenError) Is(target error) bool { return target == ErrThreadTaken }

// Registry keeps session records. All methods are safe for concurrent use by many
// goroutines and processes; every one may return ErrUnavailable.
//
// After ErrUnavailable, or the error of an ended context, a write may or may not have been
// made, and may yet be: the version that is stored tells. So it does after ErrConflict,
// where another write may have followed on one whose answer was lost.
//
// A registry also keeps, in the same transaction as the record, which sessions of a
// client hold a slot (Record.HoldsSlot) and which session a thread has.
//
// List, Due and Unsettled may for a moment, as a rule less than a second, not know of a
// write that has returned; Get, ByThread and Running always do.
type Registry interface {
	// Create adds a session; its version becomes 1. If it holds a slot, the client
	// may have at most limit such sessions with it. ErrThreadTaken if the
	// client's thread has a session, ErrConflict if the id exists, ErrLimit.
	Create(ctx context.Context, r Record, limit int) (Record, error)

	// Get returns a session, as of the last write that returned. ErrNotFound.
	Get(ctx context.Context, id string) (Record, error)

	// ByThread returns the session of a client's thread. ErrNotFound.
	ByThread(ctx context.Context, clientID, threadID string) (Record, error)

	// Update replaces a record whose stored version is r.Version, and returns it
	// with the next version. If the stored record held no slot and r does, limit
	// applies as in Create; if it is the other way round the slot is freed.
	// SessionID, ClientID and ThreadID never change. ErrNotFound, ErrConflict, ErrLimit.
	Update(ctx context.Context, r Record, limit int) (Record, error)

	// Delete removes a session at the given version, its thread and its slot.
	// ErrNotFound, ErrConflict.
	Delete(ctx context.Context, id string, version int64) error

	// List returns up to limit sessions, those after the id `after`: of one client, in
	// the order of their ids, or, with clientID "", of all, in a lasting order of the
	// registry's own. Fewer than limit means that there are no more.
	List(ctx context.Context, clientID, after string, limit int) ([]Record, error)

	// Running returns the ids of the sessions of a client that hold a slot.
	Running(ctx context.Context, clientID string) ([]string, error)

	// Due returns up to limit active sessions whose AskAt is not after t, the
	// earliest first.
	Due(ctx context.Context, t time.Time, limit int) ([]Record, error)

	// Unsettled returns up to limit sessions that are initializing or draining, that
	// failed and still hold a slot, or that are active and have a lease: what some edge
	// is at work on, or may have left behind when it died.
	Unsettled(ctx context.Context, limit int) ([]Record, error)

	// Duty returns the lease of the edge that asks and sweeps for all, as of the last write
	// that returned. Zero, if none ever had it; without a holder, if none has it now.
	Duty(ctx context.Context) (Lease, error)

	// SetDuty replaces that lease if it is as old says. ErrConflict.
	SetDuty(ctx context.Context, old, next Lease) error

	// Close releases what the registry holds.
	Close() error
}
