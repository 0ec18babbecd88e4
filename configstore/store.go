package configstore

import (
	"context"
	"errors"
	"fmt"
)

// Errors that stores return, always wrapped with what was being done; compare with errors.Is.
var (
	// ErrNotFound: there is no such client.
	ErrNotFound = errors.New("client not found")
	// ErrExists: a client with that id exists already.
	ErrExists = errors.New("client exists already")
	// ErrConflict: the stored version is not the one that the write expected.
	ErrConflict = errors.New("version conflict")
	// ErrHostTaken: an edit host belongs to another client. See HostTakenError.
	ErrHostTaken = errors.New("host is taken by another client")
	// ErrBroken: a stored row cannot be read, because something else wrote it.
	// Putting the client anew, at AnyVersion, repairs it.
	ErrBroken = errors.New("stored config is broken")
	// ErrUnavailable: the store cannot be reached or is overloaded; the call may be tried again.
	ErrUnavailable = errors.New("config store unavailable")
)

// HostTakenError names the host that another client holds, never its owner. It is ErrHostTaken.
type HostTakenError struct{ Host string }

// Error names the host.
func (e *HostTakenError) Error() string {
	return fmt.Sprintf("host %q is taken by another client", e.Host)
}

// Is reports whether target is ErrHostTaken.
func (e *HostTakenError) Is(target error) bool { return target == ErrHostTaken }

// ConflictError names both versions of a lost optimistic lock. It is ErrConflict.
type ConflictError struct {
	ClientID     string
	Have, Expect int64 // Have is what is stored, NoVersion where nothing is
}

// Error names the client and both versions.
func (e *ConflictError) Error() string {
	if e.Have == NoVersion {
		return fmt.Sprintf("client %q is not stored, but was expected at version %d: somebody deleted it", e.ClientID, e.Expect)
	}
	if e.Have == e.Expect {
		return fmt.Sprintf("client %q is still at version %d, but another tool changed it since; read it again", e.ClientID, e.Have)
	}
	if e.Have < e.Expect {
		return fmt.Sprintf("client %q is at version %d, not %d: it was deleted and made anew, or never had that version; read it again", e.ClientID, e.Have, e.Expect)
	}
	return fmt.Sprintf("client %q is at version %d, not %d: somebody changed it since; read it again", e.ClientID, e.Have, e.Expect)
}

// Is reports whether target is ErrConflict.
func (e *ConflictError) Is(target error) bool { return target == ErrConflict }

// AnyVersion, as the expected version of a write, means: whatever is stored, or nothing.
const AnyVersion int64 = -1

// NoVersion, as the expected version of a Put, means: the client must not exist yet.
const NoVersion int64 = -2

// Store keeps client configurations. All methods are safe for concurrent use by
// many goroutines and many processes. Every method may return ErrUnavailable.
//
// A write changes the client, its claims on edit hosts and the change log in one
// transaction: either all of it is seen or none.
type Store interface {
	// Get returns a client's record. ErrNotFound if there is none, ErrBroken if
	// the stored row cannot be read.
	Get(ctx context.Context, id string) (Record, error)

	// Put creates or replaces a client's configuration and returns it as stored.
	// What the stored row holds and this version does not know is kept. The
	// caller has validated the client (see Prepare). expect is the version that must be stored,
	// or AnyVersion, or NoVersion (create only).
	// ErrConflict if another version is stored or none is; ErrExists for
	// NoVersion if one is; ErrHostTaken if an edit host belongs to another client;
	// each in a WriteError.
	Put(ctx context.Context, c Client, expect int64) (Record, error)

	// PutAll is Put of several clients in one transaction: either all are written
	// or none. It returns the records in the order of the writes. A host may move
	// between two clients of one call, released by one and claimed by the other.
	// Errors as of Put, in a WriteError that names the first client found at fault;
	// also where a client is among the writes twice, or two of them name one host.
	// ErrTooLarge if they do not fit one transaction of the store, or are more than
	// MaxWrites; a single one always fits. No writes are no error.
	PutAll(ctx context.Context, writes []Write) ([]Record, error)

	// Delete removes a client and releases its hosts. ErrNotFound if there is
	// none, ErrConflict if expect is neither AnyVersion nor the stored version.
	Delete(ctx context.Context, id string, expect int64) error

	// List returns up to limit records in the order of their ids, those after
	// the id `after`. Fewer than limit means that there are no more. A row that
	// cannot be read is listed as Record.Broken. limit must be positive.
	List(ctx context.Context, after string, limit int) ([]Record, error)

	// Scan calls fn for every client, in any order, one call at a time, and
	// returns a position from which Changes misses nothing that Scan did not
	// see. Writers go on meanwhile. An error of fn ends the scan and is returned.
	Scan(ctx context.Context, fn func(Entry) error) (Position, error)

	// Changes returns what changed after a position, in order, and the position
	// after that. Entries may repeat; a follower applies the newest version it
	// has seen. ErrPositionLost if the log no longer reaches back that far: scan again.
	Changes(ctx context.Context, since Position) ([]Change, Position, error)

	// Close releases what the store holds. The store must not be used after.
	Close() error
}
