package containerboot

import (
	"errors"
	"strings"

	"go.uber.org/zap"

	"github.com/webordinary/router/containerboot/bootapi"
	"github.com/webordinary/router/containerboot/steps"
	"github.com/webordinary/router/containerboot/worktree"
)

// failed publishes why a boot or a rebuild failed, with the details in the log.
func (x *session) failed(message string, err error) {
	f := failureOf(err, x.board.Phase())
	// A build that lacks part of the repository seldom says so itself.
	if missing := x.missing.Load(); missing != nil && f.Phase == bootapi.PhaseBuilding {
		f.Cause = strings.Join(append([]string{f.Cause}, *missing...), " ")
	}
	x.log.Error(message, zap.String("phase", string(f.Phase)), zap.String("cause", f.Cause),
		zap.String("detail", f.Detail), zap.Bool("retryable", f.Retryable))
	x.board.Fail(f)
}

// failureOf says an error in words for an editor and an operator.
func failureOf(err error, phase bootapi.Phase) bootapi.Failure {
	if e := (*steps.Error)(nil); errors.As(err, &e) {
		return e.Failure
	}
	f := bootapi.Failure{Phase: phase, Cause: "Starting the session failed.", Detail: err.Error()}
	if e := (*worktree.Error)(nil); errors.As(err, &e) {
		f.Cause, f.Detail, f.Retryable = e.Cause, e.Detail, e.Retryable
		return f
	}
	if e := (*unready)(nil); errors.As(err, &e) {
		f.Phase, f.Cause = bootapi.PhaseReady, e.Error()
	}
	if errors.Is(err, errAsleep) {
		f.Cause, f.Retryable = "The session was put to sleep while it was starting.", true
	}
	return f
}

// causeOf is the sentence of an error that is meant for an editor, or all of it.
func causeOf(err error) string {
	if e := (*worktree.Error)(nil); errors.As(err, &e) {
		return e.Cause
	}
	return err.Error()
}
