package containerboot

import (
	"context"
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
	// claimDeadline is how long a container waits to be claimed: as long as an edge
	// may take to boot one.
	claimDeadline = 10 * time.Minute
	// watchEvery is how often silence is looked at.
	watchEvery = time.Second

	headerTimeout = 10 * time.Second
	idleTimeout   = 5 * time.Minute // longer than the edges keep idle connections
	// maxHeader is more than an edge takes by default (1 MB) and adds: what is refused
	// for its size comes without a proof, as if from another container.
	maxHeader = 1<<20 + 64<<10
)

// live serves until ctx ends, or until nobody has been heard of for too long, and
// returns the exit status.
func live(ctx context.Context, s *settings, listener net.Listener, log *zap.Logger) int {
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)

	account := activity.New(time.Now)
	board := progress.New(time.Now, account.Idle)
	var running sync.WaitGroup
	srv := &server{tokenHash: s.tokenHash, sessionID: s.sessionID, board: board, born: time.Now()}
	srv.start = func(claim bootapi.Claim) (*session, error) {
		log := log.With(zap.String("session", claim.SessionID), zap.String("client", claim.ClientID), zap.Int64("epoch", claim.Epoch))
		x, err := newSession(ctx, s, claim, board, account, log)
		if err != nil {
			return nil, err
		}
		x.end, x.abandonAfter = end, srv.abandonAfter
		board.Claimed(claim.SessionID, claim.Epoch)
		log.Info("session claimed")
		running.Go(func() { x.run(ctx) })
		if s.autoSave > 0 {
			running.Go(func() { x.keepSaving(ctx, s.autoSave) })
		}
		if claim.AbandonAfterSeconds > 0 {
			srv.abandonAfter(time.Duration(claim.AbandonAfterSeconds) * time.Second)
			running.Go(func() { srv.watch(ctx, end) })
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

	switch {
	case s.table != nil:
		running.Go(func() {
			claim, err := s.table.claim(ctx, log)
			if err == nil {
				err = srv.take(*claim)
			}
			if err != nil && ctx.Err() == nil {
				log.Error("loading the client's configuration failed", zap.Error(err))
				end(errNoConfig)
			}
		})
	case s.standalone != nil:
		if err := srv.take(*s.standalone); err != nil {
			log.Error("starting failed", zap.Error(err))
			_ = web.Close()
			return exitSettings
		}
	default:
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

// watch ends the container when no edge has been heard of for too long.
func (s *server) watch(ctx context.Context, end context.CancelCauseFunc) {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if s.silence() >= time.Duration(s.patience.Load()) {
				end(errAbandoned)
				return
			}
		}
	}
}
