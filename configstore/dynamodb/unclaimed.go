package dynamodb

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/webordinary/router/configstore"
)

// unclaimed are the hosts that rows of the older tools name, who claim none, with their
// clients. They are scanned for as rarely as listed ids: a row that those tools add is
// heeded up to listedFor later.
type unclaimed struct {
	owners  map[string]string
	scanned time.Time
}

// checkUnclaimed returns HostTakenError where a client claims a host on which an older
// row is served. One that its own row names already it may claim: which of two older rows
// gets their host is decided by who is put first.
func (s *Store) checkUnclaimed(ctx context.Context, c *claims, h *held, named map[string][]string) error {
	var free []string
	for _, host := range c.order {
		if owner, claiming := c.claiming[host]; claiming && owner == "" && !slices.Contains(named[c.wanted[host]], host) {
			free = append(free, host)
		}
	}
	if len(free) == 0 {
		return nil
	}
	owners, err := s.olderHosts(ctx)
	if err != nil {
		return err
	}
	var ids []string
	for _, host := range free {
		id, older := owners[host]
		if _, moves := h.latest[id]; older && !moves {
			ids = append(ids, id)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	slices.Sort(ids)
	rows, err := s.rows(ctx, slices.Compact(ids)) // as they are now
	if err != nil {
		return err
	}
	for _, host := range free {
		if r := rows[owners[host]]; r != nil && r.version() == 0 {
			if hosts, err := r.hosts(); err == nil && slices.Contains(hosts, host) {
				return &configstore.WriteError{ClientID: c.wanted[host], Err: &configstore.HostTakenError{Host: host}}
			}
		}
	}
	return nil
}

// olderHosts returns the hosts that older rows name. It is called by one write at a time.
func (s *Store) olderHosts(ctx context.Context) (map[string]string, error) {
	if s.unclaimed.owners != nil && time.Since(s.unclaimed.scanned) < listedFor {
		return s.unclaimed.owners, nil
	}
	found := unclaimed{owners: make(map[string]string), scanned: time.Now()}
	err := s.scan(ctx, dynamodb.ScanInput{
		FilterExpression:         aws.String("attribute_not_exists(#version)"),
		ProjectionExpression:     aws.String(strings.Join(routed[:], ", ")),
		ExpressionAttributeNames: routedNames,
	}, func(it item) error {
		e := scannedEntry(it)
		for _, host := range e.Hosts {
			if first, ok := found.owners[host]; !ok || e.ClientID < first { // the one that edges route
				found.owners[host] = e.ClientID
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	s.unclaimed = found
	return found.owners, nil
}
