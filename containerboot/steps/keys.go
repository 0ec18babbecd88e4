package steps

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/webordinary/router/containerboot/bootapi"
	"github.com/webordinary/router/containerboot/tool"
	"github.com/webordinary/router/containerboot/toolchain"
)

// versionTimeout bounds a tool's answer to --version: npm, on a machine that has much
// else to do, takes seconds to begin.
const versionTimeout = time.Minute

// keyOf hashes the parts of a key, so that no two lists of parts have the same.
func keyOf(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%d:%s;", len(p), p)
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// distKey names a build by all that it is made from.
func (b *Builder) distKey(content string) string {
	s := b.cfg.Site
	parts := []string{
		"dist v1", b.cfg.ClientID, content, s.Directory, s.Install, s.Command, cmp.Or(filepath.FromSlash(s.Output), defaultOutput), s.Mode,
		b.node, runtime.GOOS, runtime.GOARCH,
	}
	for _, name := range slices.Sorted(maps.Keys(s.Env)) {
		parts = append(parts, name, s.Env[name])
	}
	return keyOf(parts...)
}

// Inputs names everything in the workspace that an installation or a build is made
// from: its content, and the files of environment variables in the site's folder, which
// git commonly ignores.
func (b *Builder) Inputs(content string) (string, error) {
	env, err := b.hashFolder(b.dir, ".env")
	if err != nil {
		return "", fail(bootapi.PhaseInstalling, err, "The .env files of this site cannot be read.")
	}
	if env == "" {
		return content, nil
	}
	return keyOf(content, env), nil
}

// hashFolder names the regular files right in a folder whose names begin with a prefix, or
// without one those of the folders in it too, and what they hold; "" if there are none.
func (b *Builder) hashFolder(dir, prefix string) (string, error) {
	var entries []fs.DirEntry
	err := b.cfg.User.Do(func() (err error) {
		entries, err = os.ReadDir(dir)
		return err
	})
	if unreadable(err) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("hashing: %w", err)
	}
	var parts []string
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), prefix) {
			continue
		}
		hash := b.hashFile
		if e.IsDir() && prefix == "" {
			hash = func(path string) (string, error) { return b.hashFolder(path, "") }
		}
		sum, err := hash(filepath.Join(dir, e.Name()))
		if err != nil {
			return "", err
		}
		if sum != "" {
			parts = append(parts, e.Name(), sum)
		}
	}
	if len(parts) == 0 {
		return "", nil
	}
	return keyOf(parts...), nil
}

// hashFile is the SHA-256 of a file, or "" if there is none that the client's code can read:
// that is what is installed and built from. A link counts as what it leads to, for that code
// follows it too.
func (b *Builder) hashFile(path string) (string, error) {
	data, err := b.readOwn(path)
	if unreadable(err) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("hashing: %w", err)
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:]), nil
}

// unreadable reports whether an error is that of what is not there for the client's code.
func unreadable(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) || errors.Is(err, errNoFile) ||
		errors.Is(err, syscall.ELOOP) || errors.Is(err, syscall.ENOTDIR) || errors.Is(err, syscall.ENXIO)
}

// version is a tool's version, or "" where there is no such tool: not every site needs
// it, and running it will say so.
func (b *Builder) version(ctx context.Context, env []string, name string) (string, error) {
	return b.ask(ctx, env, name, "--version")
}

// managerVersion is the version of the site's package manager. npm, which takes a while to
// begin, is not asked for what its package says.
func (b *Builder) managerVersion(ctx context.Context) (string, error) {
	name := b.project.Manager.Name
	if name == toolchain.NPM {
		if v := npmOf(b.env).Version; v != "" {
			return v, nil
		}
	}
	return b.version(ctx, b.env, name)
}

// ask is a tool's answer, or "" where there is no such tool. It is asked once for each
// binary, and remembered by what the file looks like, so that the wake of an unchanged
// session starts no Node.
func (b *Builder) ask(ctx context.Context, env []string, name string, args ...string) (string, error) {
	path, err := tool.LookPath(name, env)
	if err != nil {
		return "", nil
	}
	program, err := filepath.EvalSymlinks(path)
	if err != nil {
		return "", fmt.Errorf("finding %s: %w", name, err)
	}
	info, err := os.Stat(program)
	if err != nil {
		return "", fmt.Errorf("finding %s: %w", name, err)
	}
	memo := filepath.Join(b.cfg.CacheDir, b.cfg.ClientID, "versions",
		keyOf(append(args, name, program, fmt.Sprint(info.Size()), fmt.Sprint(info.ModTime().UnixNano()))...))
	if v, err := os.ReadFile(memo); err == nil && len(v) > 0 {
		return string(v), nil
	}

	ctx, cancel := context.WithTimeout(ctx, versionTimeout)
	defer cancel()
	out, err := b.answer(ctx, env, path, args...)
	if err != nil {
		return "", fmt.Errorf("asking %s for %s: %w", name, strings.Join(args, " "), err)
	}
	v := strings.TrimSpace(string(out))
	// It costs a process the next time, no more, if it cannot be remembered.
	if err := os.MkdirAll(filepath.Dir(memo), 0o755); err == nil {
		_ = writeWhole(memo, []byte(v))
	}
	return v, nil
}

// answer is what a program prints, run as the client's code: build.env may have Node run
// some of that before anything else.
func (b *Builder) answer(ctx context.Context, env []string, program string, args ...string) ([]byte, error) {
	if err := b.furnish(); err != nil {
		return nil, err
	}
	defer b.cfg.User.Enter()()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env, cmd.Dir, cmd.WaitDelay = env, "/", time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: b.cfg.User.Credential()}
	return cmd.Output()
}

// writeWhole replaces a file at once.
func writeWhole(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}
