package caddymodule

import (
	"errors"
	"net/http"

	"github.com/webordinary/router/configstore"
	"github.com/webordinary/router/sessions"
)

// adminError is the body of every answer that is not 200.
type adminError struct {
	Error string `json:"error"`
	// Faults are those of a client's configuration.
	Faults []configstore.Fault `json:"faults,omitempty"`
	// Host is the one that another client holds.
	Host string `json:"host,omitempty"`
	// Stored and Expected are the versions of a conflict; Stored is null where nothing is stored.
	Stored   *int64 `json:"stored,omitempty"`
	Expected *int64 `json:"expected,omitempty"`
}

func describeError(err error) adminError {
	e := adminError{Error: err.Error()}
	if invalid, ok := errors.AsType[*configstore.ValidationError](err); ok {
		e.Faults = invalid.Faults
	}
	if taken, ok := errors.AsType[*configstore.HostTakenError](err); ok {
		e.Host = taken.Host
	}
	if conflict, ok := errors.AsType[*configstore.ConflictError](err); ok {
		e.Expected = &conflict.Expect
		if conflict.Have != configstore.NoVersion {
			e.Stored = &conflict.Have
		}
	}
	return e
}

// adminStatusOf maps an error to an HTTP status.
func adminStatusOf(err error) int {
	_, invalid := errors.AsType[*configstore.ValidationError](err)
	for _, known := range []struct {
		status int
		is     bool
	}{
		{http.StatusUnprocessableEntity, invalid},
		{http.StatusPreconditionFailed, errors.Is(err, errPrecondition)},
		{http.StatusBadRequest, isAny(err, errBadRequest, sessions.ErrInvalid)},
		{http.StatusNotFound, isAny(err, sessions.ErrNotFound, configstore.ErrNotFound)},
		{http.StatusConflict, isAny(err, sessions.ErrConflict, sessions.ErrNotSaved, sessions.ErrUnsaved, sessions.ErrDisabled,
			configstore.ErrConflict, configstore.ErrExists, configstore.ErrHostTaken)},
		{http.StatusTooManyRequests, errors.Is(err, sessions.ErrLimit)},
		{http.StatusServiceUnavailable, isAny(err, errNoEdge, configstore.ErrUnavailable, sessions.ErrUnavailable,
			sessions.ErrRunnerUnavailable, sessions.ErrClosed, sessions.ErrNoRunner)},
	} {
		if known.is {
			return known.status
		}
	}
	return http.StatusInternalServerError
}

func isAny(err error, targets ...error) bool {
	for _, target := range targets {
		if errors.Is(err, target) {
			return true
		}
	}
	return false
}
