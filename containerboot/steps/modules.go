package steps

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/webordinary/router/containerboot/bootapi"
	"github.com/webordinary/router/containerboot/buildcache"
	"github.com/webordinary/router/containerboot/move"
	"github.com/webordinary/router/containerboot/toolchain"
)

const (
	modulesName = "node_modules"
	// installMark, in node_modules, says what they were installed from.
	installMark = ".webordinary-installed"
)

// modulesKeys are the names of an installation.
type modulesKeys struct {
	// own tells whether the workspace's node_modules still are what would be installed.
	own string
	// shared is the key in the client's cache; "" for what must not be shared.
	shared string
}

// settingsFiles are what package managers read beside package.json and the lock file, and
// settingsFolders folders of such files, at any depth: a package's scope may be one.
var (
	settingsFiles   = []string{".npmrc", ".yarnrc", ".yarnrc.yml", "pnpm-workspace.yaml", ".pnpmfile.cjs", ".pnpmfile.mjs"}
	settingsFolders = []string{"patches", ".yarn/patches", ".yarn/plugins", ".yarn/releases"}
)

// modulesKey names an installation by what it is made from.
func (b *Builder) modulesKey(ctx context.Context, content string) (modulesKeys, error) {
	p := b.project
	manager, err := b.managerVersion(ctx)
	if err != nil {
		return modulesKeys{}, err
	}
	parts := []string{
		"node_modules v2", b.cfg.ClientID, p.Site, p.Root, b.cfg.Site.Install,
		b.node, p.Manager.Name, manager, runtime.GOOS, runtime.GOARCH,
	}
	for _, name := range slices.Sorted(maps.Keys(b.cfg.Site.Env)) {
		parts = append(parts, name, b.cfg.Site.Env[name])
	}
	packages := p.Packages()
	for _, dir := range packages {
		sums, err := b.settingsOf(dir)
		if err != nil {
			return modulesKeys{}, err
		}
		parts = append(append(parts, dir), sums...)
	}
	if b.cfg.Site.Install != "" || p.ReadsFiles(packages) {
		parts = append(parts, content)
	}
	keys := modulesKeys{own: keyOf(parts...)}
	// Without a lock file each installation may differ; the next session shall get the
	// newest versions, as the site's owner does.
	if p.Lock != "" {
		keys.shared = keys.own
	}
	return keys, nil
}

// settingsOf hashes what a package's folder says of an installation.
func (b *Builder) settingsOf(dir string) ([]string, error) {
	dir = filepath.Join(b.cfg.Workspace, filepath.FromSlash(dir))
	var parts []string
	for _, name := range slices.Concat([]string{"package.json"}, settingsFiles, toolchain.LockFiles()) {
		sum, err := b.hashFile(filepath.Join(dir, name))
		if err != nil {
			return nil, err
		}
		parts = append(parts, name, sum)
	}
	for _, name := range settingsFolders {
		sum, err := b.hashFolder(filepath.Join(dir, filepath.FromSlash(name)), "")
		if err != nil {
			return nil, err
		}
		parts = append(parts, name, sum)
	}
	return parts, nil
}

func (b *Builder) modulesDir() string { return filepath.Join(b.rootDir(), modulesName) }
func (b *Builder) mark() string       { return filepath.Join(b.modulesDir(), installMark) }

func (b *Builder) installed(key string) bool {
	have, err := b.readOwn(b.mark())
	return err == nil && string(have) == key
}

func (b *Builder) markInstalled(key string) error {
	err := b.cfg.User.Do(func() error {
		// A site without dependencies gets the folder too: for the mark.
		if err := os.MkdirAll(b.modulesDir(), 0o755); err != nil {
			return err
		}
		return writeWhole(b.mark(), []byte(key))
	})
	if err != nil {
		return fmt.Errorf("marking node_modules: %w", err)
	}
	return nil
}

// unmark makes node_modules nobody's until they are whole.
func (b *Builder) unmark() error {
	err := b.cfg.User.Do(func() error { return os.Remove(b.mark()) })
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// modulesDirs are the node_modules of all packages that are installed together, as paths
// with slashes in the working tree, whether or not they are there.
func (b *Builder) modulesDirs() []string {
	var dirs []string
	for _, dir := range b.project.Packages() {
		dirs = append(dirs, filepath.ToSlash(filepath.Join(dir, modulesName)))
	}
	return dirs
}

// removeModules removes them. The mark goes first.
func (b *Builder) removeModules() error {
	if err := b.unmark(); err != nil {
		return fmt.Errorf("removing node_modules: %w", err)
	}
	root, err := os.OpenRoot(b.cfg.Workspace)
	if err != nil {
		return fmt.Errorf("removing node_modules: %w", err)
	}
	defer root.Close()
	for _, dir := range b.modulesDirs() {
		if err := root.RemoveAll(dir); err != nil {
			return fmt.Errorf("removing node_modules: %w", err)
		}
	}
	return nil
}

// restoreModules copies node_modules from the cache. If it cannot, they are installed.
func (b *Builder) restoreModules(ctx context.Context, keys modulesKeys) bool {
	entry, err := b.modules.Get(keys.shared)
	if err != nil {
		return false
	}
	defer entry.Release()
	start := time.Now()
	b.cfg.Board.Enter(bootapi.PhaseInstalling, "copying node_modules from the cache")
	if err := b.placeModules(ctx, entry, keys.own); err != nil {
		b.cfg.Log.Warn("copying node_modules from the cache failed", zap.Error(err))
		return false
	}
	b.cfg.Log.Info("node_modules copied from the cache", zap.Duration("took", time.Since(start)))
	return true
}

// placeModules copies aside and renames, so that the workspace never holds half of
// them, nor a stray folder that would be saved.
func (b *Builder) placeModules(ctx context.Context, entry *buildcache.Entry, key string) (err error) {
	top := filepath.Join(b.cfg.Private, "node_modules.new")
	if err := os.RemoveAll(top); err != nil {
		return err
	}
	// No client's code gets into it, while it is copied and given to that.
	if err := os.Mkdir(top, 0o700); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(top)) }()
	if err := b.removeModules(); err != nil {
		return err
	}
	for _, dir := range b.modulesDirs() {
		dir = filepath.FromSlash(dir)
		from := filepath.Join(entry.Dir(), dir)
		if _, err := os.Lstat(from); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err := b.placeFolder(ctx, filepath.Join(b.cfg.Workspace, dir), top, from); err != nil {
			return err
		}
	}
	return b.markInstalled(key)
}

// placeFolder copies a folder by way of one in top.
func (b *Builder) placeFolder(ctx context.Context, to, top, from string) error {
	aside := filepath.Join(top, modulesName)
	if err := buildcache.CopyTree(ctx, aside, from, true); err != nil {
		return err
	}
	if err := b.cfg.User.Give(aside); err != nil {
		return err
	}
	err := b.move(move.In, aside, to)
	if !isOtherVolume(err) {
		return err
	}
	// The workspace is a volume of its own: its owner copies what he has been given.
	if err := os.Chmod(top, 0o711); err != nil {
		return err
	}
	if err := b.cfg.User.Do(func() error { return buildcache.CopyTree(ctx, to, aside, true) }); err != nil {
		return err
	}
	return errors.Join(os.RemoveAll(aside), os.Chmod(top, 0o700))
}

// KeepModules puts the workspace's node_modules into the cache, if they belong there
// and are not there yet. content names what is checked out.
func (b *Builder) KeepModules(ctx context.Context, content string) error {
	keys, err := b.modulesKey(ctx, content)
	if err != nil {
		return err
	}
	if keys.shared == "" || !b.installed(keys.own) || b.project.PlugAndPlay() {
		return nil
	}
	if entry, err := b.modules.Get(keys.shared); err == nil {
		entry.Release()
		return nil
	}
	entry, err := b.modules.Put(ctx, keys.shared, b.cfg.Workspace, buildcache.PutOptions{Links: true, Only: b.modulesDirs()})
	if err != nil {
		return fmt.Errorf("keeping node_modules: %w", err)
	}
	entry.Release()
	return b.modules.Sweep()
}
