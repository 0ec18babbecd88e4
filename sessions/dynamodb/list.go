package dynamodb

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/webordinary/router/sessions"
)

// List returns a page of sessions. See sessions.Registry. All sessions are in the order in
// which DynamoDB holds them, which is random but lasting.
func (r *Registry) List(ctx context.Context, clientID, after string, limit int) ([]sessions.Record, error) {
	var recs []sessions.Record
	var err error
	if clientID == "" {
		recs, err = r.scan(ctx, after, limit)
	} else {
		recs, err = r.listClient(ctx, clientID, after, limit)
	}
	if err != nil {
		return nil, fmt.Errorf("listing sessions: %w", r.classify(ctx, err))
	}
	return recs, nil
}

func (r *Registry) listClient(ctx context.Context, clientID, after string, limit int) ([]sessions.Record, error) {
	var recs []sessions.Record
	for len(recs) < limit {
		want := limit - len(recs)
		x := newExpression()
		x.whereEqual(attrClientID, text(clientID))
		if after != "" {
			x.where(x.attr(attrSessionID) + " > " + x.value(text(after)))
		}
		keys, err := r.query(ctx, indexClient, x, want)
		if err != nil {
			return nil, err
		}
		found, err := r.records(ctx, ids(keys), true)
		if err != nil {
			return nil, err
		}
		recs = append(recs, found...)
		if len(keys) < want {
			break
		}
		after = textOf(keys[len(keys)-1][attrSessionID])
	}
	return recs, nil
}

// olderByThread finds a session of an older tool by the thread in its id. Of several users'
// sessions of one thread it is the one used last.
func (r *Registry) olderByThread(ctx context.Context, clientID, threadID string) (sessions.Record, error) {
	x := newExpression()
	x.whereEqual(attrClientID, text(clientID))
	x.where("begins_with(" + x.attr(attrSessionID) + ", " + x.value(text(clientID+"#")) + ")")
	keys, err := r.query(ctx, indexClient, x, math.MaxInt32)
	if err != nil {
		return sessions.Record{}, err
	}
	candidates := slices.DeleteFunc(ids(keys), func(id string) bool { return !strings.HasSuffix(id, "#"+threadID) })
	recs, err := r.records(ctx, candidates, true)
	if err != nil {
		return sessions.Record{}, err
	}
	recs = slices.DeleteFunc(recs, func(rec sessions.Record) bool { return rec.ThreadID != threadID })
	if len(recs) == 0 {
		return sessions.Record{}, sessions.ErrNotFound
	}
	return slices.MaxFunc(recs, func(a, b sessions.Record) int { return a.LastActivity.Compare(b.LastActivity) }), nil
}

// Due returns the active sessions to ask. See sessions.Registry.
func (r *Registry) Due(ctx context.Context, t time.Time, limit int) ([]sessions.Record, error) {
	recs, err := r.queued(ctx, queueDue, &t, limit)
	if err != nil {
		return nil, fmt.Errorf("reading due sessions: %w", r.classify(ctx, err))
	}
	recs = slices.DeleteFunc(recs, func(rec sessions.Record) bool {
		return rec.Status != sessions.StatusActive || rec.AskAt.IsZero() || rec.AskAt.After(t)
	})
	slices.SortStableFunc(recs, func(a, b sessions.Record) int {
		return cmp.Or(a.AskAt.Compare(b.AskAt), cmp.Compare(a.SessionID, b.SessionID))
	})
	return recs, nil
}

// Unsettled returns what a dead edge may have left behind, the oldest first. See
// sessions.Registry.
func (r *Registry) Unsettled(ctx context.Context, limit int) ([]sessions.Record, error) {
	recs, err := r.queued(ctx, queueUnsettled, nil, limit)
	if err != nil {
		return nil, fmt.Errorf("reading unsettled sessions: %w", r.classify(ctx, err))
	}
	return slices.DeleteFunc(recs, func(rec sessions.Record) bool {
		return !isUnsettled(rec)
	}), nil
}

// queued returns the first sessions of all queues of a kind, up to a time if one is given.
func (r *Registry) queued(ctx context.Context, kind string, until *time.Time, limit int) ([]sessions.Record, error) {
	if limit <= 0 {
		return nil, nil
	}
	type entry struct {
		id string
		at time.Time
	}
	var all []entry
	var mu sync.Mutex
	names := make([]string, queues)
	for n := range names {
		names[n] = queueName(kind, n)
	}
	err := forEach(ctx, names, queues, func(ctx context.Context, name string) error {
		x := newExpression()
		x.whereEqual(attrQueue, text(name))
		if until != nil {
			x.where(x.attr(attrQueueAt) + " <= " + x.value(millis(*until)))
		}
		keys, err := r.query(ctx, indexQueue, x, limit)
		mu.Lock()
		defer mu.Unlock()
		for _, k := range keys {
			d := &decoder{}
			all = append(all, entry{id: textOf(k[attrSessionID]), at: d.moment(k, attrQueueAt)})
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(all, func(a, b entry) int { return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.id, b.id)) })
	first := make([]string, 0, min(limit, len(all)))
	for _, e := range all[:min(limit, len(all))] {
		first = append(first, e.id)
	}
	return r.records(ctx, first, false)
}

// query returns up to limit keys of an index, in its order.
func (r *Registry) query(ctx context.Context, index string, x *expression, limit int) ([]item, error) {
	in := &dynamodb.QueryInput{
		TableName: &r.table, IndexName: &index, KeyConditionExpression: x.condition(),
		ExpressionAttributeNames: x.names, ExpressionAttributeValues: x.values,
	}
	var keys []item
	for {
		in.Limit = aws.Int32(int32(min(limit-len(keys), math.MaxInt32)))
		out, err := r.client.Query(ctx, in)
		if err != nil {
			return nil, err
		}
		keys = append(keys, out.Items...)
		if len(out.LastEvaluatedKey) == 0 || len(keys) >= limit {
			return keys, nil
		}
		in.ExclusiveStartKey = out.LastEvaluatedKey
	}
}

// scan returns up to limit sessions of the table, those after an id in its order.
func (r *Registry) scan(ctx context.Context, after string, limit int) ([]sessions.Record, error) {
	x := newExpression()
	in := &dynamodb.ScanInput{
		TableName: &r.table, ConsistentRead: aws.Bool(true),
		// Threads and slots lie between the sessions.
		FilterExpression:         aws.String(fmt.Sprintf("attribute_not_exists(%s)", x.attr(attrKind))),
		ExpressionAttributeNames: x.names,
	}
	if after != "" {
		in.ExclusiveStartKey = key(after)
	}
	var recs []sessions.Record
	for len(recs) < limit {
		in.Limit = aws.Int32(int32(min(3*limit, math.MaxInt32)))
		out, err := r.client.Scan(ctx, in)
		if err != nil {
			return nil, err
		}
		recs = append(recs, r.decodeAll(out.Items)...)
		if len(out.LastEvaluatedKey) == 0 {
			break
		}
		in.ExclusiveStartKey = out.LastEvaluatedKey
	}
	return recs[:min(limit, len(recs))], nil
}

func (r *Registry) decodeAll(items []item) []sessions.Record {
	recs := make([]sessions.Record, 0, len(items))
	for _, it := range items {
		rec, err := decode(it)
		if err != nil {
			r.broken.note(err)
			continue
		}
		recs = append(recs, rec)
	}
	return recs
}

func ids(keys []item) []string {
	all := make([]string, 0, len(keys))
	for _, k := range keys {
		all = append(all, textOf(k[attrSessionID]))
	}
	return all
}
