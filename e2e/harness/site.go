package harness

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/stretchr/testify/require"
)

// Site is a client whose site needs no package and builds in a moment.
type Site struct {
	ID   string
	Host string
	// Repository is its bare git repository.
	Repository string

	edge *Edge
}

// SiteOptions say how a site differs from one that simply works.
type SiteOptions struct {
	// Build is JavaScript that is run before the site is written. Node's fs is at hand.
	Build string
	// Folder is where its repository lies. Default: in the edge's data folder.
	Folder string
	// From is a folder whose files are the site instead.
	From string
	// Files are further files of the repository; an empty text removes a file.
	Files map[string]string
	// Client changes the client's configuration.
	Client func(map[string]any)
}

// build writes the site: content.txt is on its first page, and so is its age.
const build = `import * as fs from 'node:fs';
const pause = (ms) => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
const awaitFile = (file) => { while (!fs.existsSync(file)) pause(20); };
void awaitFile;
%s
const content = fs.readFileSync('content.txt', 'utf8').trim();
const page = (title) => '<!doctype html><html><head><meta charset="utf-8"><title>' + title + '</title>'
  + '<link rel="stylesheet" href="/_astro/site.abcdefgh.css"></head><body><h1>' + title + '</h1><p>' + content + '</p>'
  + '<a href="/about/">about</a></body></html>';
fs.mkdirSync('dist/about', { recursive: true });
fs.mkdirSync('dist/_astro', { recursive: true });
fs.writeFileSync('dist/index.html', page('Home'));
fs.writeFileSync('dist/about/index.html', page('About'));
fs.writeFileSync('dist/404.html', page('Not here'));
fs.writeFileSync('dist/_astro/site.abcdefgh.css', 'h1 { color: rgb(1, 2, 3) }');
fs.writeFileSync('dist/kilobyte.txt', 'k'.repeat(1024));
`

// NewSite makes a repository and the client that it belongs to, whose edit host is
// edit.{id}.localhost.
func (e *Edge) NewSite(id string, o SiteOptions) *Site {
	e.t.Helper()
	if o.Folder == "" {
		o.Folder = filepath.Join(e.Data, "repositories")
	}
	s := &Site{
		ID:         id,
		Host:       fmt.Sprintf("edit.%s.localhost", id),
		Repository: filepath.Join(o.Folder, id+".git"),
		edge:       e,
	}
	files := map[string]string{
		"package.json":      fmt.Sprintf("{\n  \"name\": %q,\n  \"private\": true,\n  \"scripts\": { \"build\": \"node build.mjs\" }\n}\n", id),
		"package-lock.json": fmt.Sprintf("{\n  \"name\": %q,\n  \"lockfileVersion\": 3,\n  \"requires\": true,\n  \"packages\": { \"\": { \"name\": %q } }\n}\n", id, id),
		"build.mjs":         fmt.Sprintf(build, o.Build),
		"content.txt":       "content of " + id + "\n",
		"old.txt":           "an old file\n",
		".gitignore":        "dist/\nnode_modules/\n",
	}
	for name, text := range o.Files {
		if text == "" {
			delete(files, name)
		} else {
			files[name] = text
		}
	}
	tree := e.t.TempDir()
	if o.From != "" {
		require.NoError(e.t, os.CopyFS(tree, os.DirFS(o.From)))
		files = nil
	}
	for name, text := range files {
		file := filepath.Join(tree, name)
		require.NoError(e.t, os.MkdirAll(filepath.Dir(file), 0o755))
		require.NoError(e.t, os.WriteFile(file, []byte(text), 0o600))
	}
	require.NoError(e.t, os.MkdirAll(filepath.Dir(s.Repository), 0o755))
	s.Git("init", "--quiet", "--bare", "--initial-branch=main", s.Repository)
	s.Git("-C", tree, "init", "--quiet", "--initial-branch=main")
	s.Git("-C", tree, "add", "--all")
	s.Git("-C", tree, "commit", "--quiet", "--message=The site")
	s.Git("-C", tree, "push", "--quiet", s.Repository, "main")

	client := map[string]any{
		"clientId":   id,
		"domains":    map[string]any{"production": "www." + id + ".example", "edit": s.Host},
		"repository": map[string]any{"url": "file://" + s.Repository, "branch": "main"},
		"settings":   map[string]any{"containerSize": "small", "idleTimeoutMinutes": 15, "maxConcurrentSessions": 10},
	}
	if o.Client != nil {
		o.Client(client)
	}
	e.PutClient(client)
	return s
}

// PutClient writes a client's configuration by the CLI.
func (e *Edge) PutClient(client map[string]any) {
	e.t.Helper()
	text, err := json.Marshal(client)
	require.NoError(e.t, err)
	r := e.Run(string(text), "webordinary", "client", "put", "-")
	require.Zero(e.t, r.Code, r.Err)
}

// Git runs git and returns what it prints, without the last line's end.
func (s *Site) Git(args ...string) string {
	s.edge.t.Helper()
	cmd := exec.CommandContext(context.Background(), "git", args...)
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1",
		"GIT_AUTHOR_NAME=Test", "GIT_AUTHOR_EMAIL=test@example.com", "GIT_COMMITTER_NAME=Test", "GIT_COMMITTER_EMAIL=test@example.com")
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	require.NoErrorf(s.edge.t, cmd.Run(), "git %q: %s", args, errs.String())
	return strings.TrimSuffix(out.String(), "\n")
}

// OnPush has a shell script run in the repository at every push before it is taken.
func (s *Site) OnPush(script string) {
	s.edge.t.Helper()
	hook := filepath.Join(s.Repository, "hooks", "pre-receive")
	require.NoError(s.edge.t, os.MkdirAll(filepath.Dir(hook), 0o755))
	s.edge.writeScript(hook, script)
}
