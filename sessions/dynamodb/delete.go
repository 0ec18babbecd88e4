package dynamodb

import (
	"context"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/webordinary/router/sessions"
)

// Delete removes a session, its thread and its slot in one transaction. See
// sessions.Registry.
func (r *Registry) Delete(ctx context.Context, id string, version int64) error {
	if err := r.delete(ctx, id, version); err != nil {
		return fmt.Errorf("deleting session: %w", r.classify(ctx, err))
	}
	return nil
}

func (r *Registry) delete(ctx context.Context, id string, version int64) error {
	rec, err := r.stored(ctx, id)
	switch {
	case err != nil:
		return err
	case rec.Version != version:
		return sessions.ErrConflict
	}
	if rec.HoldsSlot() {
		t, err := r.slots.wait(ctx, rec.ClientID)
		if err != nil {
			return err
		}
		defer t.end()
		defer t.sawRoom()
	}
	session := newExpression()
	if version == 0 {
		session.whereExists(attrSessionID, true)
		session.whereExists(attrVersion, false)
	} else {
		session.whereEqual(attrVersion, number(version))
	}
	thread := newExpression()
	thread.whereNoneOr(attrSession, text(id))
	actions := []types.TransactWriteItem{
		session.asDelete(r.table, key(id)),
		thread.asDelete(r.table, threadKey(rec.ClientID, rec.ThreadID)),
	}
	if rec.HoldsSlot() {
		actions = append(actions, r.freeSlot(rec.ClientID, id))
	}
	failed, err := r.transact(ctx, actions...)
	if err == nil && failed != nil && failed[0] == nil {
		// The thread is another session's: older tools gave one to several.
		failed, err = r.transact(ctx, slices.Delete(actions, 1, 2)...)
	}
	switch {
	case err != nil || failed == nil:
		return err
	case len(failed[0].Item) == 0:
		return sessions.ErrNotFound
	default:
		return sessions.ErrConflict
	}
}
