package dynamodb

import (
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/webordinary/router/configstore"
)

// held is what is stored of the clients that a write is about.
type held struct {
	head   head
	rows   map[string]row
	latest map[string]latest
	// owners are the clients that hold the hosts which were asked for.
	owners map[string]string
}

// nextVersion is higher than any that the client had.
func (h *held) nextVersion(id string) int64 {
	return max(h.rows[id].version(), h.latest[id].version) + 1
}

// readHeld reads clients, and who holds the hosts.
func (s *Store) readHeld(ctx context.Context, ids []string, hosts map[string]string) (*held, error) {
	keys := map[string][]map[string]types.AttributeValue{s.tables.ConfigChanges: {headKey()}}
	for _, id := range ids {
		keys[s.tables.ConfigChanges] = append(keys[s.tables.ConfigChanges], latestKey(id))
		keys[s.tables.ClientConfigs] = append(keys[s.tables.ClientConfigs], item{attrClientID: text(id)})
	}
	for host := range hosts {
		keys[s.tables.EditHosts] = append(keys[s.tables.EditHosts], item{attrHost: text(host)})
	}
	found, err := s.batchGet(ctx, keys)
	if err != nil {
		return nil, err
	}
	h := &held{rows: make(map[string]row), latest: make(map[string]latest), owners: make(map[string]string)}
	byPart := make(map[string]item)
	for _, it := range found[s.tables.ConfigChanges] {
		byPart[textOf(it[attrPart])] = it
	}
	if h.head, err = readHead(byPart[logPart]); err != nil {
		return nil, err
	}
	for _, id := range ids {
		h.latest[id] = readLatest(byPart[latestPart+id])
	}
	for _, it := range found[s.tables.ClientConfigs] {
		h.rows[row(it).id()] = it
	}
	for _, it := range found[s.tables.EditHosts] {
		h.owners[textOf(it[attrHost])] = textOf(it[attrClientID])
	}
	return h, nil
}

// asRead is the condition that a row is as it was read. The older tools change a row and
// know no versions, so that its config is compared too.
func asRead(r row) condition {
	if r == nil {
		return absent(attrClientID)
	}
	return equal(attrConfig, r[attrConfig]).and(equal(attrVersion, r[attrVersion])).and(present(attrClientID))
}

// putRow adds the writing of a row, and returns it as it will be. What the row holds beside
// our attributes stays as it is.
func (s *Store) putRow(tx *transaction, old row, last latest, c configstore.Client) (row, error) {
	if old != nil {
		// A row that cannot be read has no fields to keep.
		if client, err := old.decode(); err == nil {
			c = configstore.MergeUnknown(c, client.Unknown)
		}
	}
	config, err := encodeConfig(c, old)
	if err != nil {
		return nil, err
	}
	now := formatTime(s.now().UTC().Truncate(time.Microsecond))
	set := item{
		attrConfig:    config,
		attrVersion:   number(max(old.version(), last.version) + 1),
		attrUpdatedAt: now,
	}
	if old[attrCreatedAt] == nil {
		set[attrCreatedAt] = now
	}
	key := item{attrClientID: text(c.ClientID)}
	written := make(row)
	maps.Copy(written, item(old))
	maps.Copy(written, set)
	maps.Copy(written, key)
	if old == nil {
		tx.put(s.tables.ClientConfigs, item(written), asRead(nil))
	} else {
		tx.update(s.tables.ClientConfigs, key, set, asRead(old))
	}
	return written, nil
}

// putLatest adds the writing of a client's item.
func (s *Store) putLatest(tx *transaction, id string, last latest, version int64, deleted bool) {
	unchanged := absent(attrPart)
	if last.exists {
		unchanged = equal(attrVersion, number(last.version))
	}
	tx.put(s.tables.ConfigChanges, latestItem(id, version, deleted), unchanged)
}

// logChanges adds an item to the log and advances its head.
func (s *Store) logChanges(ctx context.Context, tx *transaction, changes []configstore.Change) error {
	h := tx.head
	if h.log == "" {
		// The first write. A table may hold a log whose head somebody removed.
		last, err := s.lastItem(ctx)
		if err != nil {
			return err
		}
		h = head{log: rand.Text(), last: last}
	}
	expires := s.now().Add(retention).Unix()
	it, err := logItem(h.log, h.last+1, expires, changes)
	if err != nil {
		return fmt.Errorf("encoding changes: %w", err)
	}
	tx.put(s.tables.ConfigChanges, it, absent(attrPart))
	next := item{attrLog: text(h.log), attrLast: number(h.last + 1)}
	if tx.head.log == "" {
		maps.Copy(next, headKey())
		tx.put(s.tables.ConfigChanges, next, absent(attrPart))
	} else {
		tx.update(s.tables.ConfigChanges, headKey(), next, equal(attrLog, text(h.log)).and(equal(attrLast, number(h.last))))
	}
	return nil
}

// lastItem is the number of the last item in the log; 0 if there is none.
func (s *Store) lastItem(ctx context.Context) (int64, error) {
	out, err := s.client.Query(ctx, &dynamodb.QueryInput{
		TableName:                 &s.tables.ConfigChanges,
		ConsistentRead:            aws.Bool(true),
		KeyConditionExpression:    aws.String("#part = :part AND #seq < :head"),
		ExpressionAttributeNames:  map[string]string{"#part": attrPart, "#seq": attrSeq},
		ExpressionAttributeValues: item{":part": text(logPart), ":head": number(headSeq)},
		ScanIndexForward:          aws.Bool(false),
		Limit:                     aws.Int32(1),
	})
	if err != nil {
		return 0, s.translate(ctx, err, s.tables.ConfigChanges)
	}
	if len(out.Items) == 0 {
		return 0, nil
	}
	last, _ := numberOf(out.Items[0][attrSeq])
	return last, nil
}
