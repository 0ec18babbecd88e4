package steps

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"github.com/webordinary/router/containerboot/bootapi"
	"github.com/webordinary/router/containerboot/tool"
)

// detailLines is how many of the last lines the operator gets.
const detailLines = 40

// TooLongError is the cause of a context that ended because a start took too long.
type TooLongError struct {
	// Limit is how long it may take.
	Limit time.Duration
}

// Error says how long it may take.
func (e *TooLongError) Error() string { return "took longer than " + spoken(e.Limit) }

// Is makes it a context's deadline.
func (e *TooLongError) Is(target error) bool { return target == context.DeadlineExceeded }

// spoken is a duration in words.
func spoken(d time.Duration) string {
	if d%time.Minute == 0 && d > time.Minute {
		return fmt.Sprintf("%d minutes", d/time.Minute)
	}
	return d.String()
}

// explain makes a failure of a step's error. what begins the sentence where nothing
// better is known ("The build failed").
func (b *Builder) explain(phase bootapi.Phase, what string, err error) error {
	f := &Error{Failure: bootapi.Failure{Phase: phase, Cause: what + "."}, err: err}
	if failed := (*Error)(nil); errors.As(err, &failed) {
		return err
	}
	if failed := b.asFault(phase, err); failed != nil {
		return failed
	}
	f.Detail = detailOf(err)
	run := (*tool.Error)(nil)
	isRun := errors.As(err, &run)
	missing := (*exec.Error)(nil)
	late := (*TooLongError)(nil)
	switch {
	case isDiskFull(err):
		f.Cause, f.Retryable = diskFull, true
	case errors.Is(err, tool.ErrCrowded):
		f.Cause = what + ": it started too many processes."
	case errors.As(err, &late):
		f.Cause, f.Retryable = tooLong(what, late.Limit, run), true
	case errors.Is(err, context.DeadlineExceeded):
		f.Cause, f.Retryable = what+": it took too long.", true
	case errors.Is(err, context.Canceled):
		f.Cause, f.Retryable = what+": it was stopped.", true
	case errors.As(err, &missing):
		f.Cause = fmt.Sprintf("%s: the program %q is not installed here.", what, missing.Name)
	case isRun:
		f.Cause, f.Retryable = b.causeOf(what, run)
	}
	return f
}

// tooLong says that all of a start took too long, and what was done at the end.
func tooLong(what string, limit time.Duration, run *tool.Error) string {
	cause := fmt.Sprintf("%s: starting took longer than %s, which is as long as it may take", what, spoken(limit))
	if run != nil {
		if last := lastSaid(run.Lines); last != "" {
			return sentence(fmt.Sprintf("%s. The last that was heard of it is: %s", cause, last))
		}
	}
	return cause + "."
}

// lastSaid is the last line of output that says something.
func lastSaid(lines []string) string {
	last, _ := lastComplaint(lines, func(string) bool { return false })
	return last
}

// detailOf is what an operator is told of an error: of a tool's, its last lines.
func detailOf(err error) string {
	run := (*tool.Error)(nil)
	if !errors.As(err, &run) {
		return err.Error()
	}
	return strings.Join(append([]string{run.Error()}, lastOf(run.Lines, detailLines)...), "\n")
}

func lastOf(lines []string, n int) []string { return lines[max(0, len(lines)-n):] }

// reason is what a tool's output says is wrong, without the step that failed.
func (b *Builder) reason(run *tool.Error) string {
	cause, _ := b.causeOf("", run)
	return strings.TrimPrefix(cause, ": ")
}

// causeOf finds the sentence in a tool's output that says what is wrong.
func (b *Builder) causeOf(what string, run *tool.Error) (cause string, retryable bool) {
	said := output{lines: run.Lines, env: b.env, own: []string{b.dir, b.rootDir()}}
	for _, table := range [][]known{anyTools, npms, pnpms, yarns} {
		for _, k := range table {
			if at, groups := said.find(k.says); groups != nil {
				if cause = k.cause(said, at, groups); cause != "" {
					return sentence(b.inSite(cause)), k.retryable
				}
			}
		}
	}
	if run.Killed() {
		return noMemory + limitText(), false
	}
	found := findingIn(run.Lines)
	if found.message == "" {
		return fmt.Sprintf("%s: %s ended with status %d.", what, run.Name, run.Code), false
	}
	where := b.placeOf(found.spot)
	if fault, ok := said.networkFault(found.message); ok {
		return sentence(joinNonempty(": ", what, where, fault.text)), fault.retryable
	}
	message := b.inSite(found.message)
	if where != "" && strings.Contains(message, where) {
		where = "" // it says so itself
	}
	return sentence(what + ": " + joinNonempty(": ", where, message)), false
}

// joinNonempty joins what is not empty.
func joinNonempty(by string, parts ...string) string {
	var all []string
	for _, p := range parts {
		if p != "" {
			all = append(all, p)
		}
	}
	return strings.Join(all, by)
}
