// Command gotest runs go test over groups of packages, one group after the other,
// and ends with one line that counts the tests of all of them.
//
//	gotest [flag of go test]… -- package… [-- package…]…
//
// It prints what go test prints without -v. Where the environment variable CI is
// "true" a skipped test is a failure, so that nothing goes untested unnoticed.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"syscall"
)

func main() {
	flags, groups := split(os.Args[1:])
	if len(groups) == 0 {
		fmt.Fprintln(os.Stderr, "usage: gotest [flag]... -- package... [-- package...]...")
		os.Exit(2)
	}
	// go test is in our process group, and ends by a terminal's Ctrl-C itself; what
	// it printed until then is still to be shown.
	signal.Ignore(syscall.SIGINT)

	report := newReport(os.Stdout)
	ok := true
	for _, packages := range groups {
		if err := run(report, flags, packages); err != nil {
			ok = false
			if _, exited := err.(*exec.ExitError); !exited {
				fmt.Fprintln(os.Stderr, "gotest:", err)
			}
		}
	}
	if !report.finish(os.Getenv("CI") == "true") || !ok {
		os.Exit(1)
	}
}

// split takes the arguments apart at each "--".
func split(args []string) (flags []string, groups [][]string) {
	next := func() []string {
		i := slices.Index(args, "--")
		if i < 0 {
			i = len(args)
		}
		part := args[:i]
		args = args[min(i+1, len(args)):]
		return part
	}
	flags = next()
	for len(args) > 0 {
		if packages := next(); len(packages) > 0 {
			groups = append(groups, packages)
		}
	}
	return flags, groups
}

// run tests one group; an *exec.ExitError means that tests failed.
func run(report *report, flags, packages []string) error {
	args := slices.Concat([]string{"test", "-json"}, flags, packages)
	cmd := exec.Command("go", args...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return fmt.Errorf("making a pipe: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting go test: %w", err)
	}
	report.read(out)
	return cmd.Wait()
}

// event is one line of go test -json, see go doc test2json.
type event struct {
	Action  string
	Package string
	Test    string
	Output  string
}

// report prints events as go test prints them, and counts tests.
type report struct {
	out                     io.Writer
	passed, failed, skipped int
	skips                   []string
	// output is kept per test until it is known whether the test failed.
	output map[[2]string][]string
	// failedIn counts each package's failed tests.
	failedIn map[string]int
}

func newReport(out io.Writer) *report {
	return &report{out: out, output: map[[2]string][]string{}, failedIn: map[string]int{}}
}

// read follows one run of go test to its end.
func (r *report) read(in io.Reader) {
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadString('\n')
		if line != "" {
			var e event
			if json.Unmarshal([]byte(line), &e) == nil && e.Action != "" {
				r.event(e)
			} else {
				fmt.Fprint(r.out, line) // not an event: go's own words
			}
		}
		if err != nil {
			return
		}
	}
}

func (r *report) event(e event) {
	key := [2]string{e.Package, e.Test}
	switch e.Action {
	case "output", "build-output":
		switch {
		case e.Test != "":
			r.output[key] = append(r.output[key], e.Output)
		case e.Output != "PASS\n":
			fmt.Fprint(r.out, e.Output)
		}
	case "pass":
		if e.Test != "" {
			r.passed++
			delete(r.output, key)
		}
	case "skip":
		if e.Test != "" {
			r.skipped++
			reason := strings.Join(r.output[key], "")
			r.skips = append(r.skips, fmt.Sprintf("%s %s\n%s", e.Package, e.Test, reason))
			delete(r.output, key)
		}
	case "fail":
		if e.Test != "" {
			r.failed++
			r.failedIn[e.Package]++
			r.show(key)
			return
		}
		// A package that fails by itself: a build error, a panic, a timeout.
		for key := range r.output {
			if key[0] == e.Package {
				r.show(key)
			}
		}
		if r.failedIn[e.Package] == 0 {
			r.failed++
		}
	}
}

func (r *report) show(key [2]string) {
	for _, line := range r.output[key] {
		fmt.Fprint(r.out, line)
	}
	delete(r.output, key)
}

// finish prints the closing line and reports whether all is well.
func (r *report) finish(ci bool) bool {
	ok := r.failed == 0
	if ci && r.skipped > 0 {
		ok = false
		fmt.Fprintln(r.out, "FAIL: tests were skipped, which CI does not allow:")
		for _, skip := range r.skips {
			fmt.Fprint(r.out, skip)
		}
	}
	fmt.Fprintf(r.out, "%d passed, %d failed, %d skipped\n", r.passed, r.failed, r.skipped)
	return ok
}
