package dynamodb

import (
	"context"
	"errors"
	"fmt"

	"github.com/webordinary/router/configstore"
)

// Put implements configstore.Store.
func (s *Store) Put(ctx context.Context, c configstore.Client, expect int64) (configstore.Record, error) {
	records, err := s.PutAll(ctx, []configstore.Write{{Client: c, Expect: expect}})
	if err != nil {
		return configstore.Record{}, err
	}
	return records[0], nil
}

// PutAll implements configstore.Store. Each call is one transaction, which waits for those
// of other writers; so many clients are written fastest by large calls, one after the other.
// Where the answer to a write was lost, the same transaction is sent again, which DynamoDB
// answers as the first time. ErrUnavailable leaves open whether it was written.
func (s *Store) PutAll(ctx context.Context, writes []configstore.Write) ([]configstore.Record, error) {
	if err := configstore.CheckWrites(writes); err != nil || len(writes) == 0 {
		return nil, err
	}
	var records []configstore.Record
	err := s.write(ctx, func(ctx context.Context) (*transaction, error) {
		tx, stored, err := s.preparePut(ctx, writes)
		records = stored
		return tx, err
	})
	var named *configstore.WriteError
	switch {
	case err == nil:
		return records, nil
	case errors.As(err, &named):
		return nil, named
	case len(writes) == 1:
		return nil, &configstore.WriteError{ClientID: writes[0].Client.ClientID, Err: err}
	default:
		return nil, fmt.Errorf("putting %d clients: %w", len(writes), err)
	}
}

// preparePut reads what the writes depend on and makes their transaction of it, whose
// conditions fail where any of that changes meanwhile.
func (s *Store) preparePut(ctx context.Context, writes []configstore.Write) (*transaction, []configstore.Record, error) {
	claims, err := newClaims(writes)
	if err != nil {
		return nil, nil, err
	}
	ids := make([]string, len(writes))
	for i, w := range writes {
		ids[i] = w.Client.ClientID
	}
	held, err := s.readHeld(ctx, ids, claims.wanted)
	if err != nil {
		return nil, nil, err
	}
	for _, w := range writes {
		var stored *configstore.Record
		if r := held.rows[w.Client.ClientID]; r != nil {
			stored = new(r.record())
		}
		if err := w.Check(stored); err != nil {
			return nil, nil, &configstore.WriteError{ClientID: w.Client.ClientID, Err: err}
		}
	}
	if err := s.settleClaims(ctx, claims, held); err != nil {
		return nil, nil, err
	}

	tx := &transaction{head: held.head}
	records := make([]configstore.Record, len(writes))
	changes := make([]configstore.Change, len(writes))
	for i, w := range writes {
		id := w.Client.ClientID
		written, err := s.putRow(tx, held.rows[id], held.latest[id], w.Client)
		if err != nil {
			return nil, nil, &configstore.WriteError{ClientID: id, Err: err}
		}
		s.putLatest(tx, id, held.latest[id], written.version(), false)
		records[i] = written.record()
		if records[i].Broken != "" { // with what the row holds beside, it is too large
			return nil, nil, &configstore.WriteError{ClientID: id, Err: fmt.Errorf("it could not be read again: %s", records[i].Broken)}
		}
		changes[i] = configstore.Change{ClientID: id, Version: records[i].Version, Entry: records[i].Entry()}
	}
	claims.write(tx, s.tables.EditHosts)
	if err := s.logChanges(ctx, tx, changes); err != nil {
		return nil, nil, err
	}
	return tx, records, tx.fits(len(writes))
}

// Delete implements configstore.Store.
func (s *Store) Delete(ctx context.Context, id string, expect int64) error {
	if id == "" { // DynamoDB refuses empty keys
		return fmt.Errorf("deleting client %q: %w", id, configstore.ErrNotFound)
	}
	err := s.write(ctx, func(ctx context.Context) (*transaction, error) { return s.prepareDelete(ctx, id, expect) })
	if err != nil {
		return fmt.Errorf("deleting client %q: %w", id, err)
	}
	return nil
}

func (s *Store) prepareDelete(ctx context.Context, id string, expect int64) (*transaction, error) {
	held, err := s.readHeld(ctx, []string{id}, nil)
	if err != nil {
		return nil, err
	}
	r := held.rows[id]
	if r == nil {
		return nil, configstore.ErrNotFound
	}
	if expect != configstore.AnyVersion && expect != r.version() {
		return nil, &configstore.ConflictError{ClientID: id, Have: r.version(), Expect: expect}
	}
	claims := &claims{releasing: map[string]string{}}
	if err := s.settleClaims(ctx, claims, held); err != nil {
		return nil, err
	}
	tx := &transaction{head: held.head}
	tx.remove(s.tables.ClientConfigs, item{attrClientID: text(id)}, asRead(r))
	version := held.nextVersion(id)
	s.putLatest(tx, id, held.latest[id], version, true)
	claims.write(tx, s.tables.EditHosts)
	return tx, s.logChanges(ctx, tx, []configstore.Change{{ClientID: id, Version: version, Deleted: true}})
}
