package steps

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"go.uber.org/zap"

	"github.com/webordinary/router/containerboot/bootapi"
	"github.com/webordinary/router/containerboot/buildcache"
	"github.com/webordinary/router/containerboot/tool"
)

// installMark, in node_modules, says what they were installed from.
const installMark = ".webordinary-installed"

// npmQuiet are the flags of every installation.
var npmQuiet = []string{"--no-audit", "--no-fund", "--no-progress", "--prefer-offline"}

// npmLocks are npm's lock files, in the order in which it looks for them.
var npmLocks = []string{"npm-shrinkwrap.json", "package-lock.json"}

// otherManagers are the lock files of package managers that are not supported yet.
var otherManagers = []struct{ lock, manager string }{
	{"pnpm-lock.yaml", "pnpm"},
	{"yarn.lock", "Yarn"},
	{"bun.lockb", "Bun"},
	{"bun.lock", "Bun"},
}

// Install makes node_modules what the lock file asks for: they are there already,
// are copied from the cache, or npm installs them. content names what is checked out.
func (b *Builder) Install(ctx context.Context, content string) error {
	const phase = bootapi.PhaseInstalling
	b.cfg.Board.Enter(phase, "")
	if err := b.check(); err != nil {
		return err
	}
	lock, err := b.lockFile()
	if err != nil {
		return err
	}
	keys, err := b.modulesKey(ctx, content, lock)
	if err != nil {
		return b.explain(phase, "Finding out what to install failed", err)
	}
	if b.installed(keys.own) {
		b.cfg.Board.Reuse("install")
		return nil
	}
	if keys.shared != "" && b.restoreModules(ctx, keys) {
		b.cfg.Board.Reuse("install")
		return nil
	}
	if ctx.Err() != nil {
		return b.explain(phase, "Installing the packages failed", context.Cause(ctx))
	}

	start := time.Now()
	// From here on they are nobody's until they are whole.
	if err := os.Remove(b.mark()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return b.explain(phase, "Installing the packages failed", err)
	}
	if err := b.runInstall(ctx, lock); err != nil {
		return b.explain(phase, "Installing the packages failed", err)
	}
	if err := b.markInstalled(keys.own); err != nil {
		return b.explain(phase, "Installing the packages failed", err)
	}
	b.cfg.Log.Info("dependencies installed", zap.Duration("took", time.Since(start)))
	return nil
}

// lockFile returns the name of npm's lock file, or "". Those of other managers are refused.
func (b *Builder) lockFile() (string, error) {
	exists := func(name string) bool {
		_, err := os.Stat(filepath.Join(b.dir, name))
		return err == nil
	}
	for _, name := range npmLocks {
		if exists(name) {
			return name, nil
		}
	}
	if b.cfg.Site.Install != "" {
		return "", nil
	}
	for _, m := range otherManagers {
		if exists(m.lock) {
			return "", fail(bootapi.PhaseInstalling, nil,
				"This site uses the package manager %s (%s), which is not supported yet: only npm is.", m.manager, m.lock)
		}
	}
	return "", nil
}

func (b *Builder) runInstall(ctx context.Context, lock string) error {
	const phase = bootapi.PhaseInstalling
	switch {
	case b.cfg.Site.Install != "":
		return b.shell(ctx, phase, b.cfg.Site.Install)
	case lock == "":
		args := slices.Concat([]string{"npm", "install", "--no-package-lock"}, npmQuiet)
		return b.run(ctx, phase, "npm install", args...)
	}
	err := b.run(ctx, phase, "npm ci", slices.Concat([]string{"npm", "ci"}, npmQuiet)...)
	if !isUsage(err) {
		return err
	}
	b.cfg.Board.Log(phase, "npm ci refuses "+lock+" (EUSAGE): falling back to npm install, which follows it as far as it goes")
	return b.installLoosely(ctx, lock)
}

// isUsage reports whether npm ci refused a lock file that does not match package.json,
// which npm 11 also does with lock files that it wrote itself.
func isUsage(err error) bool {
	e := (*tool.Error)(nil)
	return errors.As(err, &e) && slices.ContainsFunc(e.Lines, func(line string) bool {
		return strings.HasPrefix(line, "npm ") && strings.HasSuffix(line, " code EUSAGE")
	})
}

// installLoosely runs npm install and leaves the lock file as it was, byte for byte:
// the repair is not the editor's work and must not be saved with it.
func (b *Builder) installLoosely(ctx context.Context, lock string) (err error) {
	const phase = bootapi.PhaseInstalling
	path := filepath.Join(b.dir, lock)
	was, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("reading %s: %w", lock, err)
	}
	defer func() {
		now, readErr := os.ReadFile(path)
		if readErr == nil && bytes.Equal(now, was) {
			return
		}
		if writeErr := writeWhole(path, was); writeErr != nil {
			err = errors.Join(err, fmt.Errorf("putting %s back: %w", lock, writeErr))
			return
		}
		b.cfg.Board.Log(phase, lock+" was put back as it was")
	}()
	// --no-save keeps npm from writing the lock file in the first place.
	args := slices.Concat([]string{"npm", "install", "--no-save"}, npmQuiet)
	return b.run(ctx, phase, "npm install", args...)
}

func (b *Builder) modulesDir() string { return filepath.Join(b.dir, "node_modules") }
func (b *Builder) mark() string       { return filepath.Join(b.modulesDir(), installMark) }

func (b *Builder) installed(key string) bool {
	have, err := os.ReadFile(b.mark())
	return err == nil && string(have) == key
}

func (b *Builder) markInstalled(key string) error {
	// A site without dependencies gets the folder too: for the mark.
	if err := os.MkdirAll(b.modulesDir(), 0o755); err != nil {
		return fmt.Errorf("marking node_modules: %w", err)
	}
	if err := writeWhole(b.mark(), []byte(key)); err != nil {
		return fmt.Errorf("marking node_modules: %w", err)
	}
	return nil
}

// restoreModules copies node_modules from the cache. If it cannot, npm will install.
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
func (b *Builder) placeModules(ctx context.Context, entry *buildcache.Entry, key string) error {
	aside := filepath.Join(b.cfg.Private, "node_modules.new")
	for _, dir := range []string{aside, b.modulesDir()} {
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
	}
	if err := buildcache.CopyTree(ctx, aside, entry.Dir(), true); err != nil {
		return errors.Join(err, os.RemoveAll(aside))
	}
	err := os.Rename(aside, b.modulesDir())
	if errors.Is(err, syscall.EXDEV) { // the workspace is a volume of its own
		if err := os.RemoveAll(aside); err != nil {
			return err
		}
		err = buildcache.CopyTree(ctx, b.modulesDir(), entry.Dir(), true)
	}
	if err != nil {
		return err
	}
	return b.markInstalled(key)
}

// KeepModules puts the workspace's node_modules into the cache, if they belong there
// and are not there yet. content names what is checked out.
func (b *Builder) KeepModules(ctx context.Context, content string) error {
	lock, err := b.lockFile()
	if err != nil {
		return err
	}
	keys, err := b.modulesKey(ctx, content, lock)
	if err != nil {
		return err
	}
	if keys.shared == "" || !b.installed(keys.own) {
		return nil
	}
	if entry, err := b.modules.Get(keys.shared); err == nil {
		entry.Release()
		return nil
	}
	entry, err := b.modules.Put(ctx, keys.shared, b.modulesDir(), buildcache.PutOptions{Links: true})
	if err != nil {
		return fmt.Errorf("keeping node_modules: %w", err)
	}
	entry.Release()
	return b.modules.Sweep()
}
