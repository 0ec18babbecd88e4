package containerboot

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/webordinary/router/containerboot/bootapi"
	"github.com/webordinary/router/containerboot/buildcache"
	"github.com/webordinary/router/containerboot/daemon"
	"github.com/webordinary/router/containerboot/site"
	"github.com/webordinary/router/containerboot/steps"
)

const (
	// retireGrace is how long the server of an earlier build may go on answering what it
	// was asked; streams and sockets end with it, and their pages load themselves again.
	retireGrace = 30 * time.Second
	// serverGrace is how long a server may take to end after SIGTERM: see tool.Run.
	serverGrace = 6 * time.Second
)

// serving is what the site serves.
type serving struct {
	entry   *buildcache.Entry // held so that no eviction takes it; nil without a build
	server  *daemon.Daemon    // nil where the site is static
	program *site.Program     // nil where the site is static
	forget  func()            // removes what the server ran from; may be nil
	idle    chan struct{}     // closed when nothing is served from it any more
	stamp   string            // of the packages that a development server runs with
}

// end stops the server, if there is one, and lets the build go.
func (s *serving) end(ctx context.Context) {
	if s.server != nil {
		ctx, cancel := context.WithTimeout(ctx, serverGrace)
		defer cancel()
		s.server.Stop(ctx)
		s.program.Close()
	}
	if s.forget != nil {
		s.forget()
	}
	if s.entry != nil {
		s.entry.Release()
	}
}

// serve switches the site to a build and lets the one before go. A build with a server
// takes over only when that answers.
func (x *session) serve(ctx context.Context, entry *buildcache.Entry) error {
	s := &serving{entry: entry}
	if x.builder.IsServer(entry.Dir()) {
		d, forget, err := x.builder.StartServer(ctx, entry.Dir(), x.said())
		if err != nil {
			entry.Release()
			return err
		}
		s.server, s.forget = d, forget
		s.program = site.NewProgram(site.ProgramConfig{Target: d, Prefix: x.claim.Prefix, Base: steps.ServerBase(entry.Dir())})
		if err := x.probe(ctx, s.program, serverAnswers); err != nil {
			s.end(context.WithoutCancel(ctx))
			return err
		}
	}
	return x.switchTo(ctx, s, site.Output{Root: x.builder.Files(entry.Dir()), ID: buildID(entry)})
}

// buildID names a build in the pages that it makes.
func buildID(entry *buildcache.Entry) string {
	sum := sha256.Sum256([]byte(entry.Dir()))
	return hex.EncodeToString(sum[:8])
}

// produceDev installs and has the development server serve. It sees by itself what
// changes in the workspace, but for the packages.
func (x *session) produceDev(ctx context.Context, kind buildKind) error {
	content, err := x.content(ctx)
	if err != nil {
		return err
	}
	err = x.install(ctx, content)
	if kind == firstBuild {
		x.overlookDirt(ctx)
	}
	if err != nil {
		return err
	}
	stamp := x.builder.InstallStamp()
	if s := x.present(); s != nil {
		if kind == rebuiltIfNew && s.stamp == stamp {
			return nil
		}
		s.stamp = stamp
		x.builder.RefreshServers()
		if err := s.server.Restart(ctx); err != nil {
			return err
		}
		return x.probe(ctx, s.program, devAnswers)
	}
	d, base, err := x.builder.StartDev(ctx, x.claim.Prefix, x.claim.EditHosts, x.said())
	if err != nil {
		return err
	}
	s := &serving{server: d, stamp: stamp, program: site.NewProgram(site.ProgramConfig{
		Target: d, Prefix: x.claim.Prefix, KnowsPrefix: true, Serves: base, Hosts: x.claim.EditHosts,
	})}
	if err := x.probe(ctx, s.program, devAnswers); err != nil {
		s.end(context.WithoutCancel(ctx))
		return err
	}
	return x.switchTo(ctx, s, site.Output{})
}

// switchTo serves from now on, and lets what was served before go.
func (x *session) switchTo(ctx context.Context, s *serving, o site.Output) error {
	s.idle = make(chan struct{})
	o.Program, o.Released = s.program, func() { close(s.idle) }
	if err := x.site.Switch(o); err != nil {
		s.end(context.WithoutCancel(ctx))
		return fmt.Errorf("serving the build: %w", err)
	}
	x.servingMu.Lock()
	old := x.serving
	x.serving = s
	x.servingMu.Unlock()
	x.board.Serving(o.ID)
	switch {
	case old == nil:
	case old.server == nil:
		old.end(ctx)
	default:
		x.retiring.Go(func() { x.retire(old) }) //nolint:contextcheck // it outlives the rebuild
	}
	return nil
}

// retire ends what was served before, once nothing is.
func (x *session) retire(old *serving) {
	late := time.NewTimer(retireGrace)
	defer late.Stop()
	select {
	case <-old.idle:
	case <-late.C:
	case <-x.life.Done():
	}
	old.end(context.WithoutCancel(x.life))
}

func (x *session) present() *serving {
	x.servingMu.Lock()
	defer x.servingMu.Unlock()
	return x.serving
}

// isDown reports whether the site's server, if it has one, does not listen.
func (x *session) isDown() bool {
	s := x.present()
	return s != nil && s.server != nil && !s.server.IsUp()
}

// said publishes what becomes of a server after the boot. Before, the boot finds out.
func (x *session) said() steps.Said {
	return steps.Said{
		Ended: func(cause string, _ time.Duration) {
			if x.board.Phase() == bootapi.PhaseReady {
				x.board.Fail(bootapi.Failure{Phase: bootapi.PhaseReady, Cause: cause, Retryable: true})
			}
		},
		Up: func() {
			if f := x.board.Status().Failure; f != nil && f.Phase == bootapi.PhaseReady {
				x.board.Recovered()
			}
		},
	}
}

// close ends the servers, and lets the served build and the site's tools go.
func (x *session) close(ctx context.Context) {
	x.servingMu.Lock()
	s := x.serving
	x.serving = nil
	x.servingMu.Unlock()
	if s != nil {
		s.end(ctx)
	}
	waitFor(ctx, &x.retiring)
	x.builder.Close()
}
