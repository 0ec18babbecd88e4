package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/e2e/harness"
)

// The handbook's page on clients, as its reader would follow it: every command of it is
// run, with what it shows, on the embedded store and on DynamoDB.
func TestClientsPage(t *testing.T) {
	t.Run("embedded", func(t *testing.T) {
		parallel(t)
		p := newPage(t, harness.New(t, harness.Options{}))
		for _, section := range p.sections {
			p.follow(section)
		}
	})
	t.Run("dynamodb", func(t *testing.T) {
		parallel(t)
		store := harness.NewStore(t)
		p := newPage(t, harness.New(t, store.Edge(nil, harness.Options{})))
		p.store = store
		p.follow("DynamoDB")
		for _, section := range p.sections {
			if section != "DynamoDB" {
				p.follow(section)
			}
		}
	})
}

// clientsPage is docs/clients.md.
type clientsPage struct {
	t     *testing.T
	edge  *harness.Edge
	store *harness.Store // nil: the embedded one

	sections []string // in their order
	blocks   map[string][]block
}

// block is a fenced block: ```lang argument.
type block struct {
	lang, argument, text string
}

// fence finds the fenced blocks of a section.
var fence = regexp.MustCompile("(?ms)^```([a-z]*)(?: ([^\n]*))?\n(.*?)^```$")

func newPage(t *testing.T, edge *harness.Edge) *clientsPage {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(harness.Root(t), "docs", "clients.md"))
	require.NoError(t, err)
	p := &clientsPage{t: t, edge: edge, blocks: make(map[string][]block)}
	for i, part := range strings.Split("\n"+string(text), "\n## ") {
		title, body, _ := strings.Cut(part, "\n")
		if i == 0 {
			require.NotContains(t, part, "```", "before the first section")
			continue
		}
		p.sections = append(p.sections, title)
		for _, m := range fence.FindAllStringSubmatch(body, -1) {
			p.blocks[title] = append(p.blocks[title], block{lang: m[1], argument: m[2], text: m[3]})
		}
		require.Equal(t, 2*len(p.blocks[title]), strings.Count(body, "```"), "blocks of %q", title)
	}
	return p
}

// follow does what a section says.
func (p *clientsPage) follow(section string) {
	p.t.Helper()
	p.prepare(section)
	for _, b := range p.blocks[section] {
		switch b.lang {
		case "console":
			require.Contains(p.t, []string{"", "dynamodb"}, b.argument)
			if b.argument == "" || p.store != nil {
				p.console(section, b.text)
			}
		case "json":
			require.True(p.t, json.Valid([]byte(b.text)), b.text)
			if b.argument != "" {
				p.write(b.argument, b.text)
			}
		case "caddyfile":
			p.write("shown", "{\n"+b.text+"}\n")
			r := p.edge.Shell("caddy adapt --adapter caddyfile --config shown")
			require.Zero(p.t, r.Code, r.Out)
		default:
			require.Fail(p.t, "a block that nobody runs", "%s: %s", section, b.text)
		}
	}
}

// prepare makes what a section supposes.
func (p *clientsPage) prepare(section string) {
	p.t.Helper()
	switch section {
	case "Over HTTP":
		p.edge.Start()
		harness.Eventually(p.t, harness.Patience, "the edge is asked", func() bool {
			status, _ := p.edge.AskAdmin("GET", "/webordinary/status", "")
			return status == 200
		})
	case "Upgrade from older tools":
		if p.store == nil {
			return // has no such rows
		}
		p.store.PutOlder("cedar", "edit.cedar.example", 15, map[string]any{"theme": map[string]any{"S": "green"}})
		p.store.PutOlder("dahlia", "edit.cedar.example", 15, nil)
		p.store.PutOlder("elder", "edit.elder.example", 0, nil)
	}
}

func (p *clientsPage) write(name, text string) {
	p.t.Helper()
	require.NoError(p.t, os.WriteFile(filepath.Join(filepath.Dir(p.edge.Config), name), []byte(text), 0o600))
}

// progressLine is one that depends on how fast the machine is.
var progressLine = regexp.MustCompile(`(?m)^\d+ (of \d+ )?(clients written|stored clients read|configurations read).*\n`)

// console runs the commands of a block and compares what they print.
func (p *clientsPage) console(section, text string) {
	p.t.Helper()
	commands := strings.Split("\n"+p.here(text), "\n$ ")
	require.Empty(p.t, commands[0], "%s: output before a command", section)
	for _, part := range commands[1:] {
		command, want, _ := strings.Cut(part, "\n")
		r := p.edge.Shell(command)
		got := progressLine.ReplaceAllString(r.Out, "")
		code := 0
		if regexp.MustCompile(`(?m)^Error: `).MatchString(want) {
			code = 1
		}
		assert.Equal(p.t, code, r.Code, "%s: %s\n%s", section, command, got)
		assert.Regexp(p.t, pattern(want), got, "%s: %s", section, command)
	}
}

// here is a text of the page with the names of this edge in it.
func (p *clientsPage) here(text string) string {
	text = strings.ReplaceAll(text, "localhost:2019", p.edge.Admin)
	text = strings.ReplaceAll(text, ":8080", p.edge.PortSuffix())
	if p.store != nil {
		text = regexp.MustCompile(`webordinary-(client-configs|edit-hosts|config-changes)`).ReplaceAllString(text, p.store.Prefix()+"$1")
	}
	return text
}

// pattern is what output must match: … stands for anything in a line, and alone on a line
// for any lines.
func pattern(want string) string {
	var b strings.Builder
	b.WriteString(`\A`)
	for line := range strings.Lines(strings.TrimLeft(strings.TrimRight(want, "\n")+"\n", "\n")) {
		if line == "…\n" {
			b.WriteString(`(?:.*\n)*?`)
			continue
		}
		b.WriteString(strings.ReplaceAll(regexp.QuoteMeta(strings.TrimSuffix(line, "\n")), "…", ".*") + `\n`)
	}
	b.WriteString(`\z`)
	return b.String()
}

// The policy on the page allows every call that the store and the registry make.
func TestClientsPagePolicy(t *testing.T) {
	p := newPage(t, nil)
	var policy struct {
		Statement []struct{ Action []string }
	}
	for _, b := range p.blocks["DynamoDB"] {
		if b.lang == "json" {
			require.NoError(t, json.Unmarshal([]byte(b.text), &policy))
		}
	}
	allowed := make(map[string]bool)
	for _, s := range policy.Statement {
		for _, action := range s.Action {
			allowed[strings.TrimPrefix(action, "dynamodb:")] = true
		}
	}
	// A transaction needs the actions that it consists of.
	parts := map[string][]string{
		"TransactWriteItems": {"PutItem", "UpdateItem", "DeleteItem", "ConditionCheckItem"},
		"TransactGetItems":   {"GetItem"},
	}
	used := make(map[string]bool)
	var files []string
	for _, dir := range []string{"configstore/dynamodb", "sessions/dynamodb", "internal/dynamo"} {
		found, err := filepath.Glob(filepath.Join(harness.Root(t), dir, "*.go"))
		require.NoError(t, err)
		require.NotEmpty(t, found)
		files = append(files, found...)
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		source, err := os.ReadFile(file)
		require.NoError(t, err)
		for _, m := range regexp.MustCompile(`client\.([A-Z]\w+)\(ctx`).FindAllStringSubmatch(string(source), -1) {
			actions := parts[m[1]]
			if actions == nil {
				actions = []string{m[1]}
			}
			for _, action := range actions {
				used[action] = true
				assert.True(t, allowed[action], "%s is called by %s and not in the policy", action, filepath.Base(file))
			}
		}
	}
	for action := range allowed {
		assert.True(t, used[action], "nothing calls %s", action)
	}
}
