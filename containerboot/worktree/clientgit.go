package worktree

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// This file is about the workspace's own .git. It is read and written as files, through
// os.Root, so that no link in it leads out; git never runs in it.

// importTime bounds the copying of commits from the workspace, whose files may be made to
// keep git waiting. A save gives it at most half of its own time.
const importTime = 30 * time.Second

// packedRefsLimit bounds what is read of the workspace's packed refs, in bytes.
const packedRefsLimit = 8 << 20

// writeClientGit makes the .git of a workspace that was just checked out.
func (w *Worktree) writeClientGit(p place, head string) error {
	dir := filepath.Join(p.work, ".git")
	config := fmt.Sprintf("[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = false\n\tlogallrefupdates = true\n"+
		"[remote \"origin\"]\n\turl = \"%s\"\n\tfetch = +refs/heads/*:refs/remotes/origin/*\n"+
		"[user]\n\tname = %s\n\temail = %s\n",
		strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(w.remote.url), authorName, authorEmail)
	files := map[string][]byte{
		"HEAD":                    []byte("ref: " + w.editRef() + "\n"),
		"config":                  []byte(config),
		"info/exclude":            w.excludes(),
		"objects/info/alternates": []byte(filepath.Join(w.cfg.GitDir, "objects") + "\n"),
		w.editRef():               []byte(head + "\n"),
	}
	for _, name := range []string{w.remoteRef(), "shallow"} {
		data, err := os.ReadFile(filepath.Join(p.git, name))
		if err == nil {
			files[name] = data
		} else if !os.IsNotExist(err) {
			return err
		}
	}
	if err := os.MkdirAll(filepath.Join(dir, "objects", "pack"), 0o755); err != nil {
		return err
	}
	for name, data := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			return err
		}
	}
	if err := copyIndex(filepath.Join(p.git, "index"), filepath.Join(dir, "index")); err != nil {
		return err
	}
	if w.cfg.RunAs != nil {
		return w.chown(dir)
	}
	return nil
}

// chown gives a tree to the workspace's owner.
func (w *Worktree) chown(dir string) error {
	return filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, int(w.cfg.RunAs.Uid), int(w.cfg.RunAs.Gid))
	})
}

// clientHead is what the workspace's own .git has checked out.
type clientHead struct {
	commit string
	// ref is the branch's, or HEAD where that is detached.
	ref string
}

// openClientGit opens the workspace's .git. The caller closes it.
func (w *Worktree) openClientGit() (*os.Root, error) {
	work, err := os.OpenRoot(w.cfg.Dir)
	if err != nil {
		return nil, err
	}
	defer work.Close()
	return work.OpenRoot(".git")
}

// readClientHead returns the zero value where there is no repository with a commit: it
// is not ours to demand one.
func (w *Worktree) readClientHead() clientHead {
	git, err := w.openClientGit()
	if err != nil {
		return clientHead{}
	}
	defer git.Close()
	head, err := readHead(git)
	if err != nil {
		return clientHead{}
	}
	return head
}

func readHead(git *os.Root) (clientHead, error) {
	data, err := readSmall(git, "HEAD", 1<<10)
	if err != nil {
		return clientHead{}, err
	}
	text := strings.TrimSpace(string(data))
	if isCommit(text) {
		return clientHead{commit: text, ref: "HEAD"}, nil
	}
	ref, ok := strings.CutPrefix(text, "ref: ")
	branch, inHeads := strings.CutPrefix(ref, "refs/heads/")
	if !ok || !inHeads || validateBranch(branch) != nil {
		return clientHead{}, fmt.Errorf("HEAD %q is not understood", text)
	}
	commit, err := readClientRef(git, ref)
	return clientHead{commit: commit, ref: ref}, err
}

func readClientRef(git *os.Root, ref string) (string, error) {
	data, err := readSmall(git, ref, 1<<10)
	if err == nil {
		if commit := strings.TrimSpace(string(data)); isCommit(commit) {
			return commit, nil
		}
		return "", fmt.Errorf("%s is not a commit", ref)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	packed, err := readSmall(git, "packed-refs", packedRefsLimit)
	if err != nil {
		return "", err
	}
	for line := range bytes.Lines(packed) {
		commit, name, ok := strings.Cut(strings.TrimSpace(string(line)), " ")
		if ok && name == ref && isCommit(commit) {
			return commit, nil
		}
	}
	return "", fmt.Errorf("%s does not exist", ref)
}

// readSmall reads a regular file of at most limit bytes; a pipe in its place does not block it.
func readSmall(root *os.Root, name string, limit int64) ([]byte, error) {
	f, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > limit {
		return nil, fmt.Errorf("%s is not a regular file of at most %d bytes", name, limit)
	}
	return io.ReadAll(io.LimitReader(f, limit))
}

// importCommits copies what was committed in the workspace into GitDir and returns the
// commit to go on from: the workspace's own where it descends from base, else base.
func (w *Worktree) importCommits(ctx context.Context, head clientHead, base string) (string, error) {
	if head.commit == "" || head.commit == base {
		return base, nil
	}
	limit := importTime
	if deadline, ok := ctx.Deadline(); ok {
		limit = min(limit, time.Until(deadline)/2)
	}
	saving := ctx
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	borrowing := w.own()
	borrowing.borrow = filepath.Join(w.cfg.Dir, ".git", "objects")
	descends, err := w.isAncestor(ctx, borrowing, base, head.commit)
	if err == nil && !descends {
		return base, nil // an older state, or another line of history: its files are saved
	}
	if err == nil {
		err = w.copyCommits(ctx, borrowing, head.commit, base)
	}
	if err != nil {
		if saving.Err() != nil || diskIsFull(err) {
			return "", err
		}
		w.cfg.Log("Commits made in the workspace could not be read; their files are saved as one commit.")
		return base, nil
	}
	return head.commit, nil
}

// copyCommits packs head's objects beyond base and takes the pack in, after git has
// checked each object in it and that none is missing.
func (w *Worktree) copyCommits(ctx context.Context, borrowing place, head, base string) error {
	pack, done, err := w.pack(ctx, borrowing, head+"\n^"+base+"\n", "--revs")
	if err != nil {
		return err
	}
	defer done()
	if _, err := w.git(ctx, w.own(), stdio{in: pack}, "index-pack", "--stdin", "--strict", "--fix-thin"); err != nil {
		return err
	}
	_, err = w.git(ctx, w.own(), stdio{}, "rev-list", "--objects", "--quiet", head, "^"+base)
	return err
}

// followClient moves the workspace's own branch and index along to commit, which was
// made of its files, so that `git status` is clean there. It leaves alone a repository
// in which somebody is at work, or which is not at from any more: nothing is lost by that.
func (w *Worktree) followClient(from clientHead, commit string) {
	if from.commit == "" || from.commit == commit {
		return
	}
	git, err := w.openClientGit()
	if err != nil {
		return
	}
	defer git.Close()
	if err := w.moveClient(git, from, commit); err != nil {
		w.cfg.Log("The workspace's own git was left behind: " + err.Error())
	}
}

func (w *Worktree) moveClient(git *os.Root, from clientHead, commit string) error {
	index, err := os.ReadFile(filepath.Join(w.cfg.GitDir, "index"))
	if err != nil {
		return err
	}
	info, err := os.Stat(filepath.Join(w.cfg.GitDir, "index"))
	if err != nil {
		return err
	}
	note := filepath.Join(w.cfg.GitDir, followFile)
	if err := os.WriteFile(note, []byte(from.ref), 0o644); err != nil {
		return err
	}
	defer func() { _ = os.Remove(note) }()
	// These are git's own locks: whoever works in the workspace holds them or waits.
	locks := []struct {
		name string
		data []byte
	}{{from.ref, []byte(commit + "\n")}, {"index", index}}
	for _, l := range locks {
		lock := l.name + ".lock"
		if err := w.writeClientFile(git, lock, l.data); err != nil {
			return err
		}
		defer func() { _ = git.Remove(lock) }()
	}
	if err := git.Chtimes("index.lock", info.ModTime(), info.ModTime()); err != nil {
		return err
	}
	now, err := readHead(git)
	if err != nil {
		return err
	}
	if now != from {
		return fmt.Errorf("%s has moved", from.ref)
	}
	// Commits that came from the remote may begin a history of their own.
	if shallow, err := os.ReadFile(filepath.Join(w.cfg.GitDir, "shallow")); err == nil {
		if _, err := git.Lstat("shallow"); err == nil {
			if err := w.writeClientFile(git, "shallow.lock", shallow); err != nil {
				return err
			}
			if err := git.Rename("shallow.lock", "shallow"); err != nil {
				return err
			}
		}
	}
	if err := git.Rename(from.ref+".lock", from.ref); err != nil {
		return err
	}
	return git.Rename("index.lock", "index")
}

// unlockClient ends what a killed process of this package left half-done in the
// workspace's own .git, and removes its locks, no others.
func (w *Worktree) unlockClient() error {
	note := filepath.Join(w.cfg.GitDir, followFile)
	data, err := os.ReadFile(note)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return failed("looking for locks", err)
	}
	if git, err := w.openClientGit(); err == nil {
		defer git.Close()
		// The ref is locked first and moved first: without its lock the index is to follow.
		if _, err := git.Lstat(string(data) + ".lock"); errors.Is(err, fs.ErrNotExist) {
			_ = git.Rename("index.lock", "index")
		}
		for _, name := range []string{"index", "shallow", string(data)} {
			_ = git.Remove(name + ".lock") // most were never made
		}
	}
	if err := os.Remove(note); err != nil {
		return failed("removing locks", err)
	}
	return nil
}

func (w *Worktree) writeClientFile(git *os.Root, name string, data []byte) error {
	f, err := git.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil && w.cfg.RunAs != nil {
		err = f.Chown(int(w.cfg.RunAs.Uid), int(w.cfg.RunAs.Gid))
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		_ = git.Remove(name)
	}
	return err
}
