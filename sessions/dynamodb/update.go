package dynamodb

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/webordinary/router/sessions"
)

// Update replaces a session. See sessions.Registry. It is one conditional write, or one
// transaction where a slot is taken or freed, or there is none. Which of the two is guessed from the record,
// so that nothing is read first; a wrong guess fails, tells the truth, and costs a call.
func (r *Registry) Update(ctx context.Context, rec sessions.Record, limit int) (sessions.Record, error) {
	c := &change{r: r, rec: rec, replaces: rec.Version, limit: limit, writeID: rand.Text(), thread: true}
	c.rec.Version++
	c.held = guessHeld(rec)
	if err := c.carryThrough(ctx); err != nil {
		return sessions.Record{}, fmt.Errorf("updating session of client %q: %w", rec.ClientID, r.classify(ctx, err))
	}
	return c.rec, nil
}

// guessHeld guesses whether the stored record holds a slot, from the one that is to
// replace it. The beginning of a wake is what takes one; where there is none, there was
// one before, unless a session that sleeps was given an instruction.
func guessHeld(rec sessions.Record) bool {
	if rec.HoldsSlot() {
		return rec.Status != sessions.StatusInitializing || rec.Container != "" || rec.Lease == nil || rec.Lease.Beat > 1
	}
	return rec.Instruction == ""
}

// change is one Update under way.
type change struct {
	r        *Registry
	rec      sessions.Record // as it is to be
	replaces int64           // the version that it replaces; 0: an older tool's
	limit    int
	writeID  string
	held     bool // the stored record holds a slot, as far as is known
	thread   bool // the thread is this session's, as far as is known
}

func (c *change) carryThrough(ctx context.Context) error {
	if c.replaces == 0 { // then nothing is held
		if err := c.checkOlder(ctx); err != nil {
			return err
		}
	}
	for range tries {
		// What holds no slot expires, and its thread after it: that is written with it.
		write := c.transact
		if c.held && c.rec.HoldsSlot() {
			write = c.write
		}
		if done, err := write(ctx); done || err != nil {
			return err
		}
	}
	return errUnstable
}

// transact is the change of a record with its thread's time and, where one is taken or
// freed, its client's slots.
func (c *change) transact(ctx context.Context) (done bool, err error) {
	takes, frees := c.rec.HoldsSlot() && !c.held, c.held && !c.rec.HoldsSlot()
	var t *turn
	if takes || frees {
		if t, err = c.r.slots.wait(ctx, c.rec.ClientID); err != nil {
			return false, err
		}
		defer t.end()
		if takes && t.isFull(c.limit) {
			t.end()
			return c.refuse(ctx)
		}
	}
	failed, err := c.r.transact(ctx, c.actions()...)
	switch {
	case err != nil:
		return false, err
	case failed == nil:
		if frees {
			t.sawRoom()
		}
		return true, nil
	case failed[0] != nil:
		return c.learn(failed[0].Item)
	case c.thread && failed[1] != nil:
		// Older tools gave one thread to several sessions; another one has it.
		c.thread = false
		return false, nil
	default:
		return false, c.r.makeRoom(ctx, t, setOf(failed[len(failed)-1].Item[attrRunning]))
	}
}

// refuse is the answer to a wake for which there is no room: that the record has changed,
// as it may have meanwhile, tells more.
func (c *change) refuse(ctx context.Context) (done bool, err error) {
	stored, err := c.r.getItem(ctx, key(c.rec.SessionID))
	if err != nil {
		return false, err
	}
	if done, err = c.learn(stored); errors.Is(err, errAsExpected) {
		err = sessions.ErrLimit
	}
	return done, err
}

// errAsExpected: the stored record is as the write took it to be.
var errAsExpected = fmt.Errorf("%w: a condition failed that holds", sessions.ErrUnavailable)

// learn compares the stored record with what the write took it to be. It was done if an
// earlier try was carried through though its answer was lost; else it can be tried again
// with what is known now, unless there is an error.
func (c *change) learn(stored item) (done bool, err error) {
	version, _ := stored[attrVersion].(*types.AttributeValueMemberN)
	_, holds := stored[attrStart]
	switch {
	case len(stored) == 0 || !isSession(stored):
		return false, sessions.ErrNotFound
	case textOf(stored[attrWriteID]) == c.writeID:
		return true, nil
	case c.replaces == 0 && version == nil:
		return false, errAsExpected
	case c.replaces == 0, version == nil, version.Value != strconv.FormatInt(c.replaces, 10):
		return false, sessions.ErrConflict
	case textOf(stored[attrClientID]) != c.rec.ClientID, textOf(stored[attrThreadID]) != c.rec.ThreadID:
		return false, errIdentity
	case holds == c.held:
		return false, errAsExpected
	}
	c.held = holds
	return false, nil
}

// checkOlder compares what the record of an older tool says, which no condition can.
func (c *change) checkOlder(ctx context.Context) error {
	stored, err := c.r.stored(ctx, c.rec.SessionID)
	switch {
	case err != nil:
		return err
	case stored.Version != 0:
		return sessions.ErrConflict
	case stored.ClientID != c.rec.ClientID || stored.ThreadID != c.rec.ThreadID:
		return errIdentity
	}
	c.held = false
	return nil
}

// record is the record's own part of the write. Attributes that are not ours stay.
func (c *change) record() *expression {
	x := newExpression()
	attrs := c.r.encode(c.rec, c.writeID)
	for _, attr := range written {
		if v, ok := attrs[attr]; ok {
			x.set(attr, v)
		} else {
			x.remove(attr)
		}
	}
	if c.replaces == 0 {
		for _, attr := range olderNames {
			x.remove(attr)
		}
		x.whereExists(attrSessionID, true)
		x.whereExists(attrVersion, false)
		return x
	}
	x.whereEqual(attrVersion, number(c.replaces))
	x.whereEqual(attrClientID, text(c.rec.ClientID))
	if c.rec.ThreadID != "" {
		x.whereEqual(attrThreadID, text(c.rec.ThreadID))
	} else {
		x.whereExists(attrThreadID, false)
	}
	x.whereExists(attrStart, c.held)
	return x
}

// write is the change of a record alone.
func (c *change) write(ctx context.Context) (done bool, err error) {
	x := c.record()
	in := &dynamodb.UpdateItemInput{
		TableName: &c.r.table, Key: key(c.rec.SessionID),
		UpdateExpression: x.update(), ConditionExpression: x.condition(),
		ExpressionAttributeNames: x.names, ExpressionAttributeValues: x.boundValues(),
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	}
	err = contend(ctx, func() error {
		_, err := c.r.client.UpdateItem(ctx, in)
		return err
	})
	if failed := (*types.ConditionalCheckFailedException)(nil); errors.As(err, &failed) {
		return c.learn(failed.Item)
	}
	return err == nil, err
}

// actions are the change of a record, of its thread's time, and of its client's slots: in
// this order, the last only where a slot is taken or freed.
func (c *change) actions() []types.TransactWriteItem {
	actions := []types.TransactWriteItem{c.record().asUpdate(c.r.table, key(c.rec.SessionID))}
	if c.thread {
		x := newExpression()
		x.set(attrKind, text(kindThread))
		x.set(attrSession, text(c.rec.SessionID))
		if ttl, expires := c.r.threadExpiry(c.rec); expires {
			x.set(attrTTL, number(ttl))
		} else {
			x.remove(attrTTL)
		}
		x.whereNoneOr(attrSession, text(c.rec.SessionID))
		actions = append(actions, x.asUpdate(c.r.table, threadKey(c.rec.ClientID, c.rec.ThreadID)))
	}
	switch {
	case c.rec.HoldsSlot() && !c.held:
		actions = append(actions, c.r.takeSlot(c.rec, c.limit))
	case c.held && !c.rec.HoldsSlot():
		actions = append(actions, c.r.freeSlot(c.rec.ClientID, c.rec.SessionID))
	}
	return actions
}
