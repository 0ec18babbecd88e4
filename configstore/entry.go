package configstore

import (
	"errors"
	"fmt"
	"slices"
)

// ErrPositionLost: the change log no longer reaches back to a position.
var ErrPositionLost = errors.New("position is older than the change log")

// Position is a place in a store's change log, opaque to all but the store that made it.
type Position string

// Change is one entry of the change log.
type Change struct {
	ClientID string
	// Version is that of Entry, or a higher one than the client ever had if Deleted.
	Version int64
	// Deleted marks a tombstone; Entry is zero then.
	Deleted bool
	// Entry is the client as of this change or newer.
	Entry Entry
}

// Entry is what routing needs of a client: no keys, no build settings.
type Entry struct {
	ClientID string
	// Hosts are the normalised edit hosts, domains.edit first, then the aliases.
	Hosts    []string
	Settings Settings
	Version  int64
	Disabled bool
	// Broken says why the stored row cannot be used; the client is unavailable then,
	// and Hosts and Settings may be zero. Empty for a good row.
	Broken string
}

// EditHosts returns the normalised edit hosts of a client, each once, domains.edit first,
// then the aliases: those that it claims in a store.
func (c Client) EditHosts() ([]string, error) {
	hosts := make([]string, 0, 1+len(c.Domains.Aliases))
	edit, err := NormalizeHost(c.Domains.Edit)
	if err != nil {
		return nil, fmt.Errorf("domains.edit: %w", err)
	}
	hosts = append(hosts, edit)
	for i, alias := range c.Domains.Aliases {
		host, err := NormalizeHost(alias)
		if err != nil {
			return nil, fmt.Errorf("domains.aliases[%d]: %w", i, err)
		}
		if !slices.Contains(hosts, host) {
			hosts = append(hosts, host)
		}
	}
	return hosts, nil
}

// Entry returns what routing needs of a record. Rows of the older tools were never
// validated, so that a record may make a broken entry.
func (r Record) Entry() Entry {
	e := Entry{
		ClientID: r.Client.ClientID,
		Settings: r.Client.Settings,
		Version:  r.Version,
		Disabled: r.Client.Disabled,
		Broken:   r.Broken,
	}
	if e.Broken != "" {
		return e
	}
	hosts, err := r.Client.EditHosts()
	if err != nil {
		e.Broken = err.Error()
		return e
	}
	e.Hosts = hosts
	return e
}

// Fault says why an entry cannot be routed, so that its hosts answer 404; "" for one that
// can. Whether another client has one of the hosts only a table knows.
func (e Entry) Fault() string {
	var fs faults
	switch {
	case e.Broken != "":
		return e.Broken
	case !ValidClientID(e.ClientID):
		return "clientId: must be one DNS label"
	case len(e.Hosts) == 0:
		return "domains.edit: must not be empty"
	case len(e.Hosts) > 1+MaxAliases:
		return fmt.Sprintf("domains.aliases: must be at most %d, got %d", MaxAliases, len(e.Hosts)-1)
	}
	for i, host := range e.Hosts {
		if normal, ok := LookupHost(host); !ok || normal != host {
			return fmt.Sprintf("edit host %d: is not a normalised host name", i)
		}
	}
	validateSettings(&fs, e.Settings)
	if err := fs.err(); err != nil {
		return err.Error()
	}
	return ""
}
