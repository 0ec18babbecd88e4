package worktree

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/webordinary/router/configstore"
)

// Submodules are files of other repositories. Each has a git directory of its own in
// {GitDir}/modules, and none in its folder of the workspace: what lies there is nobody's
// repository, so that nothing of it meets a key, and is never committed.

const (
	// submoduleDepth and submoduleCount bound submodules of submodules, and all of them.
	submoduleDepth = 8
	submoduleCount = 100
	// refModule is the commit of a submodule that was fetched last.
	refModule = "refs/webordinary/module"
)

// submodule is one that a commit names.
type submodule struct {
	path   string // in the workspace, as git names it
	commit string
	// fault says why it is not here, without a full stop; empty if it is.
	fault string
}

// module is the place of a submodule of the repository at p.
func (p place) module(name string) place {
	sum := sha256.Sum256([]byte(name))
	m := place{git: filepath.Join(p.git, "modules", hex.EncodeToString(sum[:8]))}
	if p.work != "" {
		m.work = filepath.Join(p.work, filepath.FromSlash(name))
	}
	return m
}

// bare is the place for commands that need no working tree, which may not be there.
func (p place) bare() place { p.work = ""; return p }

// submoduleWalk finds the submodules of a commit, with those that they have, parents
// first.
type submoduleWalk struct {
	w *Worktree
	p place // of the repository
	// fetch gets what is not here; else that is a fault.
	fetch bool
	found []submodule
	// away are servers that could not be reached, with what was said of them.
	away map[string]string
}

// submodules finds those of a commit in p.git, and fetches them if asked to. What cannot
// be had is no error but a fault of that one, unless nothing more can be done at all.
func (w *Worktree) submodules(ctx context.Context, p place, commit string, fetch bool) ([]submodule, error) {
	p = p.bare()
	walk := &submoduleWalk{w: w, p: p, fetch: fetch, away: map[string]string{}}
	err := walk.enter(ctx, p, "", commit, w.remote, 0)
	return walk.found, err
}

func (s *submoduleWalk) enter(ctx context.Context, in place, prefix, commit string, parent remote, depth int) error {
	links := new(linkWriter)
	if _, err := s.w.git(ctx, in, stdio{out: links}, "ls-tree", "-r", "-z", commit); err != nil {
		return err
	}
	var urls map[string]string
	for _, entry := range links.entries {
		facts, name, _ := strings.Cut(entry, "\t")
		f := strings.Fields(facts)
		if len(f) != 3 {
			continue
		}
		if urls == nil {
			urls = s.w.submoduleURLs(ctx, in, commit)
		}
		m := submodule{path: path.Join(prefix, name), commit: f[2]}
		r, err := s.w.submoduleRemote(parent, urls[name])
		switch {
		case err != nil:
			m.fault = err.Error()
		case depth == submoduleDepth || len(s.found) >= submoduleCount:
			m.fault = "there are too many of them"
		default:
			err := s.get(ctx, &m, r)
			if e := (*Error)(nil); err != nil && (ctx.Err() != nil || diskIsFull(err) || !errors.As(err, &e)) {
				return err
			} else if err != nil {
				m.fault = strings.TrimSuffix(e.Cause, ".")
			}
		}
		s.found = append(s.found, m)
		if m.fault == "" {
			if err := s.enter(ctx, s.p.module(m.path), m.path, m.commit, r, depth+1); err != nil {
				return err
			}
		}
	}
	return nil
}

// linkWriter keeps the submodules of what git ls-tree prints, which may be a million files.
type linkWriter struct {
	entry   []byte
	entries []string
}

const linkPrefix = "160000 commit " // and the object, a tab, the path

func (l *linkWriter) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		part, after, whole := bytes.Cut(rest, []byte{0})
		l.entry = append(l.entry, part...)
		if whole {
			if bytes.HasPrefix(l.entry, []byte(linkPrefix)) {
				l.entries = append(l.entries, string(l.entry))
			}
			l.entry = l.entry[:0]
		}
		rest = after
	}
	return len(p), nil
}

// get has the commit of a submodule in its git directory.
func (s *submoduleWalk) get(ctx context.Context, m *submodule, r remote) error {
	p := s.p.module(m.path)
	if _, err := os.Stat(p.git); err == nil {
		if _, err := s.w.git(ctx, p, stdio{}, "cat-file", "-e", m.commit+"^{tree}"); err == nil {
			return nil
		}
	}
	if ctx.Err() != nil {
		return failed("looking for a submodule", ctx.Err())
	}
	if why, away := s.away[r.server()]; away {
		m.fault = why
		return nil
	}
	if !s.fetch {
		m.fault = s.w.moduleFault(m.path)
		return nil
	}
	s.w.cfg.Log(fmt.Sprintf("Fetching the submodule %s from %s", printable(m.path), r.url))
	err := s.w.fetchModule(ctx, p, r, m.commit)
	if e := (*Error)(nil); errors.As(err, &e) {
		s.w.moduleFaults.Store(m.path, strings.TrimSuffix(e.Cause, "."))
		if e.network {
			s.away[r.server()] = strings.TrimSuffix(e.Cause, ".")
		}
	}
	return err
}

// moduleFault is why a submodule could not be fetched.
func (w *Worktree) moduleFault(name string) string {
	if why, ok := w.moduleFaults.Load(name); ok {
		return why.(string)
	}
	return "it was not fetched"
}

// fetchModule gets one commit of a submodule into its git directory, which is made where
// there is none. A server that gives no single commits gives its branches and tags.
func (w *Worktree) fetchModule(ctx context.Context, p place, r remote, commit string) error {
	if _, err := os.Stat(p.git); os.IsNotExist(err) {
		staged := aside(p.git)
		defer os.RemoveAll(staged)
		if err := os.MkdirAll(filepath.Dir(p.git), 0o755); err != nil {
			return failed("making the folder of submodules", err)
		}
		if err := w.initGitDir(ctx, staged); err != nil {
			return err
		}
		if err := os.Rename(staged, p.git); err != nil {
			return failed("making a submodule's git directory", err)
		}
	} else if err := removeLocks(p.git, false); err != nil {
		return failed("removing leftovers", err)
	}
	args := []string{"fetch", "--progress", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules"}
	_, err := w.onRemote(ctx, p, r, append(args, "--depth=1", "--", r.url, "+"+commit+":"+refModule)...)
	if e := (*Error)(nil); errors.As(err, &e) && notGiven.MatchString(e.Detail) {
		_, err = w.onRemote(ctx, p, r, append(args, "--", r.url, "+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/remotes/tags/*")...)
		if err == nil {
			if _, missing := w.git(ctx, p, stdio{}, "cat-file", "-e", commit+"^{tree}"); missing != nil {
				return &Error{Cause: fmt.Sprintf("The repository %s does not have the commit %.10s.", r.url, commit), err: missing}
			}
		}
	}
	return err
}

// submoduleURLs reads the .gitmodules of a commit: path → URL.
func (w *Worktree) submoduleURLs(ctx context.Context, in place, commit string) map[string]string {
	// As data: includes would be read from anywhere.
	out, err := w.git(ctx, in, stdio{}, "config", "--no-includes", "--blob", commit+":.gitmodules", "-z", "--get-regexp", `^submodule\..*\.(path|url)$`)
	if err != nil {
		return map[string]string{} // there is none, or nobody can read it
	}
	paths, urls := map[string]string{}, map[string]string{}
	for entry := range strings.SplitSeq(string(out), "\x00") {
		key, value, _ := strings.Cut(entry, "\n")
		if name, ok := strings.CutSuffix(key, ".path"); ok {
			paths[name] = value
		} else if name, ok := strings.CutSuffix(key, ".url"); ok {
			urls[name] = value
		}
	}
	byPath := map[string]string{}
	for name, p := range paths {
		byPath[p] = urls[name]
	}
	return byPath
}

// submoduleRemote is where a submodule is fetched from. Its URL may be relative to that of
// the repository which has it. It gets credentials only where it is on the very server
// that these are for. The error is a fault.
func (w *Worktree) submoduleRemote(parent remote, raw string) (remote, error) {
	if raw == "" {
		return remote{}, errors.New("there is no URL of it in .gitmodules")
	}
	if strings.HasPrefix(raw, "./") || strings.HasPrefix(raw, "../") {
		raw = relativeURL(parent.url, raw)
	}
	if err := configstore.CheckRepositoryURL(raw, w.cfg.AllowFile); err != nil {
		return remote{}, fmt.Errorf("its URL %w", err)
	}
	// A repository from elsewhere does not look into this machine.
	r, err := parseURL(raw, w.remote.scheme == "file")
	if err != nil {
		return remote{}, fmt.Errorf("its URL is refused: %w", err)
	}
	if r.server() == w.remote.server() {
		r.user, r.password, r.key = w.remote.user, w.remote.password, w.remote.key
	}
	return r, nil
}

// server names whom one speaks to.
func (r remote) server() string { return r.scheme + "://" + strings.ToLower(r.host) + ":" + r.port }

// relativeURL goes from one repository to another as git does: by the parts of its path.
func relativeURL(base, relative string) string {
	base = strings.TrimSuffix(base, "/")
	for {
		if rest, ok := strings.CutPrefix(relative, "./"); ok {
			relative = rest
			continue
		}
		rest, up := strings.CutPrefix(relative, "../")
		if !up {
			break
		}
		relative = rest
		if i := strings.LastIndexByte(base, '/'); i >= 0 && !strings.HasSuffix(base[:i+1], "//") {
			base = base[:i]
		} else if i := strings.LastIndexByte(base, ':'); i >= 0 && !strings.Contains(base, "://") {
			return base[:i+1] + relative // user@host:path
		}
	}
	return base + "/" + relative
}
