package configstore

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestDiff(t *testing.T) {
	key := func(text string) DeployKey {
		return DeployKey("-----BEGIN PRIVATE KEY-----\n" + text + "\n-----END PRIVATE KEY-----\n")
	}
	base := Client{
		ClientID:   "amelia",
		Domains:    Domains{Production: "www.amelia.example", Edit: "edit.amelia.example", Aliases: []string{"a.example", "b.example"}},
		Repository: Repository{URL: "git@git.example.com:amelia.git", Branch: "main", DeployKey: key("c2VjcmV0")},
		Settings:   Settings{ContainerSize: SizeSmall, IdleTimeoutMinutes: 15, MaxConcurrentSessions: 5},
		Unknown:    map[string]json.RawMessage{"settings.color": json.RawMessage(`"blue"`)},
	}
	for name, test := range map[string]struct {
		change func(*Client)
		want   []string
	}{
		"nothing":         {func(*Client) {}, nil},
		"a number":        {func(c *Client) { c.Settings.IdleTimeoutMinutes = 30 }, []string{"settings.idleTimeoutMinutes: 15 → 30"}},
		"a new field":     {func(c *Client) { c.Repository.Directory = "site" }, []string{`repository.directory: (none) → "site"`}},
		"a boolean":       {func(c *Client) { c.Disabled = true }, []string{"disabled: (none) → true"}},
		"an empty object": {func(c *Client) { c.Build, c.Infrastructure = &Build{}, &Infrastructure{} }, nil},
		"a variable": {
			func(c *Client) { c.Build = &Build{Env: map[string]string{"A.B": "1"}} },
			[]string{`build.env.A\.B: (none) → "[redacted]"`},
		},
		"credentials in a URL": {
			func(c *Client) { c.Repository.URL = "https://robot:hunter2@git.example/amelia.git" },
			[]string{`repository.url: "git@git.example.com:amelia.git" → "https://redacted@git.example/amelia.git"`},
		},
		"a list": {
			func(c *Client) { c.Domains.Aliases = []string{"b.example", "c.example"} },
			[]string{`domains.aliases: removed "a.example", added "c.example"`},
		},
		"a list that is gone": {
			func(c *Client) { c.Domains.Aliases = nil },
			[]string{`domains.aliases: removed "a.example", removed "b.example"`},
		},
		"the order of a list": {
			func(c *Client) { c.Domains.Aliases = []string{"b.example", "a.example"} },
			[]string{`domains.aliases: ["a.example","b.example"] → ["b.example","a.example"]`},
		},
		"another key":      {func(c *Client) { c.Repository.DeployKey = key("YW5vdGhlcg==") }, []string{`repository.deployKey: "[redacted]" → "[redacted]" (another)`}},
		"no key":           {func(c *Client) { c.Repository.DeployKey = "" }, []string{`repository.deployKey: "[redacted]" → (none)`}},
		"a reference":      {func(c *Client) { c.Repository.DeployKey = "env:KEY" }, []string{`repository.deployKey: "[redacted]" → "env:KEY"`}},
		"an unknown field": {func(c *Client) { c.Unknown = nil }, []string{`settings.color: "blue" → (none)`}},
		"several fields, by path": {
			func(c *Client) { c.Settings.ContainerSize, c.Domains.Edit = SizeLarge, "e.example" },
			[]string{`domains.edit: "edit.amelia.example" → "e.example"`, `settings.containerSize: "small" → "large"`},
		},
		"a long value": {
			func(c *Client) { c.Build = &Build{Command: strings.Repeat("é", 3000)} },
			[]string{`build.command: (none) → "` + strings.Repeat("é", 99) + "…"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			after := Normalize(base)
			test.change(&after)
			changes, err := Diff(base, after)
			require.NoError(t, err)
			var got []string
			for _, c := range changes {
				got = append(got, c.String())
			}
			assert.Equal(t, test.want, got)
			encoded, err := json.Marshal(changes)
			require.NoError(t, err)
			assert.NotContains(t, string(encoded), "BEGIN")
		})
	}
}
