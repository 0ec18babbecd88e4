package site

import (
	"bytes"
	"errors"
	"io"
	"strings"

	"golang.org/x/net/html"
)

const (
	// maxToken is how long one token of a document that streams may be, in bytes. The
	// rest of a document with a longer one stays as it is.
	maxToken = 1 << 20
	// streamChunk is how much is rewritten at a time.
	streamChunk = 16 << 10
)

// stream rewrites a document while it goes by, each tag as soon as it is there. origins
// are the addresses of the site itself that are rewritten as well; with a policy
// (Content-Security-Policy) inline scripts and styles stay, whose hashes it may name.
func (rw *rewriter) stream(body io.ReadCloser, live []byte, origins []string, policy bool) io.ReadCloser {
	s := &htmlStream{body: body, pass: htmlPass{rw: rw, live: live}}
	if !policy {
		s.pass.swaps = new([]swap)
	}
	for _, o := range origins {
		s.pass.origins = append(s.pass.origins, []byte(o))
	}
	s.z = html.NewTokenizer(io.TeeReader(body, &s.unread))
	s.z.SetMaxBuf(maxToken)
	return s
}

// htmlStream is a document that is rewritten while it is read.
type htmlStream struct {
	body io.ReadCloser
	z    *html.Tokenizer
	pass htmlPass
	// unread is what the tokenizer took and has given no token for.
	unread bytes.Buffer
	out    []byte // what Read has not returned yet
	raw    bool   // the rest goes by as it is
	err    error
}

func (s *htmlStream) Read(p []byte) (int, error) {
	for len(s.out) == 0 {
		switch {
		case s.err != nil:
			return 0, s.err
		case s.raw:
			return s.body.Read(p)
		}
		s.fill()
	}
	n := copy(p, s.out)
	s.out = s.out[n:]
	return n, nil
}

// fill rewrites the next token, and those that are there with it.
func (s *htmlStream) fill() {
	s.out = nil
	for first := true; first || len(s.out) < streamChunk && s.whole(); first = false {
		kind := s.z.Next()
		if kind == html.ErrorToken {
			s.out = append(s.out, s.unread.Bytes()...)
			s.unread.Reset()
			if err := s.z.Err(); errors.Is(err, html.ErrBufferExceeded) {
				s.raw = true
			} else {
				s.err = err
			}
			return
		}
		raw := s.z.Raw()
		s.policyAt(kind, raw)
		s.out = s.pass.token(s.out, kind, raw)
		s.unread.Next(len(raw))
		if s.pass.swaps != nil {
			*s.pass.swaps = nil // nothing is swapped after it has gone by
		}
	}
}

// whole reports whether the next token seems to be there as a whole: to wait for the rest
// of one would hold up those before it.
func (s *htmlStream) whole() bool {
	next := s.unread.Bytes()
	switch {
	case s.pass.element == "script", s.pass.element == "style", s.pass.element == "noscript":
		return bytes.Contains(next, []byte("</"+s.pass.element))
	case bytes.HasPrefix(next, []byte("<!--")):
		return bytes.Contains(next, []byte("-->"))
	case len(next) > 0 && next[0] == '<':
		return bytes.IndexByte(next, '>') > 0
	default:
		return bytes.IndexByte(next, '<') > 0
	}
}

// policyAt leaves inline scripts and styles alone after a policy in the document.
func (s *htmlStream) policyAt(kind html.TokenType, raw []byte) {
	if (kind == html.StartTagToken || kind == html.SelfClosingTagToken) && tagName(raw) == "meta" &&
		strings.Contains(strings.ToLower(string(raw)), "content-security-policy") {
		s.pass.swaps = nil
	}
}

func (s *htmlStream) Close() error { return s.body.Close() }

// replaceOrigins puts the prefix in the place of the site's own origin where an
// attribute's value begins with one.
func replaceOrigins(tag []byte, origins [][]byte, prefix []byte) ([]byte, bool) {
	changed := false
	for _, origin := range origins {
		if !bytes.Contains(tag, origin) {
			continue
		}
		var out []byte
		copied := 0
		for a := range attributes(tag) {
			value := tag[a.value:a.valueEnd]
			rest, ok := bytes.CutPrefix(value, origin)
			if !ok || len(rest) > 0 && strings.IndexByte("/?#", rest[0]) < 0 {
				continue
			}
			out = append(append(out, tag[copied:a.value]...), prefix...)
			if len(rest) == 0 || rest[0] != '/' {
				out = append(out, '/')
			}
			copied = a.value + len(origin)
		}
		if out != nil {
			tag, changed = append(out, tag[copied:]...), true
		}
	}
	return tag, changed
}
