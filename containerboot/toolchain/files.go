package toolchain

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"syscall"
)

// maxFile is how large a file may be that is read for what it says, in bytes: lock
// files of large workspaces have tens of megabytes.
const maxFile = 64 << 20

// Files is a working tree that belongs to somebody else: nothing is read that its links
// lead to outside of it.
type Files string

// Read returns a file, by its path with slashes. fs.ErrNotExist where there is no
// regular file of that name.
func (t Files) Read(name string) ([]byte, error) {
	root, err := os.OpenRoot(string(t))
	if err != nil {
		return nil, err
	}
	defer root.Close()
	// Opening a pipe would wait for its other end.
	f, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fs.ErrNotExist
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = fmt.Errorf("%s is larger than %d bytes", name, maxFile)
	}
	return data, err
}

func (t Files) has(name string) bool {
	root, err := os.OpenRoot(string(t))
	if err != nil {
		return false
	}
	defer root.Close()
	info, err := root.Stat(name)
	return err == nil && info.Mode().IsRegular()
}

// manifest is what of a package.json matters here.
type manifest struct {
	PackageManager  string            `json:"packageManager"`
	Engines         engines           `json:"engines"`
	DevEngines      devEngines        `json:"devEngines"`
	Volta           engines           `json:"volta"`
	Workspaces      json.RawMessage   `json:"workspaces"`
	Dependencies    map[string]string `json:"dependencies"`
	DevDependencies map[string]string `json:"devDependencies"`
}

// engines are a package's needs, by the name of the program ("node", "pnpm"). npm ignores
// what is no object there, and so do we.
type engines map[string]string

func (e *engines) UnmarshalJSON(data []byte) error {
	var all map[string]any
	_ = json.Unmarshal(data, &all)
	*e = engines{}
	for name, value := range all {
		if text, ok := value.(string); ok {
			(*e)[name] = text
		}
	}
	return nil
}

// devEngines are what a package is developed with, which its installation insists on:
// the runtime and the package manager, of several the first that is known here.
type devEngines struct{ Runtime, PackageManager devEngine }

type devEngine struct{ Name, Version string }

func (e *devEngines) UnmarshalJSON(data []byte) error {
	var all struct {
		Runtime        json.RawMessage `json:"runtime"`
		PackageManager json.RawMessage `json:"packageManager"`
	}
	_ = json.Unmarshal(data, &all)
	e.Runtime = chosen(all.Runtime, "node")
	e.PackageManager = chosen(all.PackageManager, NPM, PNPM, Yarn)
	return nil
}

// chosen is the first of a list, or the only one, that has one of these names.
func chosen(data json.RawMessage, names ...string) devEngine {
	var list []devEngine
	if json.Unmarshal(data, &list) != nil {
		var one devEngine
		_ = json.Unmarshal(data, &one)
		list = []devEngine{one}
	}
	for _, e := range list {
		if slices.Contains(names, e.Name) {
			return e
		}
	}
	return devEngine{}
}

// manifest reads the package.json of a folder; the zero value where there is none.
func (t Files) manifest(dir string) (manifest, error) {
	var m manifest
	name := path.Join(dir, "package.json")
	data, err := t.Read(name)
	if errors.Is(err, fs.ErrNotExist) {
		return m, nil
	}
	if err != nil {
		return m, fault(err, "The file %q of this repository cannot be read.", name)
	}
	if err := json.Unmarshal(data, &m); err != nil {
		if syntax := (*json.SyntaxError)(nil); errors.As(err, &syntax) {
			line := 1 + bytes.Count(data[:min(int64(len(data)), syntax.Offset)], []byte("\n"))
			return m, fault(err, "The file %q of this repository is not valid JSON: line %d: %v.", name, line, err)
		}
		return m, fault(err, "The file %q of this repository is not what a package.json must be.", name)
	}
	return m, nil
}
