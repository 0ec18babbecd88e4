package dynamodb

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"go.uber.org/zap"

	"github.com/webordinary/router/sessions"
)

// takeSlot gives a session a slot, if the client has fewer than limit; or if the session
// is named already, which only means that it was left there by mistake.
func (r *Registry) takeSlot(rec sessions.Record, limit int) types.TransactWriteItem {
	x := newExpression()
	x.set(attrKind, text(kindSlots))
	x.add(attrRunning, set(rec.SessionID))
	running := x.attr(attrRunning)
	condition := "contains(" + running + ", " + x.value(text(rec.SessionID)) + ")"
	if limit > 0 {
		condition += " OR attribute_not_exists(" + running + ") OR size(" + running + ") < " + x.value(number(int64(limit)))
	}
	x.where("(" + condition + ")")
	return x.asUpdate(r.table, slotsKey(rec.ClientID))
}

// freeSlot takes a session's slot away.
func (r *Registry) freeSlot(clientID, sessionID string) types.TransactWriteItem {
	x := newExpression()
	x.set(attrKind, text(kindSlots))
	x.delete(attrRunning, set(sessionID))
	return x.asUpdate(r.table, slotsKey(clientID))
}

// makeRoom frees the slots of a client that no session holds: those of sessions whose
// records were removed or replaced by other means than this registry. Each is freed in a
// transaction that checks just that. ErrLimit if there is none.
func (r *Registry) makeRoom(ctx context.Context, t *turn, running []string) error {
	items, err := r.batchGet(ctx, running, true)
	if err != nil {
		return err
	}
	freed := false
	for _, id := range running {
		if it := items[id]; it != nil && !missing(it[attrStart]) {
			continue
		}
		check := newExpression()
		check.whereExists(attrStart, false)
		failed, err := r.transact(ctx, check.asCheck(r.table, key(id)), r.freeSlot(t.clientID, id))
		switch {
		case err != nil:
			return err
		case failed == nil:
			freed = true
			r.broken.log.Warn("freed a slot that no session held", zap.String("client", t.clientID), zap.String("session", id))
		}
	}
	if !freed {
		t.sawFull(len(running))
		return sessions.ErrLimit
	}
	t.sawRoom()
	return nil
}

// Running returns which sessions of a client hold a slot. See sessions.Registry.
func (r *Registry) Running(ctx context.Context, clientID string) ([]string, error) {
	it, err := r.getItem(ctx, slotsKey(clientID))
	if err != nil {
		return nil, fmt.Errorf("reading running sessions: %w", r.classify(ctx, err))
	}
	return sorted(setOf(it[attrRunning])), nil
}
