package dynamodb

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/webordinary/router/sessions"
)

// Duty returns which edge asks and sweeps for all. See sessions.Registry.
func (r *Registry) Duty(ctx context.Context) (sessions.Lease, error) {
	it, err := r.getItem(ctx, dutyKey())
	if err != nil {
		return sessions.Lease{}, fmt.Errorf("reading which edge is on duty: %w", r.classify(ctx, err))
	}
	d := &decoder{id: textOf(it[attrSessionID])}
	m := d.members(it, attrLease)
	l := sessions.Lease{Holder: d.text(m, "holder"), Beat: d.number(m, "beat")}
	if d.broken != nil {
		return sessions.Lease{}, d.broken
	}
	return l, nil
}

// SetDuty replaces it. See sessions.Registry.
func (r *Registry) SetDuty(ctx context.Context, old, next sessions.Lease) error {
	x := newExpression()
	x.set(attrKind, text(kindDuty))
	x.set(attrLease, leaseOf(next))
	if old == (sessions.Lease{}) {
		x.whereExists(attrLease, false)
	} else {
		x.whereEqual(attrLease, leaseOf(old))
	}
	err := contend(ctx, func() error {
		_, err := r.client.UpdateItem(ctx, &dynamodb.UpdateItemInput{
			TableName: &r.table, Key: dutyKey(),
			UpdateExpression: x.update(), ConditionExpression: x.condition(),
			ExpressionAttributeNames: x.names, ExpressionAttributeValues: x.boundValues(),
		})
		return err
	})
	if failed := (*types.ConditionalCheckFailedException)(nil); errors.As(err, &failed) {
		err = sessions.ErrConflict
	}
	if err != nil {
		return fmt.Errorf("writing which edge is on duty: %w", r.classify(ctx, err))
	}
	return nil
}
