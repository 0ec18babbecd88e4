package steps

import (
	"context"
	"path/filepath"

	"go.uber.org/zap"

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

// lendDownloads gives npm what the client's other sessions downloaded. Without, it
// downloads that itself.
func (b *Builder) lendDownloads() {
	b.downloaded = true
	lock := b.lockOfNPM()
	if lock == nil {
		return
	}
	err := b.furnish()
	if err == nil {
		err = b.cfg.User.Do(func() error {
			_, err := b.downloads.Lend(filepath.Join(b.cfg.Private, npmName), lock)
			return err
		})
	}
	if err != nil {
		b.cfg.Log.Warn("lending npm the client's downloads failed", zap.Error(err))
	}
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
	if err := b.downloads.Keep(ctx, filepath.Join(b.cfg.Private, npmName), lock); err != nil {
		return err
	}
	b.downloaded = false
	b.cfg.Log.Info("downloads kept")
	return nil
}
