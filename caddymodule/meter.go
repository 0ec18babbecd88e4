package caddymodule

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/term"
)

const (
	// progressAfter is how long something may take before its progress is shown, and
	// progressFrom how many it must be.
	progressAfter = 2 * time.Second
	progressFrom  = 100
	// On a terminal one line is written anew; elsewhere a line is added now and then.
	progressOnTerminal = 200 * time.Millisecond
	progressElsewhere  = 5 * time.Second
)

// meter shows how far something is that may take long: how many are done, of how many
// if that is known, how many a second, and how long the rest will take.
type meter struct {
	out      io.Writer
	terminal bool
	what     string
	of       int
	now      func() time.Time

	mu          sync.Mutex
	began, next time.Time
	n           int
	shown       bool
	ended       bool
}

// progress begins to count what, of so many (0: not known), on the standard error.
func (c *cli) progress(what string, of int) *meter {
	return newMeter(c.errs, what, of, time.Now)
}

func newMeter(out io.Writer, what string, of int, now func() time.Time) *meter {
	p := &meter{out: out, terminal: isTerminal(out), what: what, of: of, now: now}
	p.began = now()
	p.next = p.began.Add(progressAfter)
	return p
}

func isTerminal(stream any) bool {
	file, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// at tells that n are done.
func (p *meter) at(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.n = n
	now := p.now()
	if p.ended || now.Before(p.next) || max(p.of, n) < progressFrom {
		return
	}
	p.next = now.Add(progressElsewhere)
	if p.terminal {
		p.next = now.Add(progressOnTerminal)
	}
	p.show(now)
}

// end shows the last count, if any was shown.
func (p *meter) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.shown && !p.ended {
		p.show(p.now())
		if p.terminal {
			fmt.Fprintln(p.out)
		}
	}
	p.ended = true
}

// note writes a line between two lines of progress.
func (p *meter) note(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.terminal && p.shown {
		fmt.Fprint(p.out, "\r\x1b[K")
	}
	fmt.Fprintln(p.out, text)
}

func (p *meter) show(now time.Time) {
	p.shown = true
	took := now.Sub(p.began)
	rate := float64(p.n) / max(took.Seconds(), 0.001)
	line := fmt.Sprintf("%d %s, %.0f/s", p.n, p.what, rate)
	if p.of > 0 {
		line = fmt.Sprintf("%d of %d %s (%d %%), %.0f/s", p.n, p.of, p.what, 100*p.n/p.of, rate)
	}
	switch {
	case p.of > 0 && p.n < p.of && 100*p.n >= p.of: // before, it would be a guess
		left := time.Duration(float64(p.of-p.n) / rate * float64(time.Second))
		line += fmt.Sprintf(", %s left", left.Round(time.Second))
	case p.of > 0 && p.n >= p.of:
		line += fmt.Sprintf(", took %s", took.Round(time.Second))
	}
	if p.terminal {
		fmt.Fprintf(p.out, "\r\x1b[K%s", line)
		return
	}
	fmt.Fprintln(p.out, line)
}
