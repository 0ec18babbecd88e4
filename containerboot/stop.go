package containerboot

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/webordinary/router/containerboot/bootapi"
)

// The parts of bootapi.StopGrace, one after the other; what is left is saveGrace.
const (
	// endGrace is for requests under way and for what is being built, which gets
	// SIGTERM, and SIGKILL after 5 s.
	endGrace = 7 * time.Second
	// closeGrace is for answers under way.
	closeGrace = time.Second
	// spareGrace is for the end of the process itself.
	spareGrace = 2 * time.Second
)

// stop saves the work and ends what runs, for the reason given. The life's context
// has ended, and what was being built is stopping already; ctx is without that end.
func (s *server) stop(ctx context.Context, why error, web *http.Server, running *sync.WaitGroup, log *zap.Logger, code int) int {
	log.Info("stopping", zap.String("reason", why.Error()))
	switch {
	case errors.Is(why, errUnclaimed):
		code = exitUnclaimed
	case errors.Is(why, errNoConfig):
		code = exitNoConfig
	}
	x := s.endClaims()
	failure := s.board.Status().Failure
	booted := s.board.Phase() != bootapi.PhaseFailed
	s.board.Enter(bootapi.PhaseStopping, "saving")
	if x != nil {
		x.settleAtEnd(ctx, running)
		if _, err := x.save(ctx, saveByStop, saveGrace); err != nil {
			x.log.Error("saving at the end failed", zap.Error(err))
			code = exitUnsaved
		} else if code == exitOK && !booted && failure != nil {
			code = exitAfter(failure.Phase)
		}
	}
	s.board.Enter(bootapi.PhaseStopping, "")
	s.board.Close()

	ctx, cancel := context.WithTimeout(ctx, closeGrace)
	defer cancel()
	if web.Shutdown(ctx) != nil {
		_ = web.Close() // what is still open is cut off
	}
	log.Info("stopped", zap.Int("status", code))
	return code
}

// exitAfter is the status of a container whose boot had failed.
func exitAfter(phase bootapi.Phase) int {
	switch phase {
	case bootapi.PhaseInstalling:
		return exitInstalling
	case bootapi.PhaseBuilding:
		return exitBuilding
	case bootapi.PhaseReady:
		return exitNotAnswered
	default:
		return exitCloning
	}
}

// settleAtEnd waits until requests under way and what was being built have ended, so
// that what they wrote is saved.
func (x *session) settleAtEnd(ctx context.Context, running *sync.WaitGroup) {
	ctx, cancel := context.WithTimeout(ctx, endGrace)
	defer cancel()
	if !x.waitForWrites(ctx) {
		x.log.Warn("requests under way did not end in time")
	}
	if !waitFor(ctx, running) {
		x.log.Error("what was being built did not stop in time")
	}
	x.close(ctx)
}

// waitFor waits for a group, but not longer than ctx.
func waitFor(ctx context.Context, g *sync.WaitGroup) bool {
	done := make(chan struct{})
	go func() {
		g.Wait()
		close(done)
	}()
	select {
	case <-done:
		return true
	case <-ctx.Done():
		return false
	}
}
