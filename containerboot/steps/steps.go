// Package steps installs a site's dependencies and builds it, or finds that it need
// not: what was installed or built from the same content before is taken from the
// client's cache.
package steps

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"go.uber.org/zap"

	"github.com/webordinary/router/containerboot/bootapi"
	"github.com/webordinary/router/containerboot/buildcache"
	"github.com/webordinary/router/containerboot/downloads"
	"github.com/webordinary/router/containerboot/progress"
	"github.com/webordinary/router/containerboot/runas"
	"github.com/webordinary/router/containerboot/tool"
	"github.com/webordinary/router/containerboot/toolchain"
)

// The bounds of a client's caches.
const (
	distEntries    = 10
	distBytes      = 2 << 30
	modulesEntries = 3
	modulesBytes   = 6 << 30
	downloadsBytes = 2 << 30
	ownEntries     = 2
)

const (
	defaultOutput = "dist"
	// homeName and npmName are the home and npm's cache of the client's code, in the
	// session's folder.
	homeName = "home"
	npmName  = "npm"
)

// generated are folders in which Astro (types and content) and its adapters keep what they
// generate.
var generated = []string{".astro", ".vercel", ".netlify", ".wrangler"}

// Config says what to build, where, and with what.
type Config struct {
	ClientID string
	// Workspace is the working tree; Private the session's folder outside of it;
	// CacheDir the folder that holds one folder of caches per client.
	Workspace, Private, CacheDir string
	Site                         bootapi.Site
	// Environ is this process's environment, of which tools get a part. See the
	// manual of containerboot.
	Environ []string
	// User is whom the client's code runs as. Nil: this process's own.
	User *runas.User
	// Secrets are blotted out of the tools' output.
	Secrets []string
	Board   *progress.Board
	Log     *zap.Logger
}

// Builder builds one session's site. Its methods must not be called concurrently,
// except Cached.
type Builder struct {
	cfg     Config
	dir     string    // of the site
	output  string    // below dir
	began   time.Time // when the last build did
	env     []string
	store   *toolchain.Store
	project *toolchain.Project // nil before Prepare
	node    string             // the version that the project is built with; "" for none
	modules *buildcache.Cache
	dist    *buildcache.Cache
	// downloads are what npm downloaded for any session of the client; downloaded tells
	// that it was run in this one.
	downloads  *downloads.Store
	downloaded bool
	// own keeps builds that belong to no content which could be named: files changed
	// while they were built.
	own *buildcache.Cache
	// listen gets the output of what is run, beside the board. Nil: nobody.
	listen func(line string)
	// adapter is the one of another host that the last build was for; "" for none.
	adapter string
	// serverHost is where a server must listen; "" for any address.
	serverHost string
	// serverEnv is env for servers, which are started again at any time.
	serverEnv *atomic.Pointer[[]string]
}

// New returns the builder of a session's site. It writes no files.
func New(cfg Config) *Builder {
	client := filepath.Join(cfg.CacheDir, cfg.ClientID)
	b := &Builder{
		cfg:       cfg,
		dir:       filepath.Join(cfg.Workspace, filepath.FromSlash(cfg.Site.Directory)),
		output:    filepath.FromSlash(cfg.Site.Output),
		modules:   buildcache.New(filepath.Join(client, "node_modules"), buildcache.Limits{Entries: modulesEntries, Bytes: modulesBytes}),
		dist:      buildcache.New(filepath.Join(client, "dist"), buildcache.Limits{Entries: distEntries, Bytes: distBytes}),
		downloads: downloads.New(filepath.Join(client, "downloads"), downloadsBytes),
		own:       buildcache.New(filepath.Join(cfg.Private, "builds"), buildcache.Limits{Entries: ownEntries, Bytes: distBytes}),
	}
	b.serverEnv = new(atomic.Pointer[[]string])
	if b.output == "" {
		b.output = defaultOutput
		b.rememberOutput()
	}
	b.env = b.toolsEnv(toolchain.Tools{})
	tools := filepath.Join(cfg.Private, "tools")
	b.store = toolchain.NewStore(toolchain.StoreConfig{
		Dir:     filepath.Join(client, "tools"),
		Private: tools,
		// Neither the home nor the npm cache of the client's code, which writes there.
		Env:  clientEnv(cfg.Environ, tools, "", nil),
		Line: func(line string) { cfg.Board.Log(bootapi.PhaseInstalling, line) },
		Step: func(step string) { cfg.Board.Enter(bootapi.PhaseInstalling, step) },
	})
	return b
}

// Close lets go what Prepare got.
func (b *Builder) Close() { b.store.Close() }

// Exclude returns the patterns, in the form of .gitignore, of what the steps make in
// the workspace and nobody wants to be saved. A build may find another output folder.
func (b *Builder) Exclude() []string {
	var patterns []string
	for _, name := range append([]string{b.output}, generated...) {
		rel, err := filepath.Rel(b.cfg.Workspace, filepath.Join(b.dir, name))
		if err == nil && rel != "." {
			patterns = append(patterns, "/"+filepath.ToSlash(rel)+"/")
		}
	}
	return patterns
}

// Error is a step that failed, as it is told to people.
type Error struct {
	bootapi.Failure
	err error
}

// Error is the cause in a sentence.
func (f *Error) Error() string { return f.Cause }

// Unwrap returns what lies behind; may be nil.
func (f *Error) Unwrap() error { return f.err }

func fail(phase bootapi.Phase, err error, format string, args ...any) error {
	f := &Error{Failure: bootapi.Failure{Phase: phase, Cause: sentence(fmt.Sprintf(format, args...))}, err: err}
	if err != nil {
		f.Detail = err.Error()
	}
	if isDiskFull(err) {
		f.Cause, f.Retryable = diskFull, true
	}
	return f
}

// Supported refuses by name what this release cannot build yet.
func (b *Builder) Supported() error {
	s := b.cfg.Site
	if !slices.Contains([]string{"", modeStatic, modeServer, modeDev}, s.Mode) {
		return fail(bootapi.PhaseCloning, nil, "This site asks for build.mode %q, which is not known: static, server and dev are.", s.Mode)
	}
	return nil
}

// where names the site's folder for people.
func (b *Builder) where() string {
	if b.cfg.Site.Directory == "" {
		return "its root folder"
	}
	return fmt.Sprintf("the folder %q", b.cfg.Site.Directory)
}

// check finds the site in the working tree.
func (b *Builder) check() error {
	const phase = bootapi.PhaseInstalling
	dir, err := realBelow(b.cfg.Workspace, b.dir)
	if err != nil {
		return fail(phase, err, "This repository has no folder %q.", b.cfg.Site.Directory)
	}
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return fail(phase, err, "This repository has no folder %q.", b.cfg.Site.Directory)
	}
	if b.cfg.Site.Install != "" && b.cfg.Site.Command != "" {
		return nil // it need not be a Node site
	}
	if _, err := os.Stat(filepath.Join(b.dir, "package.json")); err != nil {
		return fail(phase, err, "This repository has no package.json in %s.", b.where())
	}
	return nil
}

// errOutside: a path leads out of the folder that it must stay in.
var errOutside = errors.New("the path leads out of the repository")

// isOtherVolume reports whether a rename failed because it would lead to another volume.
func isOtherVolume(err error) bool { return errors.Is(err, syscall.EXDEV) }

// realBelow resolves a path and makes sure that it did not leave a folder by a link.
func realBelow(root, path string) (string, error) {
	realRoot, err := filepath.EvalSymlinks(root)
	if err != nil {
		return "", err
	}
	target, err := filepath.EvalSymlinks(path)
	if err != nil {
		return "", err
	}
	if target != realRoot && !strings.HasPrefix(target, realRoot+string(filepath.Separator)) {
		return "", errOutside
	}
	return target, nil
}

// run runs a tool in a folder, its output on the board.
func (b *Builder) run(ctx context.Context, phase bootapi.Phase, dir, name string, args ...string) error {
	if err := b.furnish(); err != nil {
		return err
	}
	b.cfg.Board.Enter(phase, name)
	return tool.Run(ctx, tool.Command{
		Name:    name,
		Args:    args,
		Dir:     dir,
		Env:     b.env,
		User:    b.cfg.User,
		Secrets: b.cfg.Secrets,
		Line: func(line string) {
			if b.listen != nil {
				b.listen(line)
			}
			b.cfg.Board.Log(phase, line)
		},
	})
}

// furnish makes the folders that the client's code has outside of the workspace.
func (b *Builder) furnish() error {
	for _, name := range []string{homeName, npmName} {
		if err := b.cfg.User.Own(filepath.Join(b.cfg.Private, name)); err != nil {
			return fmt.Errorf("making the tools' folders: %w", err)
		}
	}
	return nil
}

// shell runs a command that the client's configuration gives, with the site's own
// tools on the path.
func (b *Builder) shell(ctx context.Context, phase bootapi.Phase, command string) error {
	bins := []string{filepath.Join(b.dir, "node_modules", ".bin")}
	if root := b.rootDir(); root != b.dir {
		bins = append(bins, filepath.Join(root, "node_modules", ".bin"))
	}
	withBin := *b
	withBin.env = withPath(b.env, bins)
	return withBin.run(ctx, phase, b.dir, command, "/bin/sh", "-c", command)
}
