package caddymodule

import (
	"context"
	"errors"
	"io"
	"os"

	"github.com/webordinary/router/configstore"
	"github.com/webordinary/router/sessions"
)

// Examine implements Examiner: it reads a client, if the file is there.
func (s *EmbeddedConfigStore) Examine(ctx context.Context, dataDir string) []Finding {
	path := embeddedPath(s.Path, dataDir)
	return []Finding{examineFile("config store", path, dataDir, s.OpenConfigStore, firstClient(ctx))}
}

// Examine implements Examiner: it reads a session, if the file is there.
func (r *EmbeddedRegistry) Examine(ctx context.Context, dataDir string) []Finding {
	path := embeddedPath(r.Path, dataDir)
	return []Finding{examineFile("session registry", path, dataDir, r.OpenRegistry, firstSession(ctx))}
}

// firstClient returns what reads a client of a store.
func firstClient(ctx context.Context) func(configstore.Store) error {
	return func(store configstore.Store) error {
		_, err := store.List(ctx, "", 1)
		return err
	}
}

// firstSession returns what reads a session of a registry.
func firstSession(ctx context.Context) func(sessions.Registry) error {
	return func(registry sessions.Registry) error {
		_, err := registry.List(ctx, "", "", 1)
		return err
	}
}

// examineFile reads what is in a file, and does not make one where there is none.
func examineFile[T io.Closer](check, path, dataDir string, open func(dataDir string) (T, error), read func(T) error) Finding {
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		return fine(check, path+" does not exist yet; the first use makes it")
	}
	if err := tryRead(dataDir, open, read); err != nil {
		return failing(check, err.Error(), "let the edge's user read and write it, or put back a copy of it")
	}
	return fine(check, path+" can be read")
}

// tryRead opens something, reads it, and closes it.
func tryRead[T io.Closer](dataDir string, open func(dataDir string) (T, error), read func(T) error) error {
	opened, err := open(dataDir)
	if err != nil {
		return err
	}
	return errors.Join(read(opened), opened.Close())
}
