package caddymodule

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"path/filepath"

	"github.com/webordinary/router/configstore"
)

// follower keeps the routing table up to date, in the way of the configuration in force.
type follower struct {
	options configstore.FollowOptions
	cancel  context.CancelFunc // nil: it was never started
	done    chan struct{}      // closed once it has ended
}

// follow starts to follow, or goes on with other options; the table serves all the while.
func (f *follower) follow(store configstore.Store, table *configstore.Table, o configstore.FollowOptions) {
	if f.cancel != nil {
		if f.options == o {
			return
		}
		f.cancel()
		<-f.done
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	*f = follower{options: o, cancel: cancel, done: done}
	go func() {
		defer close(done)
		configstore.Follow(ctx, store, table, o)
	}()
}

// followOptions are how an app's routing table follows its store.
func (s *state) followOptions(a *App) configstore.FollowOptions {
	guest := a.configStore.FollowOptions()
	o := configstore.FollowOptions{
		Interval:  guest.Interval,
		Reconcile: guest.Reconcile,
		Store:     a.configStore.Identity(a.DataDir),
		Logger:    s.tableLogger,
	}
	if !a.configStore.Local() {
		o.Snapshot = snapshotPath(a.DataDir, o.Store)
	}
	return o
}

// snapshotPath is the file of the routing table of a store, one for each.
func snapshotPath(dataDir, identity string) string {
	sum := sha256.Sum256([]byte(identity))
	return filepath.Join(dataDir, "table-"+hex.EncodeToString(sum[:8])+".snapshot")
}
