package worktree

import (
	"context"
	"errors"

	"github.com/webordinary/router/containerboot/bootapi"
)

var errSoon = errors.New("worktree: under construction")

func (w *Worktree) Prepare(ctx context.Context) (Prepared, error)  { return Prepared{}, errSoon }
func (w *Worktree) ContentKey(ctx context.Context) (string, error) { return "", errSoon }
func (w *Worktree) IgnoreBuildDirt(ctx context.Context) error      { return errSoon }
func (w *Worktree) Save(ctx context.Context, message string) (bootapi.SaveResult, error) {
	return bootapi.SaveResult{}, errSoon
}
func (w *Worktree) SyncRemote(ctx context.Context) (changed bool, err error) { return false, errSoon }
