package caddymodule

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync/atomic"

	"github.com/webordinary/router/containerboot/bootapi"
)

var (
	// errMisdirected: what answers at the container's address is another container.
	errMisdirected = errors.New("another container answers at this address")
	// errUnproven: an answer is not known to be the container's.
	errUnproven = errors.New("an answer comes without the container's proof")
)

// errEnding: the container ends, for instance because its session was put to sleep.
var errEnding = errors.New("the container is about to end")

// lostError says that a request failed because its session's container is not there, or
// is another's.
type lostError struct {
	error
	// unsent: nothing of the request has left the edge, so it may be sent again.
	unsent bool
}

// Unwrap returns the cause.
func (e *lostError) Unwrap() error { return e.error }

// visitorError says that a request failed because its body could not be read from the visitor.
type visitorError struct{ error }

// Unwrap returns the cause.
func (e *visitorError) Unwrap() error { return e.error }

// status is what such a request is answered with.
func (e *visitorError) status() int {
	if _, ok := errors.AsType[*http.MaxBytesError](e.error); ok {
		return http.StatusRequestEntityTooLarge
	}
	return http.StatusBadRequest
}

// sortError tells the visitor's faults, and a container that is merely slow, from a
// container that is gone: only that may cost a session its route.
func sortError(req *http.Request, body *visitorBody, err error) error {
	if body != nil {
		if fault := body.fault.Load(); fault != nil {
			return &visitorError{*fault}
		}
	}
	var lost *lostError
	var timeout net.Error
	switch {
	case req.Context().Err() != nil, errors.Is(err, context.Canceled):
		return err
	case errors.As(err, &lost):
		return &lostError{error: err, unsent: lost.unsent && (body == nil || !body.read.Load())}
	case bootapi.Exhausted(err):
		return err // the edge's own fault
	case errors.As(err, &timeout) && timeout.Timeout():
		return err // the operator's limits for slow answers
	default:
		return &lostError{error: err}
	}
}

// visitorBody remembers whether a request's body was read, and whether that failed.
type visitorBody struct {
	io.ReadCloser

	read  atomic.Bool
	fault atomic.Pointer[error]
}

// Close implements io.Closer. A body of which nothing was read may be sent yet; the
// edge's server closes it in any case.
func (b *visitorBody) Close() error {
	if !b.read.Load() {
		return nil
	}
	return b.ReadCloser.Close()
}

// Read implements io.Reader.
func (b *visitorBody) Read(p []byte) (int, error) {
	b.read.Store(true)
	n, err := b.ReadCloser.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		b.fault.CompareAndSwap(nil, &err)
	}
	return n, err
}
