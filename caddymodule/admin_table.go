package caddymodule

import (
	"net/http"
	"time"

	"github.com/webordinary/router/configstore"
)

// tableInfo is the answer of GET /webordinary/routing-table.
type tableInfo struct {
	// Loaded: requests are served from it.
	Loaded  bool `json:"loaded"`
	Clients int  `json:"clients"`
	Hosts   int  `json:"hosts"`
	// Bytes is about how much memory it takes.
	Bytes int `json:"bytes"`
	// Source is what the table was last made from: scan, snapshot or changes.
	Source configstore.Source `json:"source,omitempty"`
	// AgeSeconds is how long ago the store last said that this is all; absent: never.
	AgeSeconds *float64 `json:"ageSeconds,omitempty"`
	// CheckedAt is when that was.
	CheckedAt time.Time `json:"checkedAt,omitzero"`
	// LoadedAt is when it was last loaded as a whole, ChangedAt when a client last changed.
	LoadedAt  time.Time `json:"loadedAt,omitzero"`
	ChangedAt time.Time `json:"changedAt,omitzero"`
	// LastChange is the last entry of the change log that came; absent: none yet.
	LastChange *seenChange `json:"lastChange,omitempty"`
	// LastError is the last failure to read the store, at FailedAt; it stays when the
	// store answers again. Failing: it does not answer since.
	LastError string    `json:"lastError,omitempty"`
	FailedAt  time.Time `json:"failedAt,omitzero"`
	Failing   bool      `json:"failing"`
}

// seenChange is an entry of the change log as the edge saw it.
type seenChange struct {
	At       time.Time `json:"at"`
	ClientID string    `json:"clientId"`
	Version  int64     `json:"version"`
	Deleted  bool      `json:"deleted"`
}

func adminTable(_ *http.Request, _ *App, live *running) (any, error) {
	i := live.table.Info()
	info := tableInfo{
		Loaded: live.table.Loaded(), Clients: i.Clients, Hosts: i.Hosts, Bytes: live.table.Bytes(), Source: i.Source,
		CheckedAt: i.CheckedAt, LoadedAt: i.LoadedAt, ChangedAt: i.ChangedAt,
		LastError: i.LastError, FailedAt: i.FailedAt, Failing: i.Failing(),
	}
	if !i.CheckedAt.IsZero() {
		age := time.Since(i.CheckedAt).Seconds()
		info.AgeSeconds = &age
	}
	if c := i.LastChange; !c.At.IsZero() {
		info.LastChange = &seenChange{At: c.At, ClientID: c.ClientID, Version: c.Version, Deleted: c.Deleted}
	}
	return info, nil
}
