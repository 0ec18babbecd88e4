package steps

import (
	"context"
	"errors"
	"path/filepath"
	"regexp"
	"slices"

	"go.uber.org/zap"

	"github.com/webordinary/router/containerboot/tool"
	"github.com/webordinary/router/containerboot/toolchain"
)

// lockOfNPM is the lock file that npm is going to install by; nil if there is none.
func (b *Builder) lockOfNPM() []byte {
	if b.project.Manager.Name != toolchain.NPM || b.project.Lock == "" {
		return nil
	}
	lock, err := b.readOwn(filepath.Join(b.rootDir(), b.project.Lock))
	if err != nil {
		return nil // npm will say so
	}
	return lock
}

// lendDownloads gives npm what the client's other sessions downloaded, and reports whether
// the registry's answers are among it. Without, npm downloads that itself.
func (b *Builder) lendDownloads() (answers bool) {
	b.downloaded = true
	lock := b.lockOfNPM()
	if lock == nil {
		return false
	}
	err := b.furnish()
	if err == nil {
		err = b.cfg.User.Do(func() error {
			_, n, err := b.downloads.Lend(b.npmCache(), lock)
			answers = n > 0
			return err
		})
	}
	if err != nil {
		b.cfg.Log.Warn("lending npm the client's downloads failed", zap.Error(err))
	}
	return answers
}

func (b *Builder) npmCache() string { return filepath.Join(b.cfg.Private, npmName) }

// npmRefusals are npm's own errors, and not those of a script that it ran.
var npmRefusals = regexp.MustCompile(`^npm \S+ code E[A-Z0-9_]+$`)

// believing installs with what the client's sessions were told by the registry before, and
// without that if it fails.
func (b *Builder) believing(ctx context.Context, install func(*Builder) error) error {
	if !b.lendDownloads() {
		return install(b)
	}
	with := *b
	with.env = withDefault(b.env, "npm_config_prefer_offline", "true")
	err := install(&with)
	failed := (*tool.Error)(nil)
	if !errors.As(err, &failed) || !slices.ContainsFunc(failed.Lines, npmRefusals.MatchString) || ctx.Err() != nil {
		return err
	}
	b.cfg.Log.Warn("installing by kept answers of the registry failed", zap.Error(err))
	if err := b.downloads.Doubt(b.npmCache()); err != nil {
		b.cfg.Log.Warn("forgetting them failed", zap.Error(err))
	}
	return install(b)
}

// KeepDownloads keeps what npm downloaded in this session for the client's other ones.
func (b *Builder) KeepDownloads(ctx context.Context) error {
	if !b.downloaded {
		return nil
	}
	lock := b.lockOfNPM()
	if lock == nil {
		return nil
	}
	if err := b.downloads.Keep(ctx, b.npmCache(), lock); err != nil {
		return err
	}
	b.downloaded = false
	b.cfg.Log.Info("downloads kept")
	return nil
}
