package configstore

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func mustPattern(tb testing.TB, s string) HostPattern {
	tb.Helper()
	p, err := ParseHostPattern(s)
	require.NoError(tb, err)
	return p
}

func TestHostPattern(t *testing.T) {
	tests := []struct {
		pattern, host string
		client        string // empty: no match
	}{
		{"edit.{client}.webordinary.com", "edit.amelia.webordinary.com", "amelia"},
		{"Edit.{client}.Webordinary.com.", "edit.amelia.webordinary.com", "amelia"},
		{"{client}-edit.webordinary.com", "amelia-edit.webordinary.com", "amelia"},
		{"{client}-edit.webordinary.com", "amelia-edit-edit.webordinary.com", "amelia-edit"},
		{"edit-{client}.localhost", "edit-amelia.localhost", "amelia"},
		{"{client}.localhost", "amelia.localhost", "amelia"},

		{"edit.{client}.webordinary.com", "edit.a.b.webordinary.com", ""},
		{"edit.{client}.webordinary.com", "edit..webordinary.com", ""},
		{"edit.{client}.webordinary.com", "edit.webordinary.com", ""},
		{"edit.{client}.webordinary.com", "edit.amelia.webordinary.com.evil.example", ""},
		{"edit.{client}.webordinary.com", "xedit.amelia.webordinary.com", ""},
		{"{client}-edit.webordinary.com", "-edit.webordinary.com", ""},
		{"{client}-edit.webordinary.com", "a--edit.webordinary.com", ""},
		{"edit-{client}.localhost", "edit-.localhost", ""},
		{"{client}.localhost", "localhost", ""},
		{"{client}.localhost", "", ""},
	}
	for _, test := range tests {
		p := mustPattern(t, test.pattern)
		client, ok := p.Match(test.host)
		assert.Equal(t, test.client != "", ok, "%s on %s", test.pattern, test.host)
		if test.client != "" {
			assert.Equal(t, test.client, client)
			assert.Equal(t, test.host, p.Host(client))
		}
	}
	assert.Equal(t, "edit.{client}.webordinary.com", mustPattern(t, "EDIT.{client}.webordinary.com").String())
	_, ok := HostPattern{}.Match("amelia")
	assert.False(t, ok, "the zero value matches nothing")
}

func TestParseHostPatternErrors(t *testing.T) {
	for pattern, want := range map[string]string{
		"":                                  "exactly once",
		"edit.webordinary.com":              "exactly once",
		"{client}.{client}.webordinary.com": "exactly once",
		"{Client}.webordinary.com":          "exactly once",
		"{client}":                          "must have a domain",
		"edit.{client}.webordinary.com:443": "without a port",
		"edit.{client}..com":                "labels",
		"*.{client}.com":                    "host name",
		"edit.{client}.1":                   "IP address",
		"xn--{client}.example":              "A-label",
		"edit.{client}.bücher.example":      "plain ASCII",
		"-{client}.example":                 "labels",
	} {
		_, err := ParseHostPattern(pattern)
		require.Error(t, err, pattern)
		assert.Contains(t, err.Error(), want, pattern)
	}
}
