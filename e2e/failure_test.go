package e2e

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/e2e/harness"
)

func TestFailures(t *testing.T) {
	parallel(t)
	elsewhere := t.TempDir()
	for name, test := range map[string]struct {
		site   harness.SiteOptions
		before func(t *testing.T, e *harness.Edge)
		// phase is the step that the page names; log is in the log alone.
		phase, log string
		// mend puts right what was wrong.
		mend func(t *testing.T, e *harness.Edge, site *harness.Site, branch string)
	}{
		"a repository that does not exist": {
			site: harness.SiteOptions{Client: func(c map[string]any) {
				c["repository"].(map[string]any)["url"] = "file://" + elsewhere + "/missing.git"
			}},
			phase: "cloning", log: "missing.git",
			mend: func(t *testing.T, _ *harness.Edge, site *harness.Site, _ string) {
				require.NoError(t, os.Symlink(site.Repository, filepath.Join(elsewhere, "missing.git")))
			},
		},
		"a branch that does not exist": {
			site: harness.SiteOptions{Client: func(c map[string]any) {
				c["repository"].(map[string]any)["branch"] = "nowhere"
			}},
			phase: "cloning", log: "nowhere",
			mend: func(_ *testing.T, _ *harness.Edge, site *harness.Site, _ string) {
				site.Git("--git-dir", site.Repository, "branch", "nowhere", "main")
			},
		},
		"a build that fails": {
			site:  harness.SiteOptions{Build: "if (!fs.existsSync('mended')) { console.error('the oven is cold'); process.exit(3); }"},
			phase: "building", log: "the oven is cold",
			mend: func(t *testing.T, _ *harness.Edge, site *harness.Site, branch string) {
				tree := t.TempDir()
				site.Git("clone", "--quiet", site.Repository, tree)
				require.NoError(t, os.WriteFile(filepath.Join(tree, "mended"), []byte("yes\n"), 0o600))
				site.Git("-C", tree, "add", "--all")
				site.Git("-C", tree, "commit", "--quiet", "--message=Mend")
				site.Git("-C", tree, "push", "--quiet", "origin", "main:"+branch)
			},
		},
		"a site with no package.json": {
			site:  harness.SiteOptions{Files: map[string]string{"package.json": "", "package-lock.json": ""}},
			phase: "installing", log: "package.json",
		},
		"a full disk": {
			site: harness.SiteOptions{Build: "fs.mkdirSync('dist', { recursive: true }); fs.writeFileSync('dist/big', Buffer.alloc(64 << 20, 'x'));"},
			before: func(t *testing.T, e *harness.Edge) {
				dir := filepath.Join(e.Data, "sessions")
				require.NoError(t, os.MkdirAll(dir, 0o700))
				mount(t, "-t", "tmpfs", "-o", "size=24m,mode=700", "tmpfs", dir)
				t.Cleanup(func() {
					out, err := exec.Command("umount", "--lazy", dir).CombinedOutput()
					assert.NoError(t, err, "%s", out)
				})
			},
			phase: "building", log: "ENOSPC",
			mend: func(t *testing.T, e *harness.Edge, _ *harness.Site, _ string) {
				mount(t, "-o", "remount,size=400m", filepath.Join(e.Data, "sessions"))
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			e := harness.New(t, harness.Options{})
			if test.before != nil {
				test.before(t, e)
			}
			site := e.NewSite("amelia", test.site)
			healthy := e.NewSite("bramble", harness.SiteOptions{})
			e.Start()
			other := e.CreateSession(healthy)
			other.Open()

			// As a person meets it: the waiting page turns into the page of the failure.
			session := e.CreateSession(site)
			var page harness.Answer
			harness.EventuallyEvery(t, harness.Patience, 20*time.Millisecond, "the failure is shown", func() bool {
				page = e.Do(session.Document("/"))
				return page.Status != http.StatusAccepted
			})
			assert.Equal(t, http.StatusServiceUnavailable, page.Status, page.Body)
			assert.Regexp(t, fmt.Sprintf(`<li data-phase=%q data-state="failed"`, test.phase), page.Body)
			assert.Regexp(t, `<p class="cause">[^<]{10,}</p>`, page.Body)
			assert.Contains(t, page.Body, "action=\"/.webordinary/sessions/"+session.SessionID+"/wake\"", "the retry button")
			harness.Eventually(t, harness.Patience, "the log has the detail", func() bool { return strings.Contains(e.Log.String(), test.log) })
			assert.Equal(t, "failed", session.Now().Status)

			// Others don't notice.
			assert.Contains(t, other.Open().Body, "content of bramble")

			if test.mend != nil {
				test.mend(t, e, site, session.EditBranch)
				a := e.Do(wakeNow(session))
				assert.Equal(t, http.StatusSeeOther, a.Status)
				assert.Equal(t, session.Path("/"), a.Header.Get("Location"))
				assert.Contains(t, session.Open().Body, "content of amelia")
			}
			e.Interrupt()
		})
	}
}

// mount runs mount, which asks for root.
func mount(t *testing.T, args ...string) {
	t.Helper()
	out, err := exec.Command("mount", args...).CombinedOutput()
	require.NoError(t, err, "mounting a small file system (as root): %s", out)
}
