package caddymodule

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"sync/atomic"
	"time"

	"github.com/webordinary/router/containerboot/bootapi"
)

// trip is one request's way to its container, until the answer's header is there.
type trip struct {
	pool    *pool
	proof   string // what each response must hold
	address string
	ctx     context.Context //nolint:containedctx // the request's own; lost ends it
	cancel  context.CancelCauseFunc
	silence *time.Timer
	ended   atomic.Bool // answered, failed, or given up: only one of them counts
	silent  *lostError  // why it was given up
	relay   func(code int, header textproto.MIMEHeader) error
}

// begin watches a request that is about to be sent, and returns the context to send it
// with. Caddy's proxy relays informational responses from within RoundTrip by the hook
// of a trace; it is replaced, in a trace that is this request's alone, because hooks that
// are added run beside it and could not hold anything back.
func (x *trip) begin(ctx context.Context) context.Context {
	x.ctx, x.cancel = context.WithCancelCause(ctx)
	if trace := httptrace.ContextClientTrace(ctx); trace != nil && trace.Got1xxResponse != nil {
		x.relay, trace.Got1xxResponse = trace.Got1xxResponse, x.inform
	}
	x.silence = time.AfterFunc(silentFor, x.suspect)
	return x.ctx
}

// end reports whether the request has not been given up for silence.
func (x *trip) end() bool {
	x.silence.Stop()
	return x.ended.CompareAndSwap(false, true)
}

// suspect asks the container itself when it has not answered for some time. A site may
// take as long as it likes; a container that is gone, or hangs, ends the wait. Nothing
// else would: to a host that has vanished a connection stays open for many minutes.
func (x *trip) suspect() {
	again := time.NewTicker(askAgain)
	defer again.Stop()
	for !x.ended.Load() {
		err := x.pool.ask(x.ctx, x.address)
		var lost *lostError
		switch {
		case x.ended.Load():
			return
		case errors.As(err, &lost) && x.ctx.Err() == nil:
			x.silent = &lostError{error: err}
			if x.ended.CompareAndSwap(false, true) {
				x.cancel(err)
			}
			return
		}
		select {
		case <-again.C:
		case <-x.ctx.Done():
			return
		}
	}
}

// inform relays an informational response. That a body is wanted (100) is said by the
// edge's own server, when the body is read; it has no headers.
func (x *trip) inform(code int, header textproto.MIMEHeader) error {
	if code == http.StatusContinue {
		return nil
	}
	if err := x.check(http.Header(header)); err != nil {
		return err
	}
	return x.relay(code, header)
}

// check finds out whether a response is the container's, and takes away what is said to
// the edge alone. Its error is a lostError.
func (x *trip) check(header http.Header) error {
	switch {
	case bootapi.CheckResponse(header, x.proof):
		if header.Get(bootapi.HeaderRefused) == bootapi.RefusedEnding {
			return &lostError{error: errEnding}
		}
	case header.Get(bootapi.HeaderRefused) != "":
		return &lostError{error: errMisdirected}
	default:
		return &lostError{error: errUnproven}
	}
	for name := range header {
		if strings.HasPrefix(name, bootapi.HeaderPrefix) {
			delete(header, name)
		}
	}
	return nil
}
