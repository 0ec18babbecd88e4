package worktree

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
)

// refTheirs is what the remote's edit branch was when a save had to be merged with it.
const refTheirs = "refs/webordinary/theirs"

// mergeTries is how often a save merges with a branch that moves on again meanwhile.
const mergeTries = 3

// merged is what two lines of history come to.
type merged struct {
	tree string
	// conflicts are the files that both changed in ways which do not go together; each is
	// as ours has it, or theirs where ours deleted it. The other version is in the history.
	conflicts []string
}

// merge joins the trees of two commits. Unrelated histories are an error.
func (w *Worktree) merge(ctx context.Context, gitDir, ours, theirs string) (merged, error) {
	// Without the workspace: nothing in it says how to merge.
	bare := place{git: gitDir}
	var out bytes.Buffer
	_, err := w.git(ctx, bare, stdio{out: &out}, "merge-tree", "--write-tree", "-z", "--name-only", "--no-messages", ours, theirs)
	exit := (*exitError)(nil)
	if err != nil && (!errors.As(err, &exit) || exit.code != 1) {
		return merged{}, err
	}
	tree, names, _ := strings.Cut(out.String(), "\x00")
	if !isCommit(tree) {
		return merged{}, failed("merging", fmt.Errorf("%.100q is no tree", tree))
	}
	m := merged{tree: tree}
	for name := range strings.SplitSeq(names, "\x00") {
		if name != "" {
			m.conflicts = append(m.conflicts, name)
		}
	}
	if len(m.conflicts) > 0 {
		m.tree, err = w.takeOurs(ctx, bare, m, ours)
	} else {
		err = nil
	}
	return m, err
}

// takeOurs puts ours in the place of what git made of the files in conflict.
func (w *Worktree) takeOurs(ctx context.Context, bare place, m merged, ours string) (string, error) {
	bare.index = aside(filepath.Join(bare.git, "index"))
	defer snapshot{index: bare.index}.discard()
	if _, err := w.git(ctx, bare, stdio{}, "read-tree", m.tree); err != nil {
		return "", err
	}
	conflict := map[string]bool{}
	for _, name := range m.conflicts {
		conflict[name] = true
	}
	all, err := w.git(ctx, bare, stdio{}, "ls-tree", "-r", "-z", ours)
	if err != nil {
		return "", err
	}
	var in strings.Builder
	for entry := range strings.SplitSeq(string(all), "\x00") {
		if _, name, ok := strings.Cut(entry, "\t"); ok && conflict[name] {
			in.WriteString(entry + "\x00")
		}
	}
	if _, err := w.git(ctx, bare, stdio{in: strings.NewReader(in.String())}, "update-index", "--replace", "-z", "--index-info"); err != nil {
		return "", err
	}
	return w.gitLine(ctx, bare, "write-tree")
}

// mergeCommit makes a commit that has both histories, and says which files were in conflict.
func (w *Worktree) mergeCommit(ctx context.Context, gitDir, ours, theirs string) (string, []string, error) {
	m, err := w.merge(ctx, gitDir, ours, theirs)
	if err != nil {
		return "", nil, err
	}
	var text strings.Builder
	text.WriteString("Merge changes from elsewhere\n\n")
	if n := len(m.conflicts); n > 0 {
		said := fmt.Sprintf("Changed on both sides, and kept as in the session; the other version is in %.10s: ", theirs)
		w.cfg.Log(said + enumerate(m.conflicts))
		text.WriteString(said + "\n")
		for _, name := range m.conflicts[:min(n, listedFiles)] {
			text.WriteString(printable(name) + "\n")
		}
		if n > listedFiles {
			fmt.Fprintf(&text, "and %d more\n", n-listedFiles)
		}
		text.WriteString("\n")
	}
	text.WriteString("Session: " + printable(w.cfg.SessionID) + "\n")
	commit, err := w.commitTree(ctx, place{git: gitDir}, text.String(), m.tree, ours, theirs)
	return commit, m.conflicts, err
}

// commitTree makes a commit of a tree.
func (w *Worktree) commitTree(ctx context.Context, p place, text, tree string, parents ...string) (string, error) {
	args := []string{"commit-tree", "-F", "-"}
	for _, parent := range parents {
		args = append(args, "-p", parent)
	}
	out, err := w.git(ctx, place{git: p.git}, stdio{in: strings.NewReader(text)}, append(args, tree)...)
	return strings.TrimSpace(string(out)), err
}

// mergeRemote joins what the remote's edit branch has beyond this session with head, which
// the workspace is at, moves the workspace there and returns the commit. It is empty where
// the files cannot be moved: something works on them.
func (w *Worktree) mergeRemote(ctx context.Context, head string) (commit string, conflicts []string, err error) {
	if err := w.fetch(ctx, w.own(), w.cfg.EditBranch, refTheirs); err != nil {
		return "", nil, err
	}
	theirs, err := w.readRef(w.cfg.GitDir, refTheirs)
	if err != nil {
		return "", nil, failed("reading what was fetched", err)
	}
	f := forwarding{From: head, To: theirs, Pushed: true}
	has, err := w.isAncestor(ctx, w.own(), head, theirs)
	if err != nil {
		return "", nil, err
	}
	if !has {
		f.Pushed = false
		if f.To, conflicts, err = w.mergeCommit(ctx, w.cfg.GitDir, head, theirs); err != nil {
			return "", nil, err
		}
	}
	moved, err := w.forward(ctx, f)
	if err != nil || !moved {
		return "", nil, err
	}
	w.cfg.Log("Changes from elsewhere were merged.")
	return f.To, conflicts, w.setRefs(ctx, w.own(), refPushed, theirs, w.remoteRef(), theirs)
}
