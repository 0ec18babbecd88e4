package configstore

import (
	"time"

	"go.uber.org/zap"
)

// saveInterval is the least time between two snapshots of a table that changes.
const saveInterval = 30 * time.Second

// saver writes snapshots beside the polls.
type saver struct {
	saves  chan error
	saving bool
	// unsaved: the table or its position differs from the snapshot.
	unsaved bool
	// savedAt is Info.CheckedAt as of the snapshot; zero: none was written.
	savedAt time.Time
	// failedSaves are those since the last that succeeded.
	failedSaves int
}

// save starts to write a snapshot where one is due. The generation is immutable: requests
// and polls go on meanwhile.
func (f *follower) save() {
	if f.Snapshot == "" || !f.unsaved || f.saving || f.position == "" {
		return
	}
	f.saving, f.unsaved = true, false
	f.savedAt = f.table.Info().CheckedAt
	head := snapshotHead{store: f.Store, position: f.position, checkedAt: f.savedAt}
	g := f.table.current.Load()
	go func() { f.saves <- writeSnapshot(f.Snapshot, head, g) }()
}

// saveLast is save at the end: it counts too that the store has answered since.
func (f *follower) saveLast() {
	info := f.table.Info()
	f.unsaved = f.unsaved || info.Source != SourceSnapshot && info.CheckedAt.After(f.savedAt)
	f.save()
}

// saved takes note of the outcome and logs the first of several failures.
func (f *follower) saved(err error) {
	f.saving = false
	if err == nil {
		f.failedSaves = 0
		return
	}
	f.unsaved = true
	f.failedSaves++
	if f.failedSaves == 1 {
		f.Logger.Warn("saving the routing table failed, a start while the config store is down will serve from an older one",
			zap.String("file", f.Snapshot), zap.Error(err))
	}
}
