package embedded

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/webordinary/router/sessions"
)

// Duty returns which edge asks and sweeps for all. See sessions.Registry.
func (r *Registry) Duty(ctx context.Context) (l sessions.Lease, err error) {
	err = r.db.QueryRowContext(ctx, `SELECT holder, beat FROM edit_sessions_duty`).Scan(&l.Holder, &l.Beat)
	if err != nil {
		return l, fmt.Errorf("reading which edge is on duty: %w", classify(ctx, err))
	}
	return l, nil
}

// SetDuty replaces it. See sessions.Registry.
func (r *Registry) SetDuty(ctx context.Context, old, next sessions.Lease) error {
	err := r.write(ctx, func(tx *sql.Tx) error {
		done, err := tx.ExecContext(ctx, `UPDATE edit_sessions_duty SET holder = ?, beat = ? WHERE holder = ? AND beat = ?`,
			next.Holder, next.Beat, old.Holder, old.Beat)
		if err != nil {
			return err
		}
		if n, err := done.RowsAffected(); err != nil || n == 0 {
			return errors.Join(err, sessions.ErrConflict)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("writing which edge is on duty: %w", err)
	}
	return nil
}
