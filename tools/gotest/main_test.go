package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestSplit(t *testing.T) {
	flags, groups := split([]string{"-race", "--", "./a", "./b", "--", "./c"})
	if got := strings.Join(flags, " "); got != "-race" {
		t.Errorf("flags: %q", got)
	}
	if len(groups) != 2 || strings.Join(groups[0], " ") != "./a ./b" || strings.Join(groups[1], " ") != "./c" {
		t.Errorf("groups: %q", groups)
	}
}

// lines of go test -json: one test of each outcome, and a package that does not build.
const lines = `{"Action":"run","Package":"p","Test":"TestGood"}
{"Action":"output","Package":"p","Test":"TestGood","Output":"noise\n"}
{"Action":"pass","Package":"p","Test":"TestGood"}
{"Action":"output","Package":"p","Test":"TestAway","Output":"not here\n"}
{"Action":"skip","Package":"p","Test":"TestAway"}
{"Action":"output","Package":"p","Output":"PASS\n"}
{"Action":"output","Package":"p","Output":"ok  \tp\t0.1s\n"}
{"Action":"pass","Package":"p"}
`

const failing = `{"Action":"output","Package":"q","Test":"TestBad","Output":"want 1\n"}
{"Action":"fail","Package":"q","Test":"TestBad"}
{"Action":"fail","Package":"q"}
{"Action":"build-output","ImportPath":"r","Output":"r.go:1: broken\n"}
{"Action":"fail","Package":"r"}
`

func TestReport(t *testing.T) {
	for name, test := range map[string]struct {
		in   string
		ci   bool
		ok   bool
		want string
	}{
		"passes": {in: lines, ok: true, want: "ok  \tp\t0.1s\n1 passed, 0 failed, 1 skipped\n"},
		"skip in CI": {in: lines, ci: true, want: "ok  \tp\t0.1s\n" +
			"FAIL: tests were skipped, which CI does not allow:\np TestAway\nnot here\n" +
			"1 passed, 0 failed, 1 skipped\n"},
		"fails": {in: failing, want: "want 1\nr.go:1: broken\n0 passed, 2 failed, 0 skipped\n"},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			r := newReport(&out)
			r.read(strings.NewReader(test.in))
			if ok := r.finish(test.ci); ok != test.ok {
				t.Errorf("ok: %v", ok)
			}
			if out.String() != test.want {
				t.Errorf("printed:\n%s\nwant:\n%s", out.String(), test.want)
			}
		})
	}
}
