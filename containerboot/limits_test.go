package containerboot_test

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/containerboot/bootapi"
)

// TestStartThatTakesTooLong has a build that goes on for ever.
func TestStartThatTakesTooLong(t *testing.T) {
	t.Parallel()
	w := newWorld(t, plainSite)
	claim := w.claim("s1")
	claim.Site.Install, claim.Site.Command = "true", "echo kneading the dough; exec sleep 600" // nothing else takes long
	c, status := w.boot(claim, "BOOT_TIMEOUT=20s")
	require.Equal(t, bootapi.PhaseFailed, status.Phase)
	assert.Equal(t, bootapi.Failure{
		Phase: bootapi.PhaseBuilding, Retryable: true, Detail: status.Failure.Detail,
		Cause: "The build failed: starting took longer than 20s, which is as long as it may take. The last that was heard of it is: kneading the dough",
	}, *status.Failure)
	assert.Contains(t, status.Failure.Detail, "took longer than 20s")
	assert.Equal(t, 13, c.stop())
}

// fillDisk mounts a small disk over a folder, and says how to enlarge it.
func fillDisk(t *testing.T, dir, size string) (enlarge func()) {
	t.Helper()
	require.NoError(t, os.MkdirAll(dir, 0o755))
	mount := func(args ...string) {
		out, err := exec.Command("mount", append(args, dir)...).CombinedOutput()
		require.NoError(t, err, "this test takes root: %s", out)
	}
	mount("-t", "tmpfs", "-o", "mode=755,size="+size, "tmpfs")
	t.Cleanup(func() {
		out, err := exec.Command("umount", "--lazy", dir).CombinedOutput()
		assert.NoError(t, err, "%s", out)
	})
	return func() { mount("-o", "remount,size=400m") }
}

// TestFullDisk has the disk full at each step; with room, the next start is a good one. What
// the client's cache has no room for is served all the same.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	blob := strings.Repeat("0123456789abcdef", 1<<16) // 1 MB
	for name, tc := range map[string]struct {
		site  map[string]string
		small string // the folder on the small disk
		size  string
		phase bootapi.Phase
	}{
		"clone": {
			site: with(plainSite, map[string]string{"a.txt": "a" + blob, "b.txt": "b" + blob, "c.txt": "c" + blob}), small: "sessions/s1", size: "2m", phase: bootapi.PhaseCloning,
		},
		"install": {
			site: with(plainSite, map[string]string{
				"package.json":      `{"name":"site","private":true,"scripts":{"build":"node build.mjs","postinstall":"node fill.mjs"}}`,
				"package-lock.json": `{"name":"site","lockfileVersion":3,"requires":true,"packages":{"":{"name":"site","hasInstallScript":true}}}`,
				"fill.mjs":          "import fs from 'node:fs'; fs.writeFileSync('node_modules.bin', Buffer.alloc(60 << 20, 'x')); fs.rmSync('node_modules.bin')",
			}), small: "sessions/s1", size: "24m", phase: bootapi.PhaseInstalling,
		},
		"build": {
			site:  with(plainSite, map[string]string{"build.mjs": "import fs from 'node:fs'; fs.mkdirSync('dist', {recursive: true}); fs.writeFileSync('dist/index.html', Buffer.alloc(60 << 20, 'x'))"}),
			small: "sessions/s1", size: "24m", phase: bootapi.PhaseBuilding,
		},
		"cache": {
			site:  with(plainSite, map[string]string{"build.mjs": "import fs from 'node:fs'; fs.mkdirSync('dist', {recursive: true}); fs.writeFileSync('dist/index.html', Buffer.alloc(60 << 20, 'x'))"}),
			small: "cache", size: "24m", phase: bootapi.PhaseReady,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, tc.site)
			enlarge := fillDisk(t, filepath.Join(w.dir, tc.small), tc.size)
			claim := w.claim("s1")
			c, status := w.boot(claim)
			if tc.phase == bootapi.PhaseReady {
				require.Equal(t, tc.phase, status.Phase, "%+v", status.Failure)
				c.says("keeping the build for the client's sessions failed")
				c.says("no space left on device")
				code, _ := c.get("/")
				assert.Equal(t, http.StatusOK, code)
				require.Zero(t, c.stop())
				left, err := filepath.Glob(w.dir + "/cache/amelia/dist/*/*")
				require.NoError(t, err)
				assert.Empty(t, left)
				enlarge()
				claim.Epoch++
				w.ready(claim)
				return
			}
			require.Equal(t, bootapi.PhaseFailed, status.Phase)
			assert.Equal(t, tc.phase, status.Failure.Phase)
			assert.Equal(t, "The disk is full.", status.Failure.Cause)
			assert.True(t, status.Failure.Retryable || tc.phase == bootapi.PhaseCloning)
			assert.NotEmpty(t, status.Failure.Detail)
			c.stop()

			enlarge()
			claim.Epoch++
			w.ready(claim)
		})
	}
}
