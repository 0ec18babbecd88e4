package worktree

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// forwarding is the content of forwardFile.
type forwarding struct {
	From string `json:"from"`
	To   string `json:"to"`
	// Pushed: To came from the remote. Base: from Config.Branch there.
	Pushed bool `json:"pushed,omitempty"`
	Base   bool `json:"base,omitempty"`
	// Draft: To is a draft that was made of another container's, its second parent, and
	// From is of the files before. Remote is the remote's edit branch, if To has that.
	Draft  bool   `json:"draft,omitempty"`
	Remote string `json:"remote,omitempty"`
	// Anyway: To need not descend from From.
	Anyway bool `json:"-"`
}

// forward moves branch and files from one commit to another where nothing is lost by it.
func (w *Worktree) forward(ctx context.Context, f forwarding) (bool, error) {
	if f.From == f.To {
		return false, nil
	}
	ahead, err := w.isAncestor(ctx, w.own(), f.From, f.To)
	if err != nil {
		return false, err
	}
	if !ahead && !f.Anyway {
		w.cfg.Log("The branch on the remote has commits that this session lacks, and the other way round.")
		return false, nil
	}
	client := w.readClientHead()
	if client.commit != "" && client.commit != f.From {
		w.cfg.Log("The workspace has commits of its own: it was not moved to the remote's newer state.")
		return false, nil
	}
	possible, err := w.moveFiles(ctx, f)
	if err != nil || !possible {
		return false, err
	}
	return true, w.finishRefs(ctx, f)
}

// moveFiles changes the files, or nothing at all where one of them has unsaved work.
func (w *Worktree) moveFiles(ctx context.Context, f forwarding) (bool, error) {
	if err := w.giveFolders(ctx, f.From, f.To); err != nil {
		return false, err
	}
	v, err := w.visit(w.own())
	if err != nil {
		return false, err
	}
	defer v.end()
	p := v.place
	if _, err := w.git(ctx, p, stdio{}, "read-tree", "--reset", f.From); err != nil {
		return false, err
	}
	// Its exit code says that files differ, which read-tree finds out by itself.
	if _, err := w.git(ctx, p, stdio{}, "update-index", "-q", "--refresh"); err != nil && ctx.Err() != nil {
		return false, err
	}
	if _, err := w.git(ctx, p, stdio{}, "read-tree", "-n", "-m", "-u", f.From, f.To); err != nil {
		if ctx.Err() != nil || diskIsFull(err) {
			return false, err
		}
		w.cfg.Log("Unsaved work touches files that are newer on the remote: the workspace was not moved.")
		return false, nil
	}
	if gone, err := w.deletedIn(ctx, p, f.From, f.To); err != nil {
		return false, err
	} else if gone {
		w.cfg.Log("A file that is newer on the remote was deleted here: the workspace was not moved.")
		return false, nil
	}
	data, err := json.Marshal(f)
	if err == nil {
		err = writeFile(filepath.Join(w.cfg.GitDir, forwardFile), data)
	}
	if err != nil {
		return false, failed("noting the fast-forward", err)
	}
	if _, err := w.git(ctx, p, stdio{}, "read-tree", "-m", "-u", f.From, f.To); err != nil {
		if diskIsFull(err) {
			if undoing := w.undoForward(ctx, v, f); undoing != nil {
				w.cfg.Log("The newer files could not be taken back: " + undoing.Error())
			}
		}
		return false, err
	}
	return true, w.keepIndex(v)
}

// keepIndex makes the index that a visit leaves that of GitDir.
func (w *Worktree) keepIndex(v *visit) error {
	index := filepath.Join(w.cfg.GitDir, "index")
	tmp := aside(index)
	defer os.Remove(tmp)
	if err := v.takeIndex(tmp); err != nil {
		return err
	}
	if err := os.Rename(tmp, index); err != nil {
		return failed("keeping the index", err)
	}
	return nil
}

// deletedIn reports whether a file that differs between two commits was deleted in the
// workspace: read-tree takes a missing file for an unchanged one.
func (w *Worktree) deletedIn(ctx context.Context, p place, from, to string) (bool, error) {
	out, err := w.git(ctx, p, stdio{}, "ls-files", "-z", "--deleted")
	if err != nil || len(out) == 0 {
		return false, err
	}
	deleted := map[string]bool{}
	for name := range strings.SplitSeq(string(out), "\x00") {
		deleted[name] = true
	}
	out, err = w.diff(ctx, from, to)
	if err != nil {
		return false, err
	}
	for c := range changes(out) {
		if deleted[c.path] {
			return true, nil
		}
	}
	return false, nil
}

// finishRefs makes the files' commit the edit branch's, and the workspace's own.
func (w *Worktree) finishRefs(ctx context.Context, f forwarding) error {
	before, err := w.readRef(w.cfg.GitDir, w.editRef())
	if err != nil {
		return failed("reading the edit branch", err)
	}
	refs := []string{w.editRef(), f.To}
	if f.Pushed {
		refs = append(refs, refPushed, f.To)
	}
	if f.Base {
		refs = append(refs, refBase, f.To)
	}
	if f.Draft {
		if refs, err = w.draftRefs(ctx, f); err != nil {
			return err
		}
	}
	if err := w.setRefs(ctx, w.own(), refs...); err != nil {
		return err
	}
	modules, err := w.moveModules(ctx, f.To)
	if err != nil {
		return err
	}
	w.noteUnfetched(ctx, w.own(), f.To, modules)
	after, err := w.readRef(w.cfg.GitDir, w.editRef())
	if err != nil {
		return failed("reading the edit branch", err)
	}
	if client := w.readClientHead(); client.commit == f.From || client.commit == before {
		w.followClient(client, after)
	}
	if err := os.Remove(filepath.Join(w.cfg.GitDir, forwardFile)); err != nil {
		return failed("ending the fast-forward", err)
	}
	return nil
}

// undoForward takes back what a fast-forward did to the files before the disk was full: a
// build would take half a file for a whole one. Where that fails too, the fast-forward
// goes on once there is room.
func (w *Worktree) undoForward(ctx context.Context, v *visit, f forwarding) error {
	out, err := w.diff(ctx, f.From, f.To)
	if err != nil {
		return err
	}
	work, err := os.OpenRoot(w.cfg.Dir)
	if err != nil {
		return failed("opening the workspace", err)
	}
	defer work.Close()
	var old strings.Builder
	for c := range changes(out) {
		now, err := fileObject(filepath.Join(w.cfg.Dir, c.path))
		if err != nil || now.Object == c.oldObject || isFolder(work, c.path) {
			continue
		}
		if now.Object != "" {
			if now.Object != c.object && !w.begins(ctx, c.path, f.To) {
				continue // somebody's work
			}
			if err := work.Remove(c.path); err != nil {
				return failed("removing half a file", err)
			}
		}
		if c.status != "A" {
			old.WriteString(c.path + "\x00")
		}
	}
	if _, err := w.git(ctx, v.place, stdio{}, "read-tree", "--reset", f.From); err != nil {
		return err
	}
	if _, err := w.git(ctx, v.place, stdio{in: strings.NewReader(old.String())}, "checkout-index", "-f", "-q", "-u", "-z", "--stdin"); err != nil {
		return err
	}
	if err := os.Remove(filepath.Join(w.cfg.GitDir, forwardFile)); err != nil {
		return failed("ending the fast-forward", err)
	}
	return nil
}

// finishForward ends a fast-forward that a crash interrupted: without that, files which
// were not yet changed would look like work that takes the remote's back. A file that is
// neither as before nor as after is somebody's work and stays.
func (w *Worktree) finishForward(ctx context.Context) error {
	data, err := os.ReadFile(filepath.Join(w.cfg.GitDir, forwardFile))
	if os.IsNotExist(err) {
		return nil
	}
	var f forwarding
	if err == nil {
		err = json.Unmarshal(data, &f)
	}
	if err != nil {
		return failed("reading the interrupted fast-forward", err)
	}
	if err := w.giveFolders(ctx, f.From, f.To); err != nil {
		return err
	}
	v, err := w.visit(w.own())
	if err != nil {
		return err
	}
	defer v.end()
	if _, err := w.git(ctx, v.place, stdio{}, "read-tree", "--reset", f.To); err != nil {
		return err
	}
	out, err := w.diff(ctx, f.From, f.To)
	if err != nil {
		return err
	}
	work, err := os.OpenRoot(w.cfg.Dir)
	if err != nil {
		return failed("opening the workspace", err)
	}
	defer work.Close()
	var in strings.Builder
	for c := range changes(out) {
		now, err := fileObject(filepath.Join(w.cfg.Dir, c.path))
		if err != nil {
			continue
		}
		if now.Object != "" && now.Object != c.oldObject && !w.begins(ctx, c.path, f.To) {
			continue
		}
		if c.status == "D" {
			_ = work.Remove(c.path)
		} else {
			in.WriteString(c.path + "\x00")
		}
	}
	if _, err := w.git(ctx, v.place, stdio{in: strings.NewReader(in.String())}, "checkout-index", "-f", "-q", "-u", "-z", "--stdin"); err != nil {
		return err
	}
	if err := w.keepIndex(v); err != nil {
		return err
	}
	return w.finishRefs(ctx, f)
}

// begins reports whether a file is the beginning of what it is in a commit: its writing
// was cut off.
func (w *Worktree) begins(ctx context.Context, path, commit string) bool {
	whole, err := w.git(ctx, w.own(), stdio{}, "cat-file", "--filters", commit+":"+path)
	if err != nil {
		return false // not in the commit
	}
	f, err := openRegular(filepath.Join(w.cfg.Dir, path))
	if err != nil {
		return false
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, int64(len(whole))+1))
	return err == nil && bytes.HasPrefix(whole, data)
}
