package dynamodb

import (
	"context"
	"maps"
	"slices"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"go.uber.org/zap"

	"github.com/webordinary/router/configstore"
)

// attrHost is the key of the table of edit hosts, whose items hold attrClientID.
const attrHost = "host"

// claims are what a write changes in the table of edit hosts.
type claims struct {
	// wanted are the hosts that the written configurations name, with their clients.
	wanted map[string]string
	// order is that of the writes, so that an error names the first at fault.
	order []string

	// claiming are the hosts to claim, with who holds them now, "" for nobody;
	// releasing those to release, with their holders.
	claiming, releasing map[string]string
}

// newClaims gathers the hosts of all writes.
func newClaims(writes []configstore.Write) (*claims, error) {
	c := &claims{wanted: map[string]string{}, claiming: map[string]string{}, releasing: map[string]string{}}
	for _, w := range writes {
		hosts, err := w.Client.EditHosts()
		if err != nil {
			return nil, &configstore.WriteError{ClientID: w.Client.ClientID, Err: err}
		}
		for _, host := range hosts {
			if _, taken := c.wanted[host]; taken {
				return nil, &configstore.WriteError{ClientID: w.Client.ClientID, Err: &configstore.HostTakenError{Host: host}}
			}
			c.wanted[host] = w.Client.ClientID
			c.order = append(c.order, host)
		}
	}
	return c, nil
}

// settleClaims decides what is claimed and released, or who is at fault. A claim is held for
// a client whose row names the host. One that the older tools left behind, who change and
// remove rows and know no claims, is removed first.
func (s *Store) settleClaims(ctx context.Context, c *claims, h *held) error {
	named := make(map[string][]string, len(h.rows)) // by the rows as they are
	for id, r := range h.rows {
		named[id], _ = r.hosts() // one that cannot be read is as good as none
	}
	if err := s.readOwners(ctx, c, h, named); err != nil {
		return err
	}
	foreign := make(map[string]string)
	for _, host := range c.order {
		id, owner := c.wanted[host], h.owners[host]
		_, moves := h.latest[owner]
		switch {
		case owner == id && slices.Contains(named[id], host):
			// It stays. Nobody takes it while the row is as it was read.
		case owner == "" || owner == id || moves:
			c.claiming[host] = owner
		default:
			foreign[host] = owner
		}
	}
	for id, hosts := range named {
		for _, host := range hosts {
			if c.wanted[host] == "" && h.owners[host] == id {
				c.releasing[host] = id
			}
		}
	}
	if err := s.checkUnclaimed(ctx, c, h, named); err != nil {
		return err
	}
	if len(foreign) > 0 {
		return s.takeOver(ctx, c, foreign)
	}
	return nil
}

// readOwners adds who holds the hosts that rows name, beside those that are wanted.
func (s *Store) readOwners(ctx context.Context, c *claims, h *held, named map[string][]string) error {
	missing := make(map[string]bool)
	for _, hosts := range named {
		for _, host := range hosts {
			missing[host] = c.wanted[host] == ""
		}
	}
	var keys []map[string]types.AttributeValue
	for host, ask := range missing {
		if ask {
			keys = append(keys, item{attrHost: text(host)})
		}
	}
	if len(keys) == 0 {
		return nil
	}
	found, err := s.batchGet(ctx, map[string][]map[string]types.AttributeValue{s.tables.EditHosts: keys})
	if err != nil {
		return err
	}
	for _, it := range found[s.tables.EditHosts] {
		h.owners[textOf(it[attrHost])] = textOf(it[attrClientID])
	}
	return nil
}

// takeOver removes the claims of clients that do not name their hosts any more, and makes
// the write begin anew. HostTakenError where one of them is in use, or cannot be told.
func (s *Store) takeOver(ctx context.Context, c *claims, foreign map[string]string) error {
	rows, err := s.rows(ctx, slices.Compact(slices.Sorted(maps.Values(foreign))))
	if err != nil {
		return err
	}
	for _, host := range c.order {
		owner, ok := foreign[host]
		if !ok {
			continue
		}
		r, exists := rows[owner]
		named, err := r.hosts()
		if exists && (err != nil || slices.Contains(named, host)) {
			return &configstore.WriteError{ClientID: c.wanted[host], Err: &configstore.HostTakenError{Host: host}}
		}
	}
	for host, owner := range foreign {
		tx := new(transaction)
		tx.remove(s.tables.EditHosts, item{attrHost: text(host)}, equal(attrClientID, text(owner)))
		tx.check(s.tables.ClientConfigs, item{attrClientID: text(owner)}, asRead(rows[owner]))
		if err := s.commit(ctx, tx); err != nil {
			return err
		}
		s.logger.Info("removed the claim of a client that does not name the host any more",
			zap.String("client", owner), zap.String("host", host))
	}
	return errContended
}

// write adds the claims to a transaction.
func (c *claims) write(tx *transaction, table string) {
	for host, owner := range c.claiming {
		unchanged := absent(attrHost)
		if owner != "" {
			unchanged = equal(attrClientID, text(owner))
		}
		tx.put(table, item{attrHost: text(host), attrClientID: text(c.wanted[host])}, unchanged)
	}
	for host, owner := range c.releasing {
		tx.remove(table, item{attrHost: text(host)}, equal(attrClientID, text(owner)))
	}
}
