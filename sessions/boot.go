package sessions

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/webordinary/router/configstore"
	"github.com/webordinary/router/containerboot/bootapi"
)

const (
	// pollFirst and pollMost bound the waits between looks at a container that is coming up.
	pollFirst = 20 * time.Millisecond
	pollMost  = 500 * time.Millisecond
	// startPatience is how long a start is tried again while the runner is
	// unavailable or has no room.
	startPatience = 15 * time.Second
	// strangerPatience is how long something else may answer at the container's address.
	strangerPatience = 10 * time.Second
	// saveHint is after how long a start is taken to wait for an older container.
	saveHint = 300 * time.Millisecond
)

// savingStep is shown while an earlier container of the session is waited for.
const savingStep = "saving the previous run"

// errEnded: the container ended, or is about to, before the site was ready.
var errEnded = errors.New("container ended")

// errBootDeadline ends a wake that takes too long.
var errBootDeadline = errors.New("boot deadline exceeded")

// boot is one wake: from a record that is initializing to one that is active.
type boot struct {
	s       *Service
	e       *live
	h       *held
	client  configstore.Client
	timings *timings
	// resumed: the container may have been started and claimed by an edge that died.
	resumed bool
	since   time.Time // when this edge began with it
	reused  []string  // as the container tells it
}

// run returns nil when the session is active and has its route.
func (b *boot) run(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, b.s.bootDeadline, errBootDeadline)
	defer cancel()
	err := b.steps(ctx)
	if err != nil && errors.Is(context.Cause(ctx), errBootDeadline) {
		return &bootError{
			phase: b.timings.phase, err: err, retryable: true,
			cause: fmt.Sprintf("The site was not ready within %s.", b.s.bootDeadline),
		}
	}
	return err
}

func (b *boot) steps(ctx context.Context) error {
	// First, because it may fail for a reason that makes a container useless.
	claim, err := b.claim(ctx)
	if err != nil {
		return err
	}
	if b.h.record().Container == "" {
		if err := b.start(ctx); err != nil {
			return err
		}
	}
	if b.resumed {
		// It may answer as ever, and not have noticed yet that its edge died.
		if _, err := b.describe(ctx); err != nil {
			return err
		}
	}
	if err := b.locate(ctx); err != nil {
		return err
	}
	if err := b.prove(ctx); err != nil {
		return err
	}
	if err := b.give(ctx, claim); err != nil {
		return err
	}
	if err := b.follow(ctx); err != nil {
		return err
	}
	return b.ready(ctx)
}

// start has the runner start the container, and writes down which it is.
func (b *boot) start(ctx context.Context) error {
	r := b.h.record()
	if r.Epoch > 1 {
		hint := time.AfterFunc(saveHint, func() { b.e.step(savingStep) })
		defer hint.Stop()
	}
	req := StartRequest{
		SessionID: r.SessionID, ClientID: r.ClientID, Epoch: r.Epoch,
		TokenHash: bootapi.HashToken(string(r.Start.Token)), Size: r.Start.Size,
	}
	began, wait := time.Now(), pollMost
	for {
		// Idempotent: after an edge that died has asked for it, this gives its container.
		c, err := b.s.runner.Start(ctx, req)
		if err == nil {
			ev := Event{Kind: EventStarted, Container: c.Ref}
			if c.Address != "" {
				if ev.IP, ev.Port, err = splitAddress(c.Address); err != nil {
					return b.fail("The session's container could not be reached.", err)
				}
			}
			b.e.step("")
			return b.h.apply(ctx, ev)
		}
		if ctx.Err() != nil {
			return err
		}
		if !errors.Is(err, ErrCapacity) && !errors.Is(err, ErrRunnerUnavailable) {
			return b.fail("The session's container could not be started.", err)
		}
		if time.Since(began) > startPatience {
			if errors.Is(err, ErrCapacity) {
				return b.fail("There is no room for another session at the moment.", err)
			}
			return b.fail("The session's container could not be started.", err)
		}
		b.e.step("waiting for room")
		if err := sleep(ctx, wait); err != nil {
			return err
		}
		wait = min(2*wait, retryMost)
	}
}

// locate waits until the container has an address, and writes it down.
func (b *boot) locate(ctx context.Context) error {
	for wait := pollFirst; b.h.record().address() == ""; wait = min(2*wait, pollMost) {
		c, err := b.describe(ctx)
		switch {
		case err != nil:
			return err
		case c.Address != "":
			ip, port, err := splitAddress(c.Address)
			if err != nil {
				return b.fail("The session's container could not be reached.", err)
			}
			return b.h.apply(ctx, Event{Kind: EventLocated, IP: ip, Port: port})
		}
		b.e.step(clip(c.Reason, maxStep))
		if err := sleep(ctx, wait); err != nil {
			return err
		}
	}
	return nil
}

// describe asks the runner for the container. An error is a reason to fail; while the
// runner is unavailable the container counts as running.
func (b *boot) describe(ctx context.Context) (Container, error) {
	ctx, cancel := context.WithTimeout(ctx, describeTimeout)
	defer cancel()
	c, err := b.s.runner.Describe(ctx, b.h.record().Container)
	switch {
	case errors.Is(err, ErrNoContainer) && (b.s.exclusive && b.resumed || time.Since(b.since) > unseenPatience):
		return c, b.ended(err.Error())
	case err != nil: // or it may be too new to be known
		return Container{Running: true}, nil
	case !c.Running || c.Ending:
		return c, b.ended(c.Reason)
	}
	return c, nil
}

// prove waits until the container answers, and checks that it is the right one.
func (b *boot) prove(ctx context.Context) error {
	r := b.h.record()
	var stranger time.Time
	for wait := pollFirst; ; wait = min(wait*3/2, pollMost/2) {
		err := b.s.containers.prove(ctx, r.address(), r.Start.Token)
		if err == nil {
			return nil
		}
		if errors.Is(err, bootapi.ErrStranger) {
			if stranger.IsZero() {
				stranger = time.Now()
			}
			if time.Since(stranger) > strangerPatience {
				return b.fail("The session's container could not be reached.", err)
			}
		}
		if _, err := b.describe(ctx); err != nil {
			return err
		}
		if err := sleep(ctx, wait); err != nil {
			return err
		}
	}
}

// give claims the container.
func (b *boot) give(ctx context.Context, claim bootapi.Claim) error {
	r := b.h.record()
	for wait := pollFirst; ; wait = min(2*wait, pollMost) {
		status, err := b.s.containers.claim(ctx, r.address(), claim)
		var refused *refusedError
		switch {
		case err == nil:
			b.show(bounded(status))
			return nil
		case errors.Is(err, errClaimed) && b.resumed:
			return nil // by the edge that died; what was claimed then may differ by now
		case errors.Is(err, errClaimed), errors.As(err, &refused):
			return b.fail("The session's container refused to start the site.", err)
		}
		if _, err := b.describe(ctx); err != nil {
			return err
		}
		if err := sleep(ctx, wait); err != nil {
			return err
		}
	}
}

// follow shows the container's progress until it says that the site is ready.
func (b *boot) follow(ctx context.Context) error {
	r := b.h.record()
	for wait := pollFirst; ; wait = min(2*wait, pollMost) {
		var end error
		began := time.Now()
		err := b.s.containers.follow(ctx, r.address(), r.Start.Token, func(status bootapi.Status) bool {
			b.show(status)
			switch status.Phase {
			case bootapi.PhaseReady:
				b.reused = status.Reused
				return true
			case bootapi.PhaseFailed:
				end = b.told(status.Failure)
				return true
			case bootapi.PhaseStopping:
				end = b.ended("it is stopping")
				return true
			default:
				return false
			}
		}, b.e.addLog)
		if err == nil {
			return end
		}
		if _, err := b.describe(ctx); err != nil {
			return err
		}
		if time.Since(began) > streamOpen {
			wait = pollFirst // it was a good stream
		}
		if err := sleep(ctx, wait); err != nil {
			return err
		}
	}
}

// ready writes down that the site answers and opens the way to it.
func (b *boot) ready(ctx context.Context) error {
	b.timings.enter(bootapi.PhaseReady)
	limits := b.s.limitsFor(b.client.Settings)
	err := b.h.apply(ctx, Event{Kind: EventReady, AskAt: time.Now().Add(limits.nextAsk(0, time.Since(b.timings.started))).UTC()})
	if err != nil {
		return err
	}
	b.s.setRoute(b.e, b.h.record())
	return nil
}

// show publishes what the container says of itself.
func (b *boot) show(status bootapi.Status) {
	if b.e.showStatus(status) {
		b.timings.enter(status.Phase)
	}
}

// fail is a wake's failure in the present phase, which trying again may get over.
func (b *boot) fail(cause string, err error) error {
	return &bootError{phase: b.timings.phase, cause: cause, err: err, retryable: true}
}

// ended is the failure of a wake whose container has gone.
func (b *boot) ended(reason string) error {
	return b.fail("The session's container ended before the site was ready.", fmt.Errorf("%w: %s", errEnded, reason))
}

// told is a failure that the container reports.
func (b *boot) told(f *bootapi.Failure) error {
	if f == nil {
		return b.fail("The site could not be started.", errors.New("the container gave no reason"))
	}
	e := &bootError{phase: b.timings.phase, cause: f.Cause, text: f.Detail, retryable: f.Retryable}
	switch f.Phase {
	case bootapi.PhaseClaimed, bootapi.PhaseCloning, bootapi.PhaseInstalling, bootapi.PhaseBuilding, bootapi.PhaseReady:
		e.phase = f.Phase
	default: // not a phase in which a site can fail
	}
	if e.cause == "" {
		e.cause = "The site could not be started."
	}
	return e
}

// claim is what the container is given.
func (b *boot) claim(ctx context.Context) (bootapi.Claim, error) {
	key, err := b.key(ctx)
	if err != nil {
		return bootapi.Claim{}, err
	}
	r, t, c := b.h.record(), b.s.tunables.Load(), b.client
	hosts := append([]string{c.Domains.Edit}, c.Domains.Aliases...)
	for _, p := range t.HostPatterns {
		hosts = append(hosts, p.Host(c.ClientID))
	}
	site := bootapi.Site{
		RepositoryURL: c.Repository.URL, Branch: c.Repository.Branch, Directory: c.Repository.Directory,
		DeployKey: key, AllowFile: t.AllowFile,
	}
	if build := c.Build; build != nil {
		site.Install, site.Command, site.Output = build.Install, build.Command, build.Output
		site.Mode, site.NodeVersion = string(build.Mode), build.NodeVersion
		site.Env, site.HealthPath = build.Env, build.HealthPath
	}
	return bootapi.Claim{
		Token: string(r.Start.Token), SessionID: r.SessionID, ClientID: r.ClientID, Epoch: r.Epoch,
		Site: site, EditBranch: r.EditBranch, Prefix: Prefix(r.SessionID), EditHosts: hosts,
		AbandonAfterSeconds: int64(b.s.limitsFor(c.Settings).abandonAfter().Seconds()),
		Instruction:         r.Instruction,
	}, nil
}

// key is the client's deploy key, which may be behind a reference.
func (b *boot) key(ctx context.Context) (bootapi.Secret, error) {
	key := b.client.Repository.DeployKey
	if !key.IsReference() {
		return bootapi.Secret(key), nil
	}
	if b.s.deployKey == nil {
		return "", b.keyError(errors.New("deploy key is a reference, and nothing resolves it here"))
	}
	text, err := b.s.deployKey(ctx, b.client.ClientID, b.client.Repository)
	if err != nil {
		return "", b.keyError(err)
	}
	return bootapi.Secret(text), nil
}

func (b *boot) keyError(err error) error {
	return &bootError{
		phase: b.timings.phase, cause: "The client's deploy key cannot be read.", err: err,
		retryable: errors.Is(err, configstore.ErrUnavailable),
	}
}
