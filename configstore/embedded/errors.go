package embedded

import (
	"errors"
	"fmt"
	"slices"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/webordinary/router/configstore"
)

// unavailable are the primary result codes that trying again, or room on the disk, may mend.
var unavailable = []int{
	sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL,
	sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_READONLY,
}

// translate makes ErrUnavailable of what SQLite says of locks, disk and memory.
func translate(err error) error {
	if code, ok := resultCode(err); ok && slices.Contains(unavailable, code) {
		return fmt.Errorf("%w: %w", configstore.ErrUnavailable, err)
	}
	return err
}

func isConstraint(err error) bool {
	code, ok := resultCode(err)
	return ok && code == sqlite3.SQLITE_CONSTRAINT
}

// resultCode returns SQLite's primary result code, without the extension in its upper bits.
func resultCode(err error) (int, bool) {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return 0, false
	}
	return e.Code() & 0xff, true
}
