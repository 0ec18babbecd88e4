package dynamodb

import (
	"context"
	"fmt"
	"slices"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/webordinary/router/sessions"
)

// maxKey is how long a key may be, in bytes.
const maxKey = 2048

// Get returns a session. See sessions.Registry.
func (r *Registry) Get(ctx context.Context, id string) (sessions.Record, error) {
	rec, err := r.stored(ctx, id)
	if err != nil {
		return sessions.Record{}, fmt.Errorf("reading session: %w", r.classify(ctx, err))
	}
	return rec, nil
}

// ByThread returns the session of a thread. See sessions.Registry. Of a session that an
// older tool wrote, and that was not written since, the thread is known if it is in the
// session's id: "client#user#thread".
func (r *Registry) ByThread(ctx context.Context, clientID, threadID string) (sessions.Record, error) {
	rec, err := r.byThread(ctx, clientID, threadID)
	if err != nil {
		return sessions.Record{}, fmt.Errorf("reading session of thread %q: %w", threadID, r.classify(ctx, err))
	}
	return rec, nil
}

func (r *Registry) byThread(ctx context.Context, clientID, threadID string) (sessions.Record, error) {
	if clientID == "" || !utf8.ValidString(clientID+threadID) || len(clientID)+len(threadID) > maxKey/2 {
		return sessions.Record{}, sessions.ErrNotFound
	}
	thread, err := r.getItem(ctx, threadKey(clientID, threadID))
	if err != nil {
		return sessions.Record{}, err
	}
	if id := textOf(thread[attrSession]); id != "" {
		return r.stored(ctx, id)
	}
	return r.olderByThread(ctx, clientID, threadID)
}

// stored reads a record. ErrNotFound.
func (r *Registry) stored(ctx context.Context, id string) (sessions.Record, error) {
	if id == "" || len(id) > maxKey || !utf8.ValidString(id) {
		return sessions.Record{}, sessions.ErrNotFound // no key, so it cannot be asked for
	}
	it, err := r.getItem(ctx, key(id))
	switch {
	case err != nil:
		return sessions.Record{}, err
	case len(it) == 0 || !isSession(it):
		return sessions.Record{}, sessions.ErrNotFound
	}
	rec, err := decode(it)
	if err != nil {
		r.broken.note(err)
	}
	return rec, err
}

// getItem reads an item as of the last write that returned; nil if there is none.
func (r *Registry) getItem(ctx context.Context, key item) (item, error) {
	out, err := r.client.GetItem(ctx, &dynamodb.GetItemInput{TableName: &r.table, Key: key, ConsistentRead: aws.Bool(true)})
	if err != nil {
		return nil, err
	}
	return out.Item, nil
}

// exists reports whether there is a session, as of the last write that returned.
func (r *Registry) exists(ctx context.Context, id string) (bool, error) {
	if id == "" {
		return false, nil
	}
	out, err := r.client.GetItem(ctx, &dynamodb.GetItemInput{
		TableName: &r.table, Key: key(id), ConsistentRead: aws.Bool(true), ProjectionExpression: aws.String(attrSessionID),
	})
	if err != nil {
		return false, err
	}
	return len(out.Item) > 0, nil
}

func sorted(ids []string) []string {
	ids = slices.Clone(ids)
	slices.Sort(ids)
	return ids
}
