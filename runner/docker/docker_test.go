package docker

import (
	"testing"

	"github.com/webordinary/router/sessions"
	"github.com/webordinary/router/sessions/runnertest"
)

func TestConformance(t *testing.T) {
	deployments := map[sessions.Runner]*deployment{}
	edge := func(d *deployment) sessions.Runner {
		r := d.runner()
		deployments[r] = d
		return r
	}
	runnertest.Run(t, runnertest.Options{
		New:      func(t *testing.T) sessions.Runner { return edge(deploy(t, nil)) },
		Another:  func(_ *testing.T, r sessions.Runner) sessions.Runner { return edge(deployments[r]) },
		Crash:    func(_ *testing.T, r sessions.Runner, c sessions.Container) { deployments[r].kill(c) },
		Outlive:  true,
		Patience: patience,
	})
}
