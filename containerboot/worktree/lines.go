package worktree

import (
	"regexp"
	"strings"
	"time"
)

const (
	// lineLimit bounds one line of output, in bytes.
	lineLimit = 1000
	// progressEvery is how often a progress line, which git overwrites many times a
	// second, is passed on.
	progressEvery = time.Second
)

// lineWriter takes a git process's stderr apart: each line goes to log, the last ones
// are kept for an error.
type lineWriter struct {
	log    func(string) // nil: keep only
	redact func(string) string

	line     []byte
	returned bool // the last byte was '\r'
	kept     strings.Builder
	progress time.Time // when the last progress line was passed on
}

func (w *lineWriter) Write(p []byte) (int, error) {
	for _, c := range p {
		if w.returned && c != '\n' {
			w.end(true) // it is overwritten; ssh ends its lines with both
		}
		w.returned = c == '\r'
		switch c {
		case '\r':
		case '\n':
			w.end(false)
		default:
			if len(w.line) < lineLimit {
				w.line = append(w.line, c)
			}
		}
	}
	return len(p), nil
}

func (w *lineWriter) end(progress bool) {
	line := strings.TrimSpace(w.redact(strings.ToValidUTF8(string(w.line), "�")))
	w.line = w.line[:0]
	if line == "" {
		return
	}
	if progress {
		now := time.Now()
		if now.Sub(w.progress) < progressEvery {
			return
		}
		w.progress = now
	} else {
		w.keep(line)
	}
	if w.log != nil {
		w.log(line)
	}
}

func (w *lineWriter) keep(line string) {
	w.kept.WriteString(line + "\n")
	if w.kept.Len() > 4*detailLimit {
		last := tail(w.kept.String(), 2*detailLimit)
		w.kept.Reset()
		w.kept.WriteString(last)
	}
}

func (w *lineWriter) flush()       { w.end(false) }
func (w *lineWriter) tail() string { return w.kept.String() }

var userInfo = regexp.MustCompile(`://[^/@\s]+@`)

// redact takes out of a line what must not be seen.
func (w *Worktree) redact(line string) string {
	if p := w.remote.password; p != "" {
		line = strings.ReplaceAll(line, p, "[redacted]")
	}
	if strings.Contains(line, "PRIVATE KEY") {
		return "[redacted]"
	}
	return userInfo.ReplaceAllString(line, "://")
}
