package steps

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"syscall"
	"time"

	"go.uber.org/zap"

	"github.com/webordinary/router/containerboot/bootapi"
	"github.com/webordinary/router/containerboot/tool"
	"github.com/webordinary/router/containerboot/toolchain"
)

const installFailed = "Installing the packages failed"

// Install makes node_modules what the lock file asks for: they are there already,
// are copied from the cache, or the site's package manager installs them. content names
// what is checked out.
func (b *Builder) Install(ctx context.Context, content string) error {
	const phase = bootapi.PhaseInstalling
	b.cfg.Board.Enter(phase, "")
	if err := b.install(ctx, content); err != nil {
		return b.explain(phase, installFailed, err)
	}
	return b.fitsAstro()
}

func (b *Builder) install(ctx context.Context, content string) error {
	keys, err := b.modulesKey(ctx, content)
	if err != nil {
		return err
	}
	if b.installed(keys.own) {
		b.cfg.Board.Reuse("install")
		return nil
	}
	if keys.shared == "" {
		return b.installAnew(ctx, keys)
	}
	if b.restoreModules(ctx, keys) {
		b.cfg.Board.Reuse("install")
		return nil
	}
	lead, err := b.lead(ctx, b.modules, keys.shared, bootapi.PhaseInstalling, "waiting for another session that installs the same")
	if err != nil {
		return err
	}
	defer lead.Done()
	if lead.Waited && b.restoreModules(ctx, keys) {
		b.cfg.Board.Reuse("install")
		return nil
	}
	if err := b.installAnew(ctx, keys); err != nil || !lead.Wanted() {
		return err // what nobody waits for is kept after the boot
	}
	b.cfg.Board.Step("keeping node_modules for another session")
	if err := b.KeepModules(ctx, content); err != nil && ctx.Err() == nil {
		b.cfg.Log.Warn("keeping node_modules failed", zap.Error(err))
	}
	return nil
}

// installAnew has the package manager install.
func (b *Builder) installAnew(ctx context.Context, keys modulesKeys) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	b.cfg.Board.Afresh("install")
	start := time.Now()
	// From here on they are nobody's until they are whole.
	if err := b.unmark(); err != nil {
		return err
	}
	if err := b.believing(ctx, func(b *Builder) error { return b.runInstall(ctx) }); err != nil {
		return err
	}
	if err := b.markInstalled(keys.own); err != nil {
		return err
	}
	b.cfg.Log.Info("dependencies installed", zap.Duration("took", time.Since(start)))
	return nil
}

func (b *Builder) runInstall(ctx context.Context) error {
	const phase = bootapi.PhaseInstalling
	if own := b.cfg.Site.Install; own != "" {
		return b.shell(ctx, phase, own)
	}
	p := b.project
	if p.Manager.Name == toolchain.PNPM {
		// It refuses what was linked from the store of another session.
		if err := b.removeModules(); err != nil {
			return err
		}
	}
	env, err := b.registryEnv(ctx)
	if err != nil {
		return err
	}
	with := *b
	with.env = env
	run := func(i toolchain.Install) error {
		return b.leavingManifests(func() error { return with.run(ctx, phase, b.rootDir(), i.Name, i.Args...) })
	}
	frozen := p.Frozen()
	if p.Lock == "" {
		return b.leavingLocks(func() error { return run(frozen) })
	}
	refused := ""
	with.listen = func(line string) {
		if m := lockRefusals.FindStringSubmatch(line); m != nil && refused == "" {
			refused = m[1] + m[2] + m[3]
		}
	}
	err = run(frozen)
	if run := (*tool.Error)(nil); refused == "" || !errors.As(err, &run) {
		return err
	}
	loose := p.Loose()
	b.cfg.Board.Log(phase, fmt.Sprintf("%s refuses %s (%s): falling back to %s, which follows it as far as it goes",
		frozen.Name, p.Lock, refused, loose.Name))
	err = b.leavingLocks(func() error { return run(loose) })
	if failed := (*tool.Error)(nil); errors.As(err, &failed) {
		return fail(phase, err, "The lock file %s does not match package.json, and installing without it failed too: %s",
			p.Lock, b.reason(failed))
	}
	return err
}

// lockRefusals are how the package managers say that a lock file does not match
// package.json, which npm 11 also does with lock files that it wrote itself. Hundreds of
// lines of help may follow.
var lockRefusals = regexp.MustCompile(`^npm \S+ code (EUSAGE)$|\b(ERR_PNPM_OUTDATED_LOCKFILE|ERR_PNPM_LOCKFILE_CONFIG_MISMATCH|ERR_PNPM_LOCKFILE_BREAKING_CHANGE|YN0028)\b|(Your lockfile needs to be updated)`)

// leavingLocks does something and leaves the lock files as they were, byte for byte: the
// repair of one is not the editor's work and must not be saved with it, and where
// there was none there is none afterwards.
func (b *Builder) leavingLocks(do func() error) (err error) {
	was := map[string][]byte{}
	for _, name := range toolchain.LockFiles() {
		path := filepath.Join(b.rootDir(), name)
		data, err := b.readOwn(path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("reading %s: %w", name, err)
		}
		was[path] = data
	}
	defer func() {
		for path, data := range was {
			if back := b.putBack(path, data); back != nil {
				err = errors.Join(err, fmt.Errorf("putting %s back: %w", filepath.Base(path), back))
			}
		}
	}()
	return do()
}

// leavingManifests does something, and puts each package.json back that was only written
// in another form meanwhile, as Yarn does. One that says something else now may be
// somebody's work.
func (b *Builder) leavingManifests(do func() error) error {
	was := map[string][]byte{}
	for _, dir := range b.project.Packages() {
		name := filepath.Join(b.cfg.Workspace, filepath.FromSlash(dir), "package.json")
		if data, err := b.readOwn(name); err == nil {
			was[name] = data
		}
	}
	err := do()
	for name, data := range was {
		var before, after any
		now, readErr := b.readOwn(name)
		if readErr != nil || json.Unmarshal(data, &before) != nil || json.Unmarshal(now, &after) != nil || !reflect.DeepEqual(before, after) {
			continue
		}
		if back := b.putBack(name, data); back != nil {
			err = errors.Join(err, fmt.Errorf("putting %s back: %w", filepath.Base(name), back))
		}
	}
	return err
}

// ownLimit bounds what is read of a file of the workspace, in bytes: lock files of large
// workspaces have some.
const ownLimit = 64 << 20

// readOwn reads a file with the rights of the client's code, which may have put a link
// there, or something that never ends.
func (b *Builder) readOwn(path string) (data []byte, err error) {
	err = b.cfg.User.Do(func() error {
		data, err = readRegular(path)
		return err
	})
	return data, err
}

// readRegular reads a regular file, and waits for nobody.
func readRegular(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: %w", filepath.Base(path), errNoFile)
	}
	if info.Size() > ownLimit {
		return nil, fmt.Errorf("%s is larger than %d MB", filepath.Base(path), ownLimit>>20)
	}
	return io.ReadAll(io.LimitReader(f, ownLimit))
}

// errNoFile: it is a folder, a pipe or a device.
var errNoFile = errors.New("it is no regular file")

// putBack makes a file what it was, nil for none, with the rights of the client's code.
func (b *Builder) putBack(path string, was []byte) error {
	return b.cfg.User.Do(func() error { return b.replace(path, was) })
}

func (b *Builder) replace(path string, was []byte) error {
	now, err := readRegular(path)
	if was == nil {
		if err = os.Remove(path); errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
		return err
	}
	if err == nil && bytes.Equal(now, was) {
		return nil
	}
	if err := writeWhole(path, was); err != nil {
		return err
	}
	b.cfg.Board.Log(bootapi.PhaseInstalling, filepath.Base(path)+" was put back as it was")
	return nil
}

// fitsAstro makes sure that the Astro which was installed builds with the Node that it is
// going to get: it installs with any. Prepare chooses by what the lock file says; where
// that says nothing it cannot know.
func (b *Builder) fitsAstro() error {
	version, node := b.project.InstalledAstro()
	if need := toolchain.UnmetBy(b.node, version, node); need != "" {
		asked := slices.IndexFunc(b.project.Needs, func(n *toolchain.Need) bool { return n.Who != need })
		who := "and this machine has"
		if asked >= 0 {
			who = fmt.Sprintf("but %s chose", b.project.Needs[asked].Who)
		}
		return fail(bootapi.PhaseInstalling, nil, "This site's %s needs Node %s, %s %s.", need, node, who, b.node)
	}
	return nil
}
