package tool

import (
	"bufio"
	"errors"
	"io"
	"regexp"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

const (
	// maxLine is how long a line may be, in bytes; the rest of it is dropped.
	maxLine = 1000
	// maxTotal is how many bytes of output are passed on. Of what comes after, only
	// the tail is kept, for a failure.
	maxTotal = 4 << 20
	// rawLine is how much of a raw line is looked at: colours and progress bars take room.
	rawLine = 16 << 10
)

var (
	// ansi matches terminal control: CSI sequences, OSC up to BEL or ST, and two-byte escapes.
	ansi = regexp.MustCompile("\x1b(?:\\[[0-9;:<=>?]*[ -/]*[@-~]|\\][^\x07\x1b]*(?:\x07|\x1b\\\\)?|[()#%][0-9A-Za-z]|[@-Z\\\\^_=>78])")
	// userinfo matches the name and password in a URL.
	userinfo = regexp.MustCompile(`([a-zA-Z][a-zA-Z0-9+.-]*://)[^/\s@"']+@`)
)

const blot = "[secret]"

// lines cuts a stream into clean lines.
type lines struct {
	secrets []string
	emit    func(string)

	mu    sync.Mutex
	last  []string
	total int
	cut   bool
}

func newLines(secrets []string, emit func(string)) *lines {
	l := &lines{emit: emit}
	for _, s := range secrets {
		// A key is printed line by line, if at all.
		for line := range strings.Lines(s) {
			if line = strings.TrimSpace(line); len(line) >= 8 && !strings.HasPrefix(line, "-----") {
				l.secrets = append(l.secrets, line)
			}
		}
	}
	return l
}

// readFrom reads until the end or the first error.
func (l *lines) readFrom(r io.Reader) {
	in := bufio.NewReaderSize(r, rawLine)
	for {
		line, err := in.ReadSlice('\n')
		if len(line) > 0 {
			l.add(string(line))
		}
		for errors.Is(err, bufio.ErrBufferFull) { // drop the rest of a line without end
			_, err = in.ReadSlice('\n')
		}
		if err != nil {
			return
		}
	}
}

func (l *lines) add(raw string) {
	line := clean(raw, l.secrets)
	l.mu.Lock()
	defer l.mu.Unlock()
	if line == "" && (len(l.last) == 0 || l.last[len(l.last)-1] == "") {
		return // no blank line at the start, nor two
	}
	if len(l.last) == tailLines {
		copy(l.last, l.last[1:])
		l.last = l.last[:tailLines-1]
	}
	l.last = append(l.last, line)
	l.total += len(line) + 1
	if l.emit == nil || l.cut || line == "" {
		return
	}
	if l.total > maxTotal {
		l.cut = true
		line = "… the rest of the output is not shown"
	}
	l.emit(line)
}

func (l *lines) tail() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]string(nil), l.last...)
}

// clean makes a line fit to be shown: what a terminal would show last, without
// colours, control characters, those that turn the direction of the text, and secrets.
func clean(raw string, secrets []string) string {
	line := ansi.ReplaceAllString(strings.TrimRight(raw, "\r\n"), "")
	if i := strings.LastIndexByte(line, '\r'); i >= 0 {
		line = line[i+1:]
	}
	line = strings.ToValidUTF8(line, "�")
	line = strings.Map(func(r rune) rune {
		switch {
		case r == '\t':
			return ' '
		case unicode.IsControl(r), unicode.Is(unicode.Bidi_Control, r), r == '\u2028', r == '\u2029', r == '\ufeff':
			return -1
		default:
			return r
		}
	}, line)
	for _, s := range secrets {
		line = strings.ReplaceAll(line, s, blot)
	}
	line = userinfo.ReplaceAllString(line, "${1}"+blot+"@")
	line = strings.TrimRightFunc(line, unicode.IsSpace)
	if len(line) <= maxLine {
		return line
	}
	end := maxLine - len("…")
	for !utf8.RuneStart(line[end]) {
		end--
	}
	return line[:end] + "…"
}
