package downloads

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// A lock file may name packages by version and hash, but not say where they are: npm asks the
// registry about each one then, fetches what that names, and keeps the answers in its cache's
// index, under the request. They are kept and lent too, for packages whose hash the lock file
// gives: an answer that a session's code invented can then make an installation fail, and no
// more.

const (
	answersName = "index"
	// mostAnswers and mostAnswer bound what is read of an index, in files and folders, of which
	// each file may have two, and in bytes of a file.
	mostAnswers = 30_000
	mostAnswer  = 64 << 10
)

// unplaced are the packages that a lock file has hashes of, but no addresses; none if it
// has one without a hash.
func unplaced(lock []byte) map[string]bool {
	var l struct {
		Packages map[string]struct {
			Name, Resolved, Integrity string
			Link, InBundle            bool
		}
	}
	if json.Unmarshal(lock, &l) != nil {
		return nil
	}
	names := map[string]bool{}
	for where, p := range l.Packages {
		_, name, ok := cutLast(where, "node_modules/")
		switch {
		case !ok || p.Link || p.InBundle: // nothing that npm fetches
		case !integrity.MatchString(p.Integrity):
			return nil
		case p.Resolved == "" && p.Name != "":
			names[p.Name] = true
		case p.Resolved == "":
			names[name] = true
		}
	}
	return names
}

func cutLast(s, sep string) (before, after string, ok bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

// answer is an entry of npm's index: a line of a file that is named after its key.
type answer struct {
	line    []byte
	key     string
	content sum
}

const requests = "make-fetch-happen:request-cache:"

// readAnswer reads the newest entry of a file of the index.
func readAnswer(data []byte) (answer, bool) {
	lines := bytes.Split(bytes.TrimSpace(data), []byte("\n"))
	line := lines[len(lines)-1]
	_, text, ok := bytes.Cut(line, []byte("\t"))
	var e struct{ Key, Integrity string }
	if !ok || json.Unmarshal(text, &e) != nil || !strings.HasPrefix(e.Key, requests) {
		return answer{}, false
	}
	m := integrity.FindStringSubmatch(e.Integrity)
	if m == nil || m[0] != e.Integrity {
		return answer{}, false
	}
	raw, err := base64.StdEncoding.DecodeString(m[1])
	return answer{line: line, key: e.Key, content: sum(hex.EncodeToString(raw))}, err == nil
}

// about is the package that was asked for; "" for what is no request of that kind.
func (a answer) about() string {
	u, err := url.Parse(strings.TrimPrefix(a.key, requests))
	if err != nil {
		return ""
	}
	path, _, _ := strings.Cut(u.Path, "/-/") // its file, else what the registry knows of it
	before, name, _ := cutLast(path, "/")
	if _, scope, ok := cutLast(before, "/"); ok && strings.HasPrefix(scope, "@") {
		return scope + "/" + name
	}
	return name
}

// indexed is where npm's cache has an entry: cacache's format, version 5.
func (a answer) indexed() string {
	of := hash(a.key)
	return filepath.Join("_cacache", "index-v5", of[:2], of[2:4], of[4:])
}

func hash(text string) string {
	h := sha256.Sum256([]byte(text))
	return hex.EncodeToString(h[:])
}

// answers is the folder of the answers about a package.
func (s *Store) answers(name string) string { return filepath.Join(s.dir, answersName, hash(name)) }

// lendAnswers writes what the registry said about packages into an npm cache.
func (s *Store) lendAnswers(npmCache string, names map[string]bool) (lent int, err error) {
	for name := range names {
		files, err := os.ReadDir(s.answers(name))
		if err != nil {
			continue
		}
		for _, f := range files {
			data, err := os.ReadFile(filepath.Join(s.answers(name), f.Name()))
			a, ok := readAnswer(data)
			if err != nil || !ok || a.about() != name {
				continue
			}
			if is, err := s.lend(npmCache, a.content); err != nil {
				return lent, err
			} else if !is {
				continue
			}
			to := filepath.Join(npmCache, a.indexed())
			if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
				return lent, err
			}
			out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
			if errors.Is(err, fs.ErrExist) {
				continue // its own
			}
			if err == nil {
				_, err = out.Write(append([]byte("\n"), a.line...))
				err = errors.Join(err, out.Close())
			}
			if err != nil {
				return lent, err
			}
			lent++
		}
	}
	return lent, nil
}

// keepAnswers takes what the registry said about packages from an npm cache.
func (s *Store) keepAnswers(ctx context.Context, from *os.Root, names map[string]bool, left *int64) error {
	if len(names) == 0 {
		return nil
	}
	looked := 0
	err := fs.WalkDir(from.FS(), "_cacache/index-v5", func(path string, d fs.DirEntry, err error) error {
		if looked++; looked > mostAnswers || ctx.Err() != nil {
			return fs.SkipAll
		}
		if err != nil || !d.Type().IsRegular() {
			return ignoreGone(err)
		}
		// It may be a pipe by now, of which nobody waits for the other end.
		f, err := from.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
		if err != nil {
			return ignoreGone(err)
		}
		defer f.Close()
		data, err := io.ReadAll(io.LimitReader(f, mostAnswer))
		if err != nil {
			return err
		}
		a, ok := readAnswer(data)
		if !ok || !names[a.about()] {
			return nil
		}
		if *left -= leastSize; *left < 0 {
			return fs.SkipAll
		}
		if err := s.keep(from, a.content, left); err != nil {
			return err
		}
		return s.keepAnswer(a)
	})
	if err != nil {
		return fmt.Errorf("keeping the registry's answers: %w", err)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

func (s *Store) keepAnswer(a answer) error {
	dir := s.answers(a.about())
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	out, err := s.create()
	if err != nil {
		return err
	}
	defer os.Remove(out.Name())
	_, err = out.Write(a.line)
	if err = errors.Join(err, out.Chmod(0o644), out.Close()); err != nil {
		return err
	}
	return os.Rename(out.Name(), filepath.Join(dir, hash(a.key)))
}

// Doubt forgets all that the registry said, and empties an npm cache: an installation that
// believed it failed. npm would keep a link to a damaged file of which it has the whole
// one. Links are not followed out of the cache.
func (s *Store) Doubt(npmCache string) error {
	cache, err := os.OpenRoot(npmCache)
	if err != nil {
		return fmt.Errorf("forgetting the registry's answers: %w", err)
	}
	defer cache.Close()
	if err := errors.Join(cache.RemoveAll("_cacache"), os.RemoveAll(filepath.Join(s.dir, answersName))); err != nil {
		return fmt.Errorf("forgetting the registry's answers: %w", err)
	}
	return nil
}
