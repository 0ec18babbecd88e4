package containerboot

import (
	"context"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/webordinary/router/containerboot/bootapi"
)

const (
	// saveGrace is how long a save may take on which a stop or a sleep waits, what is
	// kept back of it for a bundle included.
	saveGrace = bootapi.StopGrace - endGrace - closeGrace - spareGrace
	// demandGrace is how long any other may take: a large push needs its time.
	demandGrace = 2 * time.Minute
)

// What the commits of a save are called.
const (
	saveByDemand = "Save work"
	saveBySleep  = "Save work before sleep"
	saveByStop   = "Save work before the session ends"
)

// save saves the work within a time and publishes the outcome. There is nothing to
// save before a working tree was prepared. ctx is the container's life, not that of
// the request which asked: a stop interrupts a save under way, which then bundles what
// the remote has not taken.
func (x *session) save(ctx context.Context, message string, atMost time.Duration) (bootapi.SaveResult, error) {
	if !x.prepared.Load() {
		return bootapi.SaveResult{Where: "nothing"}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, atMost)
	defer cancel()
	if err := x.takeTurn(ctx); err != nil {
		return bootapi.SaveResult{}, err
	}
	defer x.endTurn()
	start := time.Now()
	result, err := x.tree.Save(ctx, message)
	if err != nil {
		return result, fmt.Errorf("saving the work: %w", err)
	}
	x.board.Saved(result)
	if result.Commit != "" {
		x.board.Content(result.Commit, x.claim.EditBranch)
	}
	x.log.Info("work saved", zap.String("where", result.Where), zap.String("commit", result.Commit),
		zap.String("remote_error", result.Error), zap.Duration("took", time.Since(start)))
	return result, nil
}

// takeTurn waits until nobody else changes the workspace or saves it. endTurn must follow.
func (x *session) takeTurn(ctx context.Context) error {
	select {
	case x.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("waiting for a build or a save to end: %w", context.Cause(ctx))
	}
}

func (x *session) endTurn() { <-x.turn }
