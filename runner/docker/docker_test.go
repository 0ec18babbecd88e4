package docker

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

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

// Other runners start containers of the image without a word about folders.
func TestImageHasAFolderAroundTheWorkspace(t *testing.T) {
	d := deploy(t, nil)
	image, err := d.cli.ImageInspect(t.Context(), d.o.Tunables.Image)
	require.NoError(t, err)
	assert.Contains(t, image.Config.Env, "WORKSPACE_PATH="+sessionPath+"/workspace")
}
