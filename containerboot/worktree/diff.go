package worktree

import (
	"context"
	"strings"
)

// diff compares two trees or commits; changes reads its result.
func (w *Worktree) diff(ctx context.Context, from, to string) ([]byte, error) {
	return w.git(ctx, w.own(), stdio{}, "diff-tree", "-r", "-z", "--no-renames", "--raw", "--no-abbrev", from, to)
}

// change is one path of git's raw diff format.
type change struct {
	status       string // A, D, M or T
	mode, object string // after; before, for a deleted file
	oldObject    string
	path         string
}

// changes reads the output of diff.
func changes(out []byte) func(yield func(change) bool) {
	return func(yield func(change) bool) {
		fields := strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00")
		for i := 0; i+1 < len(fields); i += 2 {
			// ":100644 100755 <object> <object> M"
			f := strings.Fields(strings.TrimPrefix(fields[i], ":"))
			if len(f) != 5 {
				return
			}
			if !yield(change{status: f[4], mode: f[1], object: f[3], oldObject: f[2], path: fields[i+1]}) {
				return
			}
		}
	}
}
