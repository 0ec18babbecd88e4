package steps

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
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
	"time"

	"github.com/webordinary/router/containerboot/tool"
)

// versionTimeout bounds a tool's answer to --version.
const versionTimeout = 10 * time.Second

// keyOf hashes the parts of a key, so that no two lists of parts have the same.
func keyOf(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%d:%s;", len(p), p)
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// distKey names a build by all that it is made from.
func (b *Builder) distKey(ctx context.Context, content string) (string, error) {
	node, err := b.version(ctx, "node")
	if err != nil {
		return "", err
	}
	s := b.cfg.Site
	parts := []string{
		"dist v1", b.cfg.ClientID, content, s.Directory, s.Install, s.Command, b.output, s.Mode,
		node, runtime.GOOS, runtime.GOARCH,
	}
	for _, name := range slices.Sorted(maps.Keys(s.Env)) {
		parts = append(parts, name, s.Env[name])
	}
	return keyOf(parts...), nil
}

// modulesKeys are the names of an installation.
type modulesKeys struct {
	// own tells whether the workspace's node_modules still are what would be installed.
	own string
	// shared is the key in the client's cache; "" for what must not be shared.
	shared string
}

// modulesKey names an installation by what it is made from.
func (b *Builder) modulesKey(ctx context.Context, content string, lock string) (modulesKeys, error) {
	node, err := b.version(ctx, "node")
	if err != nil {
		return modulesKeys{}, err
	}
	npm, err := b.version(ctx, "npm")
	if err != nil {
		return modulesKeys{}, err
	}
	parts := []string{
		"node_modules v1", b.cfg.ClientID, b.cfg.Site.Directory, b.cfg.Site.Install,
		node, npm, runtime.GOOS, runtime.GOARCH,
	}
	for _, name := range slices.Sorted(maps.Keys(b.cfg.Site.Env)) {
		parts = append(parts, name, b.cfg.Site.Env[name])
	}
	files := []string{"package.json", ".npmrc"}
	if lock != "" {
		files = append(files, lock)
	}
	for _, name := range files {
		sum, err := hashFile(filepath.Join(b.dir, name))
		if err != nil {
			return modulesKeys{}, err
		}
		parts = append(parts, name, sum)
	}
	patches, err := hashFolder(filepath.Join(b.dir, "patches"))
	if err != nil {
		return modulesKeys{}, err
	}
	keys := modulesKeys{own: keyOf(append(parts, patches)...)}
	switch {
	case lock == "":
		// Without a lock file each installation may differ; the next session shall
		// get the newest versions, as the site's owner does.
	case b.installReads():
		keys.shared = keyOf(keys.own, content)
	default:
		keys.shared = keys.own
	}
	return keys, nil
}

// installReads reports whether an installation may depend on any file of the
// repository: scripts of the site's own, packages in it, or a command we know nothing of.
func (b *Builder) installReads() bool {
	if b.cfg.Site.Install != "" {
		return true
	}
	data, err := os.ReadFile(filepath.Join(b.dir, "package.json"))
	if err != nil {
		return true
	}
	var p struct {
		Scripts    map[string]string `json:"scripts"`
		Workspaces json.RawMessage   `json:"workspaces"`
	}
	if json.Unmarshal(data, &p) != nil || len(p.Workspaces) > 0 || bytes.Contains(data, []byte(`"file:`)) {
		return true
	}
	for _, name := range []string{"preinstall", "install", "postinstall", "prepublish", "preprepare", "prepare", "postprepare"} {
		if p.Scripts[name] != "" {
			return true
		}
	}
	return false
}

// hashFile is the SHA-256 of a file, or "" if there is none.
func hashFile(path string) (string, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("hashing: %w", err)
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:]), nil
}

// hashFolder names the files right in a folder and what they hold; "" if there is none.
func hashFolder(dir string) (string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("hashing: %w", err)
	}
	var parts []string
	for _, e := range entries {
		if e.Type().IsRegular() {
			sum, err := hashFile(filepath.Join(dir, e.Name()))
			if err != nil {
				return "", err
			}
			parts = append(parts, e.Name(), sum)
		}
	}
	return keyOf(parts...), nil
}

// version is a tool's version, or "" where there is no such tool: not every site needs
// it, and running it will say so. It is asked once for each binary, and remembered by
// what the file looks like, so that the wake of an unchanged session starts no Node.
func (b *Builder) version(ctx context.Context, name string) (string, error) {
	path, err := tool.LookPath(name, b.env)
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
		keyOf(name, program, fmt.Sprint(info.Size()), fmt.Sprint(info.ModTime().UnixNano())))
	if v, err := os.ReadFile(memo); err == nil && len(v) > 0 {
		return string(v), nil
	}

	ctx, cancel := context.WithTimeout(ctx, versionTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, "--version")
	cmd.Env, cmd.Dir, cmd.WaitDelay = b.env, "/", time.Second
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("asking %s for its version: %w", name, err)
	}
	v := strings.TrimSpace(string(out))
	// It costs a process the next time, no more, if it cannot be remembered.
	if err := os.MkdirAll(filepath.Dir(memo), 0o755); err == nil {
		_ = writeWhole(memo, []byte(v))
	}
	return v, nil
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
