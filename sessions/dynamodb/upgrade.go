package dynamodb

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/webordinary/router/sessions"
)

// Upgrade is what became of one session of the older tools, or would.
type Upgrade struct {
	// Record is as it is read; zero but for its id if it cannot be.
	Record sessions.Record
	// Task is what an older tool started for it, and what may still run; "" for none.
	// The upgraded record does not name it any more.
	Task string
	// Thread is the session that has its thread instead of it: the one used last.
	// "" if it is its own. The session can then be reached by its id alone.
	Thread string
	// Err says why it stays as it is.
	Err error
}

// Upgrade gives the sessions of the older tools the shape that this package writes, in
// which their threads are known and all of them are in the indexes, and reports each; with
// dryRun it only reports. Their ids, and attributes that it does not know, stay. It is for
// when the older tools run no more: they would not know that their sessions are inactive. It
// may be repeated, and goes on where it was interrupted. An error of report ends it.
func (r *Registry) Upgrade(ctx context.Context, dryRun bool, report func(Upgrade) error) error {
	found, err := r.older(ctx)
	if err != nil {
		return fmt.Errorf("reading sessions of the older tools: %w", r.classify(ctx, err))
	}
	owners := make(map[string]string) // by thread
	for _, u := range found {
		if u.Err == nil {
			err := r.upgrade(ctx, &u, owners, dryRun)
			if errors.Is(err, sessions.ErrNotFound) || errors.Is(err, sessions.ErrConflict) {
				continue // it has expired, or was written, since
			}
			if err != nil {
				return fmt.Errorf("upgrading session %q: %w", u.Record.SessionID, r.classify(ctx, err))
			}
		}
		if err := report(u); err != nil {
			return err
		}
	}
	return nil
}

func (r *Registry) upgrade(ctx context.Context, u *Upgrade, owners map[string]string, dryRun bool) error {
	thread := threadKey(u.Record.ClientID, u.Record.ThreadID)
	name := textOf(thread[attrSessionID])
	owner, known := owners[name]
	if !known {
		it, err := r.getItem(ctx, thread)
		if err != nil {
			return err
		}
		if owner = textOf(it[attrSession]); owner == "" {
			owner = u.Record.SessionID // the first of its thread
		}
		owners[name] = owner
	}
	if owner != u.Record.SessionID {
		u.Thread = owner
	}
	if dryRun {
		return nil
	}
	_, err := r.Update(ctx, u.Record, 0)
	return err
}

// older returns all sessions of the older tools, those used last first.
func (r *Registry) older(ctx context.Context) ([]Upgrade, error) {
	x := newExpression()
	x.whereExists(attrKind, false)
	x.whereExists(attrVersion, false)
	in := &dynamodb.ScanInput{
		TableName: &r.table, ConsistentRead: aws.Bool(true),
		FilterExpression: x.condition(), ExpressionAttributeNames: x.names,
	}
	var found []Upgrade
	for {
		out, err := r.client.Scan(ctx, in)
		if err != nil {
			return nil, err
		}
		for _, it := range out.Items {
			u := Upgrade{Task: olderTaskOf(it)}
			if u.Record, u.Err = decode(it); u.Err != nil {
				u.Record.SessionID = textOf(it[attrSessionID])
			}
			found = append(found, u)
		}
		if len(out.LastEvaluatedKey) == 0 {
			break
		}
		in.ExclusiveStartKey = out.LastEvaluatedKey
	}
	slices.SortStableFunc(found, func(a, b Upgrade) int { return b.Record.LastActivity.Compare(a.Record.LastActivity) })
	return found, nil
}
