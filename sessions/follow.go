package sessions

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/webordinary/router/containerboot/bootapi"
)

const (
	// streamSilence is how long a container's event stream may say nothing; it
	// sends a comment every 15 s.
	streamSilence = 45 * time.Second
	// streamOpen is how long the stream may take to begin.
	streamOpen = 5 * time.Second

	maxLogLines = 20
	maxLogLine  = 1000
	maxStep     = 200
	maxCause    = 500
	maxDetail   = 8 << 10
)

// follow reads a container's event stream and hands each status and log line on,
// until onStatus says that it has seen enough (nil is returned), or the stream ends.
func (c *containerClient) follow(ctx context.Context, address string, token Token, onStatus func(bootapi.Status) (enough bool), onLog func(string)) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silence := time.AfterFunc(streamOpen, func() { cancel(errors.New("the container's event stream is silent")) })
	defer silence.Stop()

	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+bootapi.PathEvents, nil)
	if err != nil {
		return err
	}
	req.Header.Set(bootapi.HeaderToken, string(token))
	req.Header.Set("Accept", "text/event-stream")
	resp, err := c.open(req, token)
	if err != nil {
		return fmt.Errorf("opening the container's event stream: %w", cause(ctx, err))
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("opening the container's event stream: it answered %d", resp.StatusCode)
	}

	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(make([]byte, 0, 4<<10), maxReply)
	var name string
	for lines.Scan() {
		silence.Reset(streamSilence)
		line := lines.Text()
		if value, ok := strings.CutPrefix(line, "event:"); ok {
			name = strings.TrimSpace(value)
			continue
		}
		data, ok := strings.CutPrefix(line, "data:")
		if !ok {
			continue // the blank line after a message, or a comment
		}
		switch name {
		case bootapi.EventStatus:
			var status bootapi.Status
			if err := json.Unmarshal([]byte(data), &status); err != nil {
				return fmt.Errorf("reading the container's status: %w", err)
			}
			if onStatus(bounded(status)) {
				return nil
			}
		case bootapi.EventLog:
			var l bootapi.LogLine
			if err := json.Unmarshal([]byte(data), &l); err != nil {
				return fmt.Errorf("reading the container's log: %w", err)
			}
			onLog(clip(l.Line, maxLogLine))
		}
	}
	err = lines.Err()
	if err == nil {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("reading the container's event stream: %w", cause(ctx, err))
}

// cause is why a context ended, if it did, else err.
func cause(ctx context.Context, err error) error {
	if c := context.Cause(ctx); c != nil {
		return c
	}
	return err
}

// bounded cuts what a container says of itself down to what is shown.
func bounded(s bootapi.Status) bootapi.Status {
	s.Step = clip(s.Step, maxStep)
	s.Commit, s.Branch, s.ActivityKind = clip(s.Commit, maxStep), clip(s.Branch, maxStep), clip(s.ActivityKind, maxStep)
	s.Log = slices.Clone(s.Log[max(0, len(s.Log)-maxLogLines):])
	for i := range s.Log {
		s.Log[i] = clip(s.Log[i], maxLogLine)
	}
	s.Reused = slices.Clone(s.Reused[:min(len(s.Reused), 8)])
	for i := range s.Reused {
		s.Reused[i] = clip(s.Reused[i], maxStep)
	}
	if s.Failure != nil {
		f := *s.Failure
		f.Cause, f.Detail = clip(f.Cause, maxCause), clip(f.Detail, maxDetail)
		f.Phase = bootapi.Phase(clip(string(f.Phase), 20))
		s.Failure = &f
	}
	s.LastSave = nil // is for the operator, who asks the container
	return s
}

// clip cuts a text to at most so many bytes, and to whole characters.
func clip(s string, most int) string {
	if len(s) > most {
		s = s[:most]
	}
	return strings.ToValidUTF8(s, "")
}
