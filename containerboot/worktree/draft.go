package worktree

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"

	"github.com/webordinary/router/containerboot/bootapi"
)

// A draft is the workspace as it is between saves: a commit of its files that is on no
// branch. Its first parent is where the session stands, commits of the workspace's own
// included, its second the draft before it. The latest is at refDraft here and at
// refs/webordinary/{SessionID} on the remote, which so only ever moves forward.
//
// A draft is spent when its tree is that of its first parent: there is nothing in it that
// is not in the branch. A save makes the draft a spent one before it pushes. So whatever
// of it arrives, and in which order, no wake takes older work for newer: a draft of before
// is an ancestor of the spent one, and that says nothing that the branch does not.
const (
	// refDraft is the latest draft.
	refDraft = "refs/webordinary/draft"
	// refDraftPushed is the last one that the remote is known to have.
	refDraftPushed = "refs/webordinary/draft-pushed"
	// refDraftFound is another container's, which this one went on from.
	refDraftFound = "refs/webordinary/draft-found"

	draftMessage = "Work in progress"
)

// draftEscape escapes what names of refs must not have, beyond what paths of URLs must not.
var draftEscape = strings.NewReplacer("~", "%7E", ":", "%3A", "*", "%2A", "@", "%40", ".", "%2E")

// remoteDraft is the name of the session's draft on the remote.
func (w *Worktree) remoteDraft() string {
	return "refs/webordinary/" + draftEscape.Replace(url.PathEscape(w.cfg.SessionID))
}

// drafting is what concerns pushing a draft, one at a time. A Save and a Prepare interrupt
// it: where a push that was given up arrives after all, it must not come after the Save's.
type drafting struct {
	token token
	mu    sync.Mutex
	// cancel interrupts what is being pushed; nil for nothing.
	cancel context.CancelFunc
	// refused: the remote takes no such refs.
	refused bool
}

// interrupt ends the push of a draft; until release nothing else begins one.
func (d *drafting) interrupt(ctx context.Context) error {
	d.mu.Lock()
	if d.cancel != nil {
		d.cancel()
	}
	d.mu.Unlock()
	return d.token.take(ctx)
}

func (d *drafting) isRefused() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.refused
}

// KeepDraft makes a draft of the workspace, in GitDir alone: neither the edit branch nor
// the workspace and its .git are touched. It returns the draft for PushDraft, empty where
// everything is on the remote or in the bundle already. What was changed within submodules
// is bundled. Errors are of type *Error.
func (w *Worktree) KeepDraft(ctx context.Context) (string, error) {
	if err := w.lock.take(ctx); err != nil {
		return "", err
	}
	defer w.lock.release()
	if _, err := os.Stat(filepath.Join(w.cfg.GitDir, forwardFile)); err == nil {
		return "", nil // the files are neither here nor there: the next save puts them right
	}
	if err := removeLocks(w.cfg.GitDir, w.fetching.Load()); err != nil {
		return "", failed("removing leftovers", err)
	}
	if lost, err := empty(w.cfg.Dir); err != nil || lost {
		return "", &Error{Cause: "The workspace is gone, so there was nothing to save.", err: err}
	}
	old, err := w.readRef(w.cfg.GitDir, w.editRef())
	if err != nil {
		return "", failed("reading the edit branch", err)
	}
	dirt, err := w.readDirt()
	if err != nil {
		return "", err
	}
	base, err := w.importCommits(ctx, w.readClientHead(), old)
	if err != nil {
		return "", err
	}
	snap, err := w.snapshot(ctx, w.own(), base, dirt)
	if err != nil {
		return "", err
	}
	defer snap.discard()
	draft, err := w.draft(ctx, base, snap.tree)
	if err != nil {
		return "", err
	}
	_, err = w.keepModules(ctx)
	return draft, err
}

// draft makes a draft of a tree, unless the one before says the same and is delivered.
func (w *Worktree) draft(ctx context.Context, base, tree string) (string, error) {
	last, err := w.findRef(refDraft)
	if err != nil {
		return "", err
	}
	pushed, err := w.findRef(refDraftPushed)
	if err != nil {
		return "", err
	}
	if last == "" {
		head, err := w.findRef(refPushed)
		if err != nil {
			return "", err
		}
		if same, err := w.hasTree(ctx, base, tree); err != nil || same && base == head {
			return "", err
		}
	} else {
		d, err := w.readDraft(ctx, w.own(), last)
		if err != nil {
			return "", err
		}
		if d.base == base && d.tree == tree {
			if last == pushed || w.bundled(ctx, last) {
				return "", nil
			}
			return last, nil
		}
	}
	out, err := w.diff(ctx, base, tree)
	if err != nil {
		return "", err
	}
	return w.makeDraft(ctx, w.message(draftMessage, out), base, tree, last)
}

// makeDraft makes the latest draft.
func (w *Worktree) makeDraft(ctx context.Context, text, base, tree, last string) (string, error) {
	parents := []string{base}
	if last != "" {
		parents = append(parents, last)
	}
	commit, err := w.commitTree(ctx, w.own(), text, tree, parents...)
	if err != nil {
		return "", err
	}
	return commit, w.setRefs(ctx, w.own(), refDraft, commit)
}

// PushDraft brings a draft of KeepDraft to the remote, or into the bundle where that does
// not take it: the result says so, and the error is nil. No other method waits for it: Save
// and Prepare interrupt it, and the result is "nothing" then. Errors are of type *Error.
func (w *Worktree) PushDraft(ctx context.Context, draft string) (bootapi.SaveResult, error) {
	if err := w.drafting.token.take(ctx); err != nil {
		return bootapi.SaveResult{}, err
	}
	defer w.drafting.token.release()
	pushing, cancel := context.WithCancel(ctx)
	defer cancel()
	w.drafting.mu.Lock()
	w.drafting.cancel = cancel
	w.drafting.mu.Unlock()
	defer func() {
		w.drafting.mu.Lock()
		w.drafting.cancel = nil
		w.drafting.mu.Unlock()
	}()
	if now, err := w.findRef(refDraft); err != nil || now != draft {
		return bootapi.SaveResult{Where: savedNothing}, err // saved meanwhile
	}
	var pushErr error
	if !w.drafting.isRefused() {
		pushErr = w.pushSpecs(pushing, draft+":"+w.remoteDraft())
		if isRefusal(pushErr) && !isOvertaken(pushErr) {
			w.drafting.mu.Lock()
			w.drafting.refused = true
			w.drafting.mu.Unlock()
		}
	} else {
		pushErr = errDraftsRefused
	}
	if pushing.Err() != nil && ctx.Err() == nil {
		return bootapi.SaveResult{Where: savedNothing}, nil
	}
	if ctx.Err() != nil {
		return bootapi.SaveResult{}, &Error{Cause: tookTooLong, Retryable: true, err: ctx.Err()}
	}
	if err := w.lock.take(pushing); err != nil {
		return bootapi.SaveResult{}, err
	}
	defer w.lock.release()
	if pushErr == nil {
		return bootapi.SaveResult{Where: savedRemote, Commit: draft}, w.setRefs(pushing, w.own(), refDraftPushed, draft)
	}
	head, err := w.readRef(w.cfg.GitDir, w.editRef())
	if err != nil {
		return bootapi.SaveResult{}, failed("reading the edit branch", err)
	}
	if err := w.writeBundle(pushing, head); err != nil {
		return bootapi.SaveResult{}, errors.Join(err, pushErr)
	}
	return bootapi.SaveResult{Where: savedBundle, Commit: draft, Error: pushErr.Error()}, nil
}

// errDraftsRefused is why a draft is not pushed at all.
var errDraftsRefused = &Error{Cause: "The repository's server takes no refs but branches, so what was not saved yet is kept in the cache only."}

// refusals are how a remote says that it does not take a push, whatever is tried again.
var refusals = regexp.MustCompile(`(?i)\[(remote )?rejected\]|does not support --atomic|unable to delete|remote ref does not exist|shallow update not allowed|error: 40[13]|access denied|permission denied`)

// isRefusal reports whether a push failed for another reason than the network.
func isRefusal(err error) bool {
	e := (*Error)(nil)
	return errors.As(err, &e) && !e.Retryable && refusals.MatchString(e.Detail)
}

// overtaken is how git refuses a draft where the remote has one that does not lead to it:
// another container of the session has gone on.
var overtaken = regexp.MustCompile(`\[rejected\].*\((fetch first|non-fast-forward)\)`)

func isOvertaken(err error) bool {
	e := (*Error)(nil)
	return errors.As(err, &e) && overtaken.MatchString(e.Detail)
}

// findRef is readRef, or "" where there is none.
func (w *Worktree) findRef(ref string) (string, error) {
	commit, err := w.readRef(w.cfg.GitDir, ref)
	switch {
	case os.IsNotExist(err):
		return "", nil
	case err != nil:
		return "", failed("reading "+ref, err)
	default:
		return commit, nil
	}
}

func (w *Worktree) hasTree(ctx context.Context, commit, tree string) (bool, error) {
	has, err := w.gitLine(ctx, w.own(), "rev-parse", "--verify", commit+"^{tree}")
	return has == tree, err
}

// draftParts are what a draft says.
type draftParts struct{ base, tree, baseTree string }

func (d draftParts) isSpent() bool { return d.tree == d.baseTree }

func (w *Worktree) readDraft(ctx context.Context, p place, draft string) (draftParts, error) {
	out, err := w.gitLine(ctx, place{git: p.git}, "rev-parse", draft+"^1", draft+"^{tree}", draft+"^1^{tree}")
	if err != nil {
		return draftParts{}, err
	}
	f := strings.Fields(out)
	if len(f) != 3 {
		return draftParts{}, failed("reading a draft", fmt.Errorf("%.10s is none", draft))
	}
	return draftParts{base: f[0], tree: f[1], baseTree: f[2]}, nil
}
