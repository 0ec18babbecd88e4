package configstore

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// A snapshot is the routing table in a file, for a start while the store is down. The
// file is what encodeSnapshot writes and the SHA-256 of it. It holds what routing needs
// and nothing else: no keys.

// writeSnapshot replaces the file with a snapshot of a generation: whoever reads it finds
// the old one or the new one, whole. Folders that are missing are made.
func writeSnapshot(path string, head snapshotHead, g *generation) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("writing snapshot: %w", err)
	}
	file, err := os.CreateTemp(dir, filepath.Base(path)+tempPattern) // with mode 0600
	if err != nil {
		return fmt.Errorf("writing snapshot: %w", err)
	}
	err = errors.Join(fillSnapshot(file, head, g), file.Close())
	if err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("writing snapshot: %w", errors.Join(err, os.Remove(file.Name())))
	}
	return nil
}

func fillSnapshot(file *os.File, head snapshotHead, g *generation) error {
	head.clients = g.info.Clients
	sum := sha256.New()
	if err := encodeSnapshot(io.MultiWriter(file, sum), head, g.entries()); err != nil {
		return err
	}
	if _, err := file.Write(sum.Sum(nil)); err != nil {
		return err
	}
	return file.Sync() // else the new name may outlive a crash and the content not
}

// readSnapshot reads the snapshot of a store. Its error is fs.ErrNotExist where there is
// no file; anything else that is wrong with it is an error too, and nothing of it is
// returned then.
func readSnapshot(path, store string) (snapshotHead, *baseBuilder, error) {
	head, bb, err := openSnapshot(path, store)
	if err != nil {
		return snapshotHead{}, nil, fmt.Errorf("reading snapshot: %w", err)
	}
	return head, bb, nil
}

func openSnapshot(path, store string) (snapshotHead, *baseBuilder, error) {
	file, err := os.Open(path)
	if err != nil {
		return snapshotHead{}, nil, err
	}
	defer file.Close()
	body, err := checkedBody(file)
	if err != nil {
		return snapshotHead{}, nil, err
	}
	return decodeSnapshot(body, store)
}

var errSnapshotDamaged = errors.New("the file is damaged")

// checkedBody compares a file with the sum at its end and returns what stands before it.
// The file is read twice, so that it need not be held in memory to be believed.
func checkedBody(file *os.File) (io.Reader, error) {
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	size := info.Size() - sha256.Size
	if size < 0 {
		return nil, errSnapshotDamaged
	}
	sum := sha256.New()
	if _, err := io.Copy(sum, io.NewSectionReader(file, 0, size)); err != nil {
		return nil, err
	}
	want := make([]byte, sha256.Size)
	if _, err := file.ReadAt(want, size); err != nil {
		return nil, err
	}
	if !bytes.Equal(sum.Sum(nil), want) {
		return nil, errSnapshotDamaged
	}
	return io.NewSectionReader(file, 0, size), nil
}

const (
	// tempPattern follows a snapshot's name in that of one which is being written.
	tempPattern = ".*.tmp"
	// tempAge is how old one is whose writer is certainly gone.
	tempAge = time.Hour
)

// sweepSnapshots removes what writers left that were killed. What cannot be removed stays.
func sweepSnapshots(path string) {
	dir := filepath.Dir(path)
	files, _ := os.ReadDir(dir) // none where there is no folder yet
	for _, file := range files {
		if !strings.HasPrefix(file.Name(), filepath.Base(path)+".") || !strings.HasSuffix(file.Name(), ".tmp") {
			continue
		}
		if info, err := file.Info(); err == nil && time.Since(info.ModTime()) > tempAge {
			_ = os.Remove(filepath.Join(dir, file.Name()))
		}
	}
}
