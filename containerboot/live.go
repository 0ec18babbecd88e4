package containerboot

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/webordinary/router/containerboot/activity"
	"github.com/webordinary/router/containerboot/bootapi"
	"github.com/webordinary/router/containerboot/progress"
)

const (
	// The end must fit into the 30 s that a container runtime grants by default:
	// stopGrace for what is being built (which gets SIGTERM, and SIGKILL after 5 s),
	// saveGrace for saving, closeGrace for answers under way.
	stopGrace  = 7 * time.Second
	saveGrace  = 20 * time.Second
	closeGrace = time.Second

	// claimDeadline is how long a container waits to be claimed: as long as an edge
	// may take to boot one.
	claimDeadline = 10 * time.Minute
	// watchEvery is how often silence is looked at.
	watchEvery = time.Second

	headerTimeout = 10 * time.Second
	idleTimeout   = 5 * time.Minute // longer than the edges keep idle connections
	maxHeader     = 64 << 10
)

const saveByStop = "Save work before the session ends"

// live serves until ctx ends, or until nobody has been heard of for too long, and
// returns the exit status.
func live(ctx context.Context, s *settings, listener net.Listener, log *zap.Logger) int {
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)

	account := activity.New(time.Now)
	board := progress.New(time.Now, account.Idle)
	var running sync.WaitGroup
	srv := &server{tokenHash: s.tokenHash, sessionID: s.sessionID, board: board}
	srv.hear()
	srv.start = func(claim bootapi.Claim) (*session, error) {
		log := log.With(zap.String("session", claim.SessionID), zap.String("client", claim.ClientID), zap.Int64("epoch", claim.Epoch))
		x, err := newSession(s, claim, board, account, log)
		if err != nil {
			return nil, err
		}
		board.Claimed(claim.SessionID, claim.Epoch)
		log.Info("session claimed")
		running.Go(func() { x.run(ctx) })
		if claim.AbandonAfterSeconds > 0 {
			running.Go(func() { srv.watch(ctx, time.Duration(claim.AbandonAfterSeconds)*time.Second, end) })
		}
		return x, nil
	}

	web := &http.Server{
		Handler:           srv,
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          zap.NewStdLog(log),
	}
	served := make(chan error, 1)
	go func() { served <- web.Serve(listener) }()
	log.Info("listening", zap.String("address", listener.Addr().String()))

	if s.standalone != nil {
		if err := srv.take(*s.standalone); err != nil {
			log.Error("starting failed", zap.Error(err))
			_ = web.Close()
			return exitSettings
		}
	} else {
		unclaimed := time.AfterFunc(claimDeadline, func() {
			if srv.session.Load() == nil {
				end(errUnclaimed)
			}
		})
		defer unclaimed.Stop()
	}

	code := exitOK
	select {
	case err := <-served:
		log.Error("serving failed", zap.Error(err))
		code = exitServer
		end(err)
	case <-ctx.Done():
	}
	return srv.stop(context.WithoutCancel(ctx), context.Cause(ctx), web, &running, log, code)
}

// watch ends the container when no edge has been heard of for a time.
func (s *server) watch(ctx context.Context, atMost time.Duration, end context.CancelCauseFunc) {
	tick := time.NewTicker(min(watchEvery, atMost))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if s.silence() >= atMost {
				end(errAbandoned)
				return
			}
		}
	}
}

// stop saves the work and ends what runs, for the reason given. The life's context
// has ended, and what was being built is stopping already; ctx is without that end.
func (s *server) stop(ctx context.Context, why error, web *http.Server, running *sync.WaitGroup, log *zap.Logger, code int) int {
	log.Info("stopping", zap.String("reason", why.Error()))
	if errors.Is(why, errUnclaimed) {
		code = exitUnclaimed
	}
	x := s.session.Load()
	failure := s.board.Status().Failure
	booted := s.board.Phase() != bootapi.PhaseFailed
	s.board.Enter(bootapi.PhaseStopping, "saving")
	if x != nil {
		if !waitFor(running, stopGrace) {
			x.log.Error("what was being built did not stop in time")
		}
		saving, cancel := context.WithTimeout(ctx, saveGrace)
		_, err := x.save(saving, saveByStop)
		cancel()
		if err != nil {
			x.log.Error("saving at the end failed", zap.Error(err))
			code = exitUnsaved
		} else if code == exitOK && !booted && failure != nil {
			code = exitAfter(failure.Phase)
		}
		x.close()
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

// waitFor waits for a group, but not longer than a time.
func waitFor(g *sync.WaitGroup, atMost time.Duration) bool {
	done := make(chan struct{})
	go func() {
		g.Wait()
		close(done)
	}()
	timer := time.NewTimer(atMost)
	defer timer.Stop()
	select {
	case <-done:
		return true
	case <-timer.C:
		return false
	}
}
