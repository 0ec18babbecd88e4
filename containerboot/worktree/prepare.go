package worktree

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// state is the content of stateFile.
type state struct {
	SessionID  string `json:"sessionId"`
	ClientID   string `json:"clientId"`
	EditBranch string `json:"editBranch"`
}

// Prepare makes the workspace ready. One that is whole is taken as it is: no remote is
// asked, and no git process is run unless a bundle or a crash left something to do.
// Otherwise the repository is cloned, and work that an
// earlier push could not deliver is restored from its bundle. A crash at any moment
// leaves either no workspace or a whole one. Errors are of type *Error.
func (w *Worktree) Prepare(ctx context.Context) (Prepared, error) {
	if err := w.syncs.take(ctx); err != nil {
		return Prepared{}, err
	}
	defer w.syncs.release()
	// Its deploy key is one of the leftovers.
	if err := w.drafting.interrupt(ctx); err != nil {
		return Prepared{}, err
	}
	defer w.drafting.token.release()
	if err := w.lock.take(ctx); err != nil {
		return Prepared{}, err
	}
	defer w.lock.release()
	if err := w.removeLeftovers(); err != nil {
		return Prepared{}, failed("removing leftovers", err)
	}
	whole, err := w.readState()
	if err != nil {
		return Prepared{}, failed("reading the session's state", err)
	}
	if !whole {
		return w.clone(ctx)
	}
	if err := w.writeExcludes(w.cfg.GitDir); err != nil {
		return Prepared{}, failed("writing the excluded patterns", err)
	}
	restored, err := w.wake(ctx)
	if err != nil {
		return Prepared{}, err
	}
	head, err := w.readRef(w.cfg.GitDir, w.editRef())
	if err != nil {
		return Prepared{}, failed("reading the edit branch", err)
	}
	unfetched, err := readUnfetched(w.cfg.GitDir)
	if err != nil {
		return Prepared{}, err
	}
	return Prepared{Commit: head, Branch: w.cfg.EditBranch, Restored: restored, Warnings: unfetched.warnings()}, nil
}

// wake puts right what happened to a whole session since it was last used.
func (w *Worktree) wake(ctx context.Context) (restored string, err error) {
	if err := w.unlockClient(); err != nil {
		return "", err
	}
	lost, err := empty(w.cfg.Dir)
	if err != nil {
		return "", failed("looking at the workspace", err)
	}
	if lost {
		err = w.recheckout(ctx)
	} else {
		err = w.finishForward(ctx)
	}
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(w.bundlePath()); err != nil {
		return "", nil //nolint:nilerr // none, or one that cannot be read now
	}
	head, err := w.readRef(w.cfg.GitDir, w.editRef())
	if err != nil {
		return "", failed("reading the edit branch", err)
	}
	return w.takeBundle(ctx, head)
}

// readState reports whether GitDir is whole, and fails if it is another session's.
func (w *Worktree) readState() (bool, error) {
	data, err := os.ReadFile(filepath.Join(w.cfg.GitDir, stateFile))
	if os.IsNotExist(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	var have state
	if err := json.Unmarshal(data, &have); err != nil {
		return false, fmt.Errorf("%s: %w", stateFile, err)
	}
	if want := w.state(); have != want {
		return false, fmt.Errorf("%s is of %+v, not of %+v", w.cfg.GitDir, have, want)
	}
	return true, nil
}

func (w *Worktree) state() state {
	return state{SessionID: w.cfg.SessionID, ClientID: w.cfg.ClientID, EditBranch: w.cfg.EditBranch}
}

// clone makes git directory and workspace aside, then renames first the workspace and
// last the git directory into place: whoever finds the git directory finds a whole session.
func (w *Worktree) clone(ctx context.Context) (Prepared, error) {
	staged := place{git: aside(w.cfg.GitDir), work: aside(w.cfg.Dir)}
	defer func() {
		_ = os.RemoveAll(staged.git)
		_ = os.RemoveAll(staged.work)
	}()
	for _, dir := range []string{filepath.Dir(staged.git), filepath.Dir(staged.work)} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return Prepared{}, failed("making the session's folders", err)
		}
	}
	if err := w.initGitDir(ctx, staged.git); err != nil {
		return Prepared{}, err
	}
	begin, err := w.fetchHead(ctx, place{git: staged.git})
	if err != nil {
		return Prepared{}, err
	}
	head := begin.head
	modules, err := w.submodules(ctx, staged, head, true)
	if err != nil {
		return Prepared{}, err
	}
	if err := w.checkout(ctx, staged, head, modules); err != nil {
		return Prepared{}, err
	}
	if err := w.writeTree(ctx, staged, begin); err != nil {
		return Prepared{}, err
	}
	unfetched := w.noteUnfetched(ctx, staged, head, modules)
	data, err := json.Marshal(w.state())
	if err == nil {
		err = writeFile(filepath.Join(staged.git, stateFile), data)
	}
	if err == nil {
		err = w.makeRoom(ctx, staged.git, begin.tree)
	}
	if err == nil {
		err = os.Rename(staged.work, w.cfg.Dir)
	}
	if err == nil {
		err = os.Rename(staged.git, w.cfg.GitDir)
	}
	if err == nil {
		err = syncPath(filepath.Dir(w.cfg.GitDir))
	}
	if err != nil {
		return Prepared{}, failed("moving the clone into place", err)
	}
	return Prepared{Commit: head, Branch: w.cfg.EditBranch, Cloned: true, Restored: begin.restored, Warnings: unfetched.warnings()}, nil
}

func (w *Worktree) initGitDir(ctx context.Context, dir string) error {
	mode := os.FileMode(0o700)
	if w.cfg.RunAs != nil {
		mode = 0o755 // the workspace's owner reads the objects
	}
	if err := os.Mkdir(dir, mode); err != nil {
		return failed("making the git directory", err)
	}
	if w.remote.scheme == "file" {
		// The operator allowed the repository, so it may be another user's. The
		// process at its other end takes this from a file only.
		if err := os.WriteFile(filepath.Join(dir, globalFile), []byte("[safe]\n\tdirectory = *\n"), 0o644); err != nil {
			return failed("writing the configuration", err)
		}
	}
	_, err := w.git(ctx, place{git: dir}, stdio{}, "init", "--quiet", "--bare", "--template=", "--initial-branch="+w.cfg.EditBranch)
	if err != nil {
		return err
	}
	if err := w.writeExcludes(dir); err != nil {
		return failed("writing the excluded patterns", err)
	}
	return nil
}

func (w *Worktree) writeExcludes(gitDir string) error {
	if err := os.MkdirAll(filepath.Join(gitDir, "info"), 0o755); err != nil {
		return err
	}
	return updateFile(filepath.Join(gitDir, "info", "exclude"), w.excludes())
}

// Exclude puts other patterns in the place of Config.Exclude.
func (w *Worktree) Exclude(ctx context.Context, patterns []string) error {
	if err := w.lock.take(ctx); err != nil {
		return err
	}
	defer w.lock.release()
	w.exclude.Store(&patterns)
	if err := w.writeExcludes(w.cfg.GitDir); err != nil {
		return failed("writing the excluded patterns", err)
	}
	return nil
}

func (w *Worktree) excludes() []byte {
	return []byte(strings.Join(append([]string{"node_modules"}, *w.exclude.Load()...), "\n") + "\n")
}

// fetchHead gets what the session begins with from the remote, its branches and its draft,
// and from the bundle if there is one, and sets the refs.
func (w *Worktree) fetchHead(ctx context.Context, p place) (b beginning, err error) {
	remote, err := w.lsRemote(ctx, p)
	if err != nil {
		return b, err
	}
	branch, ref := w.cfg.EditBranch, w.remoteRef()
	if remote.edit == "" {
		branch, ref = w.cfg.Branch, refPushed
	}
	if err := w.fetch(ctx, p, branch, ref, "--depth=1"); err != nil {
		return b, err
	}
	pushed, err := w.readRef(p.git, ref)
	if err != nil {
		return b, failed("reading what was fetched", err)
	}
	b.head = pushed
	bundled, draft, err := w.readBundle(ctx, p, true)
	if err != nil {
		return b, err
	}
	if bundled != "" && bundled != pushed {
		if b.head, err = w.choose(ctx, p, bundled, pushed, remote.edit != "", draft != ""); err != nil {
			return b, err
		}
		if b.head != pushed {
			b.restored = b.head
		}
	}
	drafts, err := w.resume(ctx, p, &b, remote.draft != "", draft, func() error {
		shallow, err := readShallow(p.git)
		if err != nil || len(shallow) == 0 {
			return err
		}
		return w.fetch(ctx, p, branch, ref, "--unshallow")
	})
	if err != nil {
		return b, err
	}
	refs := append([]string{w.editRef(), b.head, refPushed, pushed}, drafts...)
	if remote.edit == "" {
		refs = append(refs, refBase, pushed)
	}
	return b, w.setRefs(ctx, p, refs...)
}

// setRefs sets refs to commits, in one transaction.
func (w *Worktree) setRefs(ctx context.Context, p place, refsAndCommits ...string) error {
	var in strings.Builder
	for i := 0; i < len(refsAndCommits); i += 2 {
		fmt.Fprintf(&in, "update %s %s\n", refsAndCommits[i], refsAndCommits[i+1])
	}
	_, err := w.git(ctx, p, stdio{in: strings.NewReader(in.String())}, "update-ref", "--stdin")
	return err
}

// readRef reads a ref of one of this package's own git directories, which never pack them.
func (w *Worktree) readRef(gitDir, ref string) (string, error) {
	data, err := os.ReadFile(filepath.Join(gitDir, filepath.FromSlash(ref)))
	if err != nil {
		return "", err
	}
	commit := strings.TrimSpace(string(data))
	if !isCommit(commit) {
		return "", fmt.Errorf("%s: %q is not a commit", ref, commit)
	}
	return commit, nil
}

// checkout writes the files of head and of its submodules to p.work, which does not exist
// yet, with a .git of its own, and the indexes to go with them.
func (w *Worktree) checkout(ctx context.Context, p place, head string, modules []submodule) error {
	if err := os.Mkdir(p.work, 0o755); err != nil {
		return failed("making the workspace", err)
	}
	index := filepath.Join(p.git, "index")
	if err := os.Remove(index); err != nil && !os.IsNotExist(err) {
		return failed("making the index", err)
	}
	if _, err := w.git(ctx, p, stdio{}, "read-tree", "--reset", "-u", head); err != nil {
		return err
	}
	if err := w.checkoutModules(ctx, p, modules); err != nil {
		return err
	}
	if w.cfg.RunAs != nil {
		if err := w.chown(p.work); err != nil {
			return failed("giving the workspace to its user", err)
		}
		if _, err := w.git(ctx, p, stdio{}, "update-index", "-q", "--refresh"); err != nil {
			return err
		}
		if err := w.refreshModules(ctx, p); err != nil {
			return err
		}
	}
	if err := w.writeClientGit(p, head); err != nil {
		return failed("making the workspace's own .git", err)
	}
	return nil
}

// recheckout makes a lost workspace again from GitDir.
func (w *Worktree) recheckout(ctx context.Context) error {
	head, err := w.readRef(w.cfg.GitDir, w.editRef())
	if err != nil {
		return failed("reading the edit branch", err)
	}
	staged := place{git: w.cfg.GitDir, work: aside(w.cfg.Dir)}
	defer os.RemoveAll(staged.work)
	if err := os.MkdirAll(filepath.Dir(w.cfg.Dir), 0o755); err != nil {
		return failed("making the session's folders", err)
	}
	begin := beginning{head: head}
	draft, err := w.findRef(refDraft)
	if err != nil {
		return err
	}
	if draft != "" {
		// All of its history was made here.
		if err := w.applyDraft(ctx, place{git: w.cfg.GitDir}, &begin, draft, func() error { return nil }); err != nil {
			w.cfg.Log("The work in progress could not be restored: " + err.Error())
		}
	}
	modules, err := w.submodules(ctx, staged, begin.head, true)
	if err != nil {
		return err
	}
	if err := w.checkout(ctx, staged, begin.head, modules); err != nil {
		return err
	}
	if err := w.writeTree(ctx, staged, begin); err != nil {
		return err
	}
	w.noteUnfetched(ctx, staged, begin.head, modules)
	if begin.head != head {
		if err := w.setRefs(ctx, staged, w.editRef(), begin.head); err != nil {
			return err
		}
	}
	for _, name := range []string{dirtFile, forwardFile} { // they spoke of the lost files
		if err := os.Remove(filepath.Join(w.cfg.GitDir, name)); err != nil && !os.IsNotExist(err) {
			return failed("forgetting the lost files", err)
		}
	}
	err = os.Remove(w.cfg.Dir)
	if err == nil || os.IsNotExist(err) {
		err = os.Rename(staged.work, w.cfg.Dir)
	}
	if err != nil {
		return failed("moving the workspace into place", err)
	}
	w.cfg.Log("The workspace was gone and was made again from the last saved state.")
	return nil
}

// makeRoom takes away what lies where the clone will be. A workspace with the very files
// of the clone was left by a crash between its two renames and is removed; anything else
// may be somebody's work and is moved aside.
func (w *Worktree) makeRoom(ctx context.Context, stagedGit, tree string) error {
	for _, path := range []string{w.cfg.Dir, w.cfg.GitDir} {
		none, err := empty(path)
		if err != nil {
			return err
		}
		if none {
			if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
			continue
		}
		if path == w.cfg.Dir && w.sameFiles(ctx, place{git: stagedGit, work: path}, tree) {
			if err := os.RemoveAll(path); err != nil {
				return err
			}
			continue
		}
		kept := path + ".kept-" + time.Now().UTC().Format("20060102T150405.000")
		if err := os.Rename(path, kept); err != nil {
			return err
		}
		w.cfg.Log(fmt.Sprintf("%s was there already and was not made by this session: kept as %s.",
			filepath.Base(path), filepath.Base(kept)))
	}
	return nil
}

// sameFiles reports whether p.work holds the files of a tree, or of the edit branch in
// p.git where none is given.
func (w *Worktree) sameFiles(ctx context.Context, p place, tree string) bool {
	snap, err := w.snapshot(ctx, p, w.editRef(), nil)
	if err != nil {
		return false
	}
	defer snap.discard()
	if tree == "" {
		if tree, err = w.gitLine(ctx, p, "rev-parse", w.editRef()+"^{tree}"); err != nil {
			return false
		}
	}
	return tree == snap.tree
}
