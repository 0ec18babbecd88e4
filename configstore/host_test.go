package configstore

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var longLabel = strings.Repeat("a", maxLabel)

// longHost is as long as a name may be.
var longHost = longLabel + "." + longLabel + "." + longLabel + "." + strings.Repeat("b", 61)

func TestHosts(t *testing.T) {
	require.Len(t, longHost, maxHost)
	tests := []struct {
		raw  string
		want string // empty: refused
	}{
		{"edit.amelia.webordinary.com", "edit.amelia.webordinary.com"},
		{"EDIT.Amelia.localhost.:8080", "edit.amelia.localhost"},
		{"edit.amelia.localhost:8080", "edit.amelia.localhost"},
		{"edit.amelia.localhost:", "edit.amelia.localhost"},
		{"localhost", "localhost"},
		{"a--b.example", "a--b.example"},
		{"ab--cd.example", "ab--cd.example"},
		{"xn--mnchen-3ya.example", "xn--mnchen-3ya.example"},
		{"4.example", "4.example"},
		{"1a.2b", "1a.2b"},
		{"1.2.3.4.example", "1.2.3.4.example"},
		{longHost, longHost},
		{longHost + ".", longHost},
		{longHost + ".:443", longHost},

		{"", ""},
		{".", ""},
		{":80", ""},
		{".example", ""},
		{"a..example", ""},
		{"example..", ""},
		{"-a.example", ""},
		{"a-.example", ""},
		{"a_b.example", ""},
		{"*.example", ""},
		{"a b.example", ""},
		{"a.example/", ""},
		{"https://a.example", ""},
		{"a.example\x00", ""},
		{"user@a.example", ""},
		{"a.example:http", ""},
		{"a.example:123456", ""},
		{"a.example:80:80", ""},
		{"127.0.0.1", ""},
		{"127.0.0.1:80", ""},
		{"127.1", ""},
		{"0x7f.1", ""},
		{"0x7f000001", ""},
		{"a.0x", ""},
		{"2130706433", ""},
		{"::1", ""},
		{"[::1]", ""},
		{"[::1]:80", ""},
		{"[fe80::1%25eth0]", ""},
		{longHost + "b", ""},
		{longLabel + "a.example", ""},
		{strings.Repeat("a.", 1<<16), ""},
	}
	for _, test := range tests {
		normal, err := NormalizeHost(test.raw)
		looked, ok := LookupHost(test.raw)
		assert.Equal(t, test.want != "", err == nil, "NormalizeHost(%q): %v", test.raw, err)
		assert.Equal(t, test.want, normal, "NormalizeHost(%q)", test.raw)
		assert.Equal(t, test.want != "", ok, "LookupHost(%q)", test.raw)
		assert.Equal(t, test.want, looked, "LookupHost(%q)", test.raw)
	}
}

func TestNormalizeHostInternational(t *testing.T) {
	for raw, want := range map[string]string{
		"München.example":        "xn--mnchen-3ya.example",
		"edit。bücher。example。":   "edit.xn--bcher-kva.example",
		"straße.example":         "xn--strae-oqa.example",
		"xn--MNCHEN-3ya.eXample": "xn--mnchen-3ya.example",
		"ＡＭＥＬＩＡ.example":         "amelia.example",
	} {
		got, err := NormalizeHost(raw)
		require.NoError(t, err, raw)
		assert.Equal(t, want, got)
	}
	for _, raw := range []string{
		"xn--a.example",          // no such encoding
		"xn--mnchen-.example",    // ends with a hyphen
		"\u0301a.example",        // begins with a combining mark
		"a\u200db.example",       // joiner out of place
		"\u05d0a.example",        // mixes directions
		"１２７.０.０.１",              // an address in full-width digits
		"a\u2488com",             // a compatibility character with a dot in it
		"\xff.example",           // not UTF-8
		strings.Repeat("ü", 200), // too long once encoded
	} {
		_, err := NormalizeHost(raw)
		require.Error(t, err, "%q", raw)
		_, ok := LookupHost(raw)
		assert.Equal(t, strings.HasPrefix(raw, "xn--a."), ok, "a request's host is not decoded: %q", raw)
	}
}

func TestLookupHostAllocations(t *testing.T) {
	for raw, want := range map[string]float64{
		"edit.amelia.webordinary.com":       0,
		"edit.amelia.webordinary.com.:8443": 0,
		"Edit.Amelia.webordinary.com":       1,
		"127.0.0.1:80":                      0,
		"edit..amelia":                      0,
		longHost + "x":                      0,
	} {
		assert.InDelta(t, want, testing.AllocsPerRun(100, func() { LookupHost(raw) }), 0, raw)
	}
}

func FuzzNormalizeHost(f *testing.F) {
	for _, seed := range []string{
		"", ".", ":", "a", "edit.amelia.webordinary.com", "EDIT.Amelia.localhost.:8080", "München.example:443",
		"xn--mnchen-3ya.example.", "127.0.0.1", "[::1]:80", "0x7f.1", "a..b", "-a.b", "a。b。", "ﬀ.example", "a\u00adb.c", longHost,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		looked, ok := LookupHost(raw)
		if ok {
			again, ok := LookupHost(looked)
			require.True(t, ok)
			require.Equal(t, looked, again)
			require.LessOrEqual(t, len(looked), maxHost)
		}
		normal, err := NormalizeHost(raw)
		if err != nil {
			require.Empty(t, normal)
			return
		}
		again, err := NormalizeHost(normal)
		require.NoError(t, err)
		require.Equal(t, normal, again)
		// What configuration holds must be found by the requests for it.
		found, foundOK := LookupHost(normal)
		require.True(t, foundOK)
		require.Equal(t, normal, found)
		if ok {
			require.Equal(t, normal, looked)
		}
	})
}

func BenchmarkLookupHost(b *testing.B) {
	for name, raw := range map[string]string{
		"clean": "edit.amelia.webordinary.com",
		"port":  "edit.amelia.webordinary.com:8443",
		"upper": "Edit.Amelia.Webordinary.com",
		"ip":    "127.0.0.1:8443",
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				LookupHost(raw)
			}
		})
	}
}
