package dynamodb

import (
	"context"
	"crypto/rand"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/webordinary/router/sessions"
)

// tries bounds how often a write is tried anew because what it was based on, beside the
// version, was not so: what it found is so from then on, or changes with the version.
const tries = 8

// errUnstable ends a write that found something else each time.
var errUnstable = fmt.Errorf("%w: the record changes faster than it can be written", sessions.ErrUnavailable)

// Create adds a session. See sessions.Registry. The session, its thread and its slot are
// one transaction.
func (r *Registry) Create(ctx context.Context, rec sessions.Record, limit int) (sessions.Record, error) {
	rec.Version = 1
	if err := r.create(ctx, rec, limit); err != nil {
		return sessions.Record{}, fmt.Errorf("creating session of client %q: %w", rec.ClientID, r.classify(ctx, err))
	}
	return rec, nil
}

func (r *Registry) create(ctx context.Context, rec sessions.Record, limit int) error {
	var t *turn
	if rec.HoldsSlot() {
		var err error
		if t, err = r.slots.wait(ctx, rec.ClientID); err != nil {
			return err
		}
		defer t.end()
		if t.isFull(limit) {
			t.end()
			return r.refuse(ctx, rec)
		}
	}
	writeID := rand.Text()
	it := r.encode(rec, writeID)
	it[attrSessionID] = text(rec.SessionID)
	dangling := rec.SessionID
	for range tries {
		failed, err := r.transact(ctx, r.createActions(rec, it, dangling, limit)...)
		switch {
		case err != nil || failed == nil:
			return err
		case failed[0] != nil && textOf(failed[0].Item[attrWriteID]) == writeID:
			return nil // an earlier try, whose answer was lost
		case failed[1] != nil:
			dangling = textOf(failed[1].Item[attrSession])
			if err := r.checkDangling(ctx, rec, dangling); err != nil {
				return err
			}
		case failed[0] != nil:
			return sessions.ErrConflict
		default:
			if err := r.makeRoom(ctx, t, setOf(failed[2].Item[attrRunning])); err != nil {
				return err
			}
		}
	}
	return errUnstable
}

// checkDangling returns ErrThreadTaken, unless the session that has the thread has expired.
func (r *Registry) checkDangling(ctx context.Context, rec sessions.Record, holder string) error {
	exists, err := r.exists(ctx, holder)
	if err == nil && exists {
		return &sessions.ThreadTakenError{ThreadID: rec.ThreadID, SessionID: holder}
	}
	return err
}

// refuse is the answer to a creation for which there is no room: that the thread is taken,
// as it may have been meanwhile, tells more.
func (r *Registry) refuse(ctx context.Context, rec sessions.Record) error {
	thread, err := r.getItem(ctx, threadKey(rec.ClientID, rec.ThreadID))
	if err != nil {
		return err
	}
	if err := r.checkDangling(ctx, rec, textOf(thread[attrSession])); err != nil {
		return err
	}
	return sessions.ErrLimit
}

// createActions are the session, its thread and, if it holds one, its slot. The thread may
// be there already, if it names the session `dangling`.
func (r *Registry) createActions(rec sessions.Record, it item, dangling string, limit int) []types.TransactWriteItem {
	session := newExpression()
	session.whereExists(attrSessionID, false)

	thread := newExpression()
	thread.whereNoneOr(attrSession, text(dangling))
	threadItem := threadKey(rec.ClientID, rec.ThreadID)
	threadItem[attrKind], threadItem[attrSession] = text(kindThread), text(rec.SessionID)
	if ttl, expires := r.threadExpiry(rec); expires {
		threadItem[attrTTL] = number(ttl)
	}

	actions := []types.TransactWriteItem{session.asPut(r.table, it), thread.asPut(r.table, threadItem)}
	if rec.HoldsSlot() {
		actions = append(actions, r.takeSlot(rec, limit))
	}
	return actions
}

// threadMargin is how much longer a thread is kept than its session, so that the session
// goes first. One that outlives its thread would let the thread have another.
const threadMargin = 30 * 24 * 60 * 60 // seconds

func (r *Registry) threadExpiry(rec sessions.Record) (seconds int64, expires bool) {
	ttl, expires := r.expiry(rec)
	return ttl + threadMargin, expires
}
