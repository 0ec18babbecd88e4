package worktree

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/webordinary/router/containerboot/bootapi"
)

// The values of bootapi.SaveResult.Where.
const (
	savedNothing = "nothing"
	savedRemote  = "remote"
	savedBundle  = "bundle"
)

const (
	// listedFiles is how many changed files a commit's message names.
	listedFiles = 50
	// messageLimit bounds the message that a caller gives, in bytes.
	messageLimit = 4000
	// bundleTime is kept back of a save's time, but at most half of it, so that work
	// which the remote does not take in time can still be bundled; and it is what a
	// bundle gets where the save was cancelled.
	bundleTime = 15 * time.Second
)

// Save commits the workspace's files to the edit branch, after the commits that were made
// in the workspace, and pushes it, never by force. Where the remote's has moved on the two
// are merged, in the workspace too, unless something works on the files in question; a file
// that both changed stays as it is here. What the remote does not take is kept
// as a bundle: then the result says so, and the error is nil. An empty message is made
// from the files' names. Where nothing is unsaved and nothing unpushed the result is
// "nothing". A deadline of ctx holds for all of it, and the push leaves time for the
// bundle. Where ctx is cancelled during the push, the bundle is made all the same, in at
// most 15 s. Errors are of type *Error; the work is then still in the workspace.
func (w *Worktree) Save(ctx context.Context, message string) (bootapi.SaveResult, error) {
	if err := w.drafting.interrupt(ctx); err != nil {
		return bootapi.SaveResult{}, err
	}
	defer w.drafting.token.release()
	if err := w.lock.take(ctx); err != nil {
		return bootapi.SaveResult{}, err
	}
	defer w.lock.release()
	if err := removeLocks(w.cfg.GitDir, w.fetching.Load()); err != nil {
		return bootapi.SaveResult{}, failed("removing leftovers", err)
	}
	// Prepare takes an empty workspace for a lost one, so it is no deletion of all files.
	if lost, err := empty(w.cfg.Dir); err != nil || lost {
		return bootapi.SaveResult{}, &Error{Cause: "The workspace is gone, so there was nothing to save.", err: err}
	}
	if err := w.unlockClient(); err != nil {
		return bootapi.SaveResult{}, err
	}
	if err := w.finishForward(ctx); err != nil {
		return bootapi.SaveResult{}, err
	}
	head, err := w.commit(ctx, message)
	if err != nil {
		return bootapi.SaveResult{}, err
	}
	if err := w.spendDraft(ctx, head); err != nil {
		return bootapi.SaveResult{}, err
	}
	result, err := w.deliver(ctx, head)
	if err != nil {
		return result, err
	}
	keeping, cancel := bundleContext(ctx)
	defer cancel()
	result.Note, err = w.keepModules(keeping)
	return result, err
}

// commit brings the edit branch up to date with the workspace and returns its head.
func (w *Worktree) commit(ctx context.Context, message string) (string, error) {
	old, err := w.readRef(w.cfg.GitDir, w.editRef())
	if err != nil {
		return "", failed("reading the edit branch", err)
	}
	dirt, err := w.readDirt()
	if err != nil {
		return "", err
	}
	client := w.readClientHead()
	base, err := w.importCommits(ctx, client, old)
	if err != nil {
		return "", err
	}
	snap, err := w.snapshot(ctx, w.own(), base, dirt)
	if err != nil {
		return "", err
	}
	defer snap.discard()
	head := base
	out, err := w.diff(ctx, base, snap.tree)
	if err != nil {
		return "", err
	}
	if len(out) > 0 {
		text := w.message(message, out)
		commit, err := w.git(ctx, w.own(), stdio{in: strings.NewReader(text)}, "commit-tree", "-p", base, "-F", "-", snap.tree)
		if err != nil {
			return "", err
		}
		head = strings.TrimSpace(string(commit))
	}
	if head != old {
		if err := w.setRefs(ctx, w.own(), w.editRef(), head); err != nil {
			return "", err
		}
	}
	// A crash before this leaves an index that is only slower to compare.
	if err := os.Rename(snap.index, filepath.Join(w.cfg.GitDir, "index")); err != nil {
		return "", failed("keeping the index", err)
	}
	follow := client.commit == base
	if !follow && client.ref == w.editRef() {
		// Left behind by an earlier save; the commit may also be unknown here.
		follow, _ = w.isAncestor(ctx, w.own(), client.commit, head)
	}
	if follow {
		w.followClient(client, head)
	}
	return head, nil
}

// message is a commit's: the given one or one made from the changes, and their list.
func (w *Worktree) message(given string, diff []byte) string {
	var list strings.Builder
	n, first := 0, ""
	for c := range changes(diff) {
		if n++; n == 1 {
			first = strings.ToLower(verb(c.status)) + " " + printable(c.path)
		}
		if n <= listedFiles {
			fmt.Fprintf(&list, "%s %s\n", c.status, printable(c.path))
		}
	}
	if n > listedFiles {
		fmt.Fprintf(&list, "and %d more\n", n-listedFiles)
	}
	subject := strings.TrimSpace(strings.ToValidUTF8(strings.ReplaceAll(given, "\x00", ""), "�"))
	if len(subject) > messageLimit {
		subject = strings.ToValidUTF8(subject[:messageLimit], "")
	}
	switch {
	case subject != "":
	case n == 1:
		subject = strings.ToUpper(first[:1]) + first[1:]
	default:
		subject = "Change " + strconv.Itoa(n) + " files"
	}
	return subject + "\n\n" + list.String() + "\nSession: " + printable(w.cfg.SessionID) + "\n"
}

func verb(status string) string {
	switch status {
	case "A":
		return "Add"
	case "D":
		return "Remove"
	default:
		return "Change"
	}
}

// printable quotes a path that would not read as one word of a line.
func printable(path string) string {
	if strings.ContainsFunc(path, func(r rune) bool { return !unicode.IsPrint(r) || r == unicode.ReplacementChar }) {
		return strconv.Quote(path)
	}
	return path
}

// deliver pushes the edit branch, or bundles it.
func (w *Worktree) deliver(ctx context.Context, head string) (bootapi.SaveResult, error) {
	pushed, err := w.readRef(w.cfg.GitDir, refPushed)
	if err != nil {
		return bootapi.SaveResult{}, failed("reading what was pushed", err)
	}
	if head == pushed {
		w.dropDraft(ctx)
		w.dropBundle(ctx, head)
		return bootapi.SaveResult{Where: savedNothing, Commit: head}, nil
	}
	head, conflicts, pushErr := w.pushMerged(ctx, head)
	if pushErr == nil {
		if err := w.setRefs(ctx, w.own(), refPushed, head, w.remoteRef(), head); err != nil {
			w.cfg.Log("The push could not be noted and will be repeated: " + err.Error())
		}
		w.dropBundle(ctx, head)
		return bootapi.SaveResult{Where: savedRemote, Commit: head, Conflicts: conflicts}, nil
	}
	bundling, cancel := bundleContext(ctx)
	defer cancel()
	if err := w.writeBundle(bundling, head); err != nil {
		return bootapi.SaveResult{}, errors.Join(err, pushErr)
	}
	return bootapi.SaveResult{Where: savedBundle, Commit: head, Error: pushErr.Error(), Conflicts: conflicts}, nil
}

// bundleContext outlives a cancelled ctx, as the work matters more than the moment, but
// not its deadline, after which nobody may be there to let it end.
func bundleContext(ctx context.Context) (context.Context, context.CancelFunc) {
	until := time.Now().Add(bundleTime)
	if deadline, ok := ctx.Deadline(); ok && deadline.Before(until) {
		until = deadline
	}
	return context.WithDeadline(context.WithoutCancel(ctx), until)
}

// dropBundle removes a bundle that is needed no more. One that stays does no harm.
func (w *Worktree) dropBundle(ctx context.Context, head string) {
	if err := w.removeBundle(ctx, w.own(), head); err != nil {
		w.cfg.Log("The bundle of an earlier save could not be removed: " + err.Error())
	}
}
