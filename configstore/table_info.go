package configstore

import "time"

// Source says where the content of a table comes from.
type Source string

// The sources of a table; the empty value means that it was never loaded.
const (
	// SourceScan: a scan of the whole store, and nothing has changed since.
	SourceScan Source = "scan"
	// SourceSnapshot: the snapshot on this machine's disk, as it was written; the store
	// has not answered since, so that what changed meanwhile is missing.
	SourceSnapshot Source = "snapshot"
	// SourceChanges: a scan or a snapshot which the change log has brought up to date.
	SourceChanges Source = "changes"
)

// Info describes a table.
type Info struct {
	// Clients and Hosts are how many are routed.
	Clients, Hosts int
	// LoadedAt is when the table was last loaded as a whole; zero: never.
	LoadedAt time.Time
	// ChangedAt is when a client last changed, or LoadedAt.
	ChangedAt time.Time
	// CheckedAt is when the store last said that this is all, in the run of this edge
	// or, for SourceSnapshot, in the one that wrote it; zero: never. The time since is
	// the table's age.
	CheckedAt time.Time
	// Source is where the content comes from.
	Source Source
	// LastChange is the last entry of the change log that came; zero: none yet.
	LastChange SeenChange
	// LastError is the last failure to follow the store, and FailedAt when it was; they
	// stay when the store answers again. Empty and zero: none yet.
	LastError string
	FailedAt  time.Time
}

// Failing reports whether the store has not answered since the last failure.
func (i Info) Failing() bool { return i.FailedAt.After(i.CheckedAt) }

// SeenChange is an entry of the change log as an edge saw it.
type SeenChange struct {
	// At is when the edge saw it, not when it was written.
	At       time.Time
	ClientID string
	Version  int64
	Deleted  bool
}

// failure is the last one to follow the store.
type failure struct {
	at   time.Time
	text string
}

// Info describes the table as it is now.
func (t *Table) Info() Info {
	info := t.current.Load().info
	if at := t.checkedAt.Load(); at != 0 {
		info.CheckedAt = time.Unix(0, at)
	}
	if seen := t.lastChange.Load(); seen != nil {
		info.LastChange = *seen
	}
	if f := t.failure.Load(); f != nil {
		info.FailedAt, info.LastError = f.at, f.text
	}
	return info
}

// saw notes the last of some changes. A change that was noted already keeps its time.
func (t *Table) saw(changes []Change) {
	if len(changes) == 0 {
		return
	}
	last := changes[len(changes)-1]
	seen := SeenChange{At: time.Now(), ClientID: last.ClientID, Version: last.Version, Deleted: last.Deleted}
	if known := t.lastChange.Load(); known != nil {
		same := seen
		same.At = known.At
		if same == *known {
			return
		}
	}
	t.lastChange.Store(&seen)
}

// failed notes why following the store failed.
func (t *Table) failed(err error) {
	t.failure.Store(&failure{at: time.Now(), text: err.Error()})
}
