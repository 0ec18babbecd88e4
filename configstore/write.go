package configstore

import (
	"errors"
	"fmt"
)

// MaxWrites bounds the clients of one PutAll: as many new clients with one edit host each
// as fit one transaction of DynamoDB, which holds 100 actions. Clients with several hosts,
// or large configurations, may make fewer of them ErrTooLarge already.
const MaxWrites = 32

// ErrTooLarge: a PutAll holds more than the store writes in one transaction. Nothing was
// written; its halves may fit. A PutAll of one client is never too large.
var ErrTooLarge = errors.New("too much for one transaction")

// Write is one client of a PutAll.
type Write struct {
	Client Client
	// Expect is the version that must be stored, or AnyVersion, or NoVersion (create
	// only), as in Store.Put.
	Expect int64
	// Seen, where it is not nil, is what must be stored beside the version. The older
	// tools, who know no versions, may have changed a row since it was read.
	Seen *Client
}

// Check compares what is stored, nil for nothing, with what the write expects. ErrExists,
// or a ConflictError. Stores call it before they write.
func (w Write) Check(held *Record) error {
	conflict := &ConflictError{ClientID: w.Client.ClientID, Have: NoVersion, Expect: w.Expect}
	switch {
	case w.Expect == AnyVersion, w.Expect == NoVersion && held == nil:
		return nil
	case w.Expect == NoVersion:
		return ErrExists
	case held == nil:
		return conflict
	}
	conflict.Have = held.Version
	if held.Version != w.Expect {
		return conflict
	}
	if w.Seen == nil {
		return nil
	}
	changes, err := Diff(*w.Seen, held.Client)
	if held.Broken != "" || len(changes) > 0 {
		return conflict
	}
	return err
}

// WriteError says which client of a PutAll, or of a Put, could not be written.
type WriteError struct {
	ClientID string
	// Err is why, and what errors.Is and errors.As find.
	Err error
}

// Error names the client.
func (e *WriteError) Error() string { return fmt.Sprintf("putting client %q: %v", e.ClientID, e.Err) }

// Unwrap returns Err.
func (e *WriteError) Unwrap() error { return e.Err }

// CheckWrites returns what is wrong with the writes of a PutAll taken together: a
// WriteError for a client that is among them twice, ErrTooLarge for more than MaxWrites.
// Stores call it before they write.
func CheckWrites(writes []Write) error {
	seen := make(map[string]bool, len(writes))
	for _, w := range writes {
		if seen[w.Client.ClientID] {
			return &WriteError{w.Client.ClientID, errors.New("it is given more than once")}
		}
		seen[w.Client.ClientID] = true
	}
	if len(writes) > MaxWrites {
		return fmt.Errorf("putting %d clients, with at most %d at a time: %w", len(writes), MaxWrites, ErrTooLarge)
	}
	return nil
}
