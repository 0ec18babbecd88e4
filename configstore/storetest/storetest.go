// Package storetest is the conformance suite of configstore.Store: every line of its
// contract, run against a real backend. A backend is done when it passes.
package storetest

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/configstore"
)

// Opener opens a further handle on the same data, as another process would. The suite
// closes it.
type Opener func() (configstore.Store, error)

// Run runs the suite. setup makes new, empty data for each test.
func Run(t *testing.T, setup func(t *testing.T) Opener) {
	t.Helper()
	tests := []struct {
		name string
		run  func(b backend)
	}{
		{"Get", testGet},
		{"PutExpect", testPutExpect},
		{"PutReplaces", testPutReplaces},
		{"UnknownFields", testUnknownFields},
		{"Times", testTimes},
		{"Delete", testDelete},
		{"Recreate", testRecreate},
		{"List", testList},
		{"HostTaken", testHostTaken},
		{"HostReleased", testHostReleased},
		{"HostFailureLeavesNoTrace", testHostFailureLeavesNoTrace},
		{"PutAll", testPutAll},
		{"PutAllOrNone", testPutAllOrNone},
		{"PutAllMovesHosts", testPutAllMovesHosts},
		{"PutSeen", testPutSeen},
		{"PutAllLimits", testPutAllLimits},
		{"MostHosts", testMostHosts},
		{"Scan", testScan},
		{"ScanError", testScanError},
		{"ScanWhileWriting", testScanWhileWriting},
		{"Changes", testChanges},
		{"ChangesOverlapScan", testChangesOverlapScan},
		{"ChangesTombstone", testChangesTombstone},
		{"PositionLost", testPositionLost},
		{"RaceForHost", testRaceForHost},
		{"RaceForID", testRaceForID},
		{"RaceForVersion", testRaceForVersion},
		{"RaceOfPutAll", testRaceOfPutAll},
		{"TwoHandles", testTwoHandles},
		{"Canceled", testCanceled},
		{"Table", testTable},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			test.run(backend{t: t, open: setup(t)})
		})
	}
}

// backend opens stores for one test.
type backend struct {
	t    *testing.T
	open Opener
}

func (b backend) store() configstore.Store {
	b.t.Helper()
	store, err := b.open()
	require.NoError(b.t, err)
	b.t.Cleanup(func() { require.NoError(b.t, store.Close()) })
	return store
}

// client returns a valid configuration with one edit host and these aliases.
func client(id string, aliases ...string) configstore.Client {
	return configstore.Client{
		ClientID: id,
		Domains: configstore.Domains{
			Production: "www." + id + ".example",
			Edit:       "edit." + id + ".example",
			Aliases:    aliases,
		},
		Repository: configstore.Repository{URL: "https://git.example/" + id + ".git", Branch: "main", Directory: "site"},
		Settings: configstore.Settings{
			ContainerSize:         configstore.SizeMedium,
			IdleTimeoutMinutes:    15,
			MaxConcurrentSessions: 3,
			WakeOn:                configstore.WakeOnAny,
		},
		Infrastructure: &configstore.Infrastructure{HostedZoneID: "Z1"},
		Build:          &configstore.Build{Command: "npm run build", Env: map[string]string{"A": "1"}},
	}
}

// entry is what routing sees of client(id, aliases…) at a version.
func entry(version int64, c configstore.Client) configstore.Entry {
	return configstore.Record{Client: c, Version: version}.Entry()
}

func put(t *testing.T, store configstore.Store, c configstore.Client) configstore.Record {
	t.Helper()
	record, err := store.Put(t.Context(), c, configstore.AnyVersion)
	require.NoError(t, err)
	return record
}

// scan returns all entries by their id.
func scan(t *testing.T, store configstore.Store) (map[string]configstore.Entry, configstore.Position) {
	t.Helper()
	entries := make(map[string]configstore.Entry)
	position, err := store.Scan(t.Context(), func(e configstore.Entry) error {
		if _, twice := entries[e.ClientID]; twice {
			return fmt.Errorf("client %q was scanned twice", e.ClientID)
		}
		entries[e.ClientID] = e
		return nil
	})
	require.NoError(t, err)
	return entries, position
}

// changes returns the last state of each client that changed since a position.
func changes(t *testing.T, store configstore.Store, since configstore.Position) (map[string]configstore.Change, configstore.Position) {
	t.Helper()
	list, position, err := store.Changes(t.Context(), since)
	require.NoError(t, err)
	last := make(map[string]configstore.Change)
	for _, c := range list {
		last[c.ClientID] = c
	}
	return last, position
}

func raw(s string) json.RawMessage { return json.RawMessage(s) }

// inParallel runs fn n times at once and returns the errors by index.
func inParallel(n int, fn func(i int) error) []error {
	errs := make([]error, n)
	start := make(chan struct{})
	done := make(chan struct{})
	for i := range n {
		go func() {
			<-start
			errs[i] = fn(i)
			done <- struct{}{}
		}()
	}
	close(start)
	for range n {
		<-done
	}
	return errs
}

// canceled returns a context that has ended.
func canceled(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}
