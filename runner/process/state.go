//go:build unix

package process

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/webordinary/router/sessions"
)

const (
	stateName    = "container.json"
	refPrefix    = "process:"
	maxSessionID = 200
)

// state is what is known of the last container of a session, across processes.
type state struct {
	SessionID string `json:"sessionId"`
	Epoch     int64  `json:"epoch"`
	// TokenHash is that of its start. Empty: it is not known.
	TokenHash string `json:"tokenHash,omitempty"`
	PID       int    `json:"pid"`
	// Process tells the process from any other that has, or will have, its id.
	Process string `json:"process,omitempty"`
	Address string `json:"address"`
	Ended   bool   `json:"ended,omitempty"`
	Reason  string `json:"reason,omitempty"`
	// Unsaved: the workspace may have held work that was not saved, at the
	// container's end or, before that, at its start.
	Unsaved bool `json:"unsaved,omitempty"`
}

// of reports whether the container is the one that a request asks for.
func (s state) of(req sessions.StartRequest) bool {
	return s.Epoch == req.Epoch && (s.TokenHash == "" || s.TokenHash == req.TokenHash)
}

// unsaved reports whether the workspace may hold work that was not saved.
func (s state) unsaved() bool { return s.PID != 0 && (!s.Ended || s.Unsaved) }

func (s state) ref() string { return refPrefix + s.SessionID + ":" + strconv.FormatInt(s.Epoch, 10) }

// formerContainer is the container as one that this process did not start, or that has
// ended. It has no address: what is left of its life it saves, and serves nobody.
func (s state) formerContainer() sessions.Container {
	c := sessions.Container{Ref: s.ref(), SessionID: s.SessionID, Epoch: s.Epoch, Reason: s.Reason, InOrder: s.Ended && !s.Unsaved}
	switch {
	case s.alive():
		c.Running, c.Ending, c.Reason = true, true, "the edge that started it is gone: it saves its work and ends"
	case c.Reason == "":
		c.Reason = "ended while no edge was there"
	}
	return c
}

// alive reports whether the process runs. A zombie does not.
func (s state) alive() bool {
	return !s.Ended && s.Process != "" && processIdentity(s.PID) == s.Process
}

// signal sends a signal to the process, and to no other that has its id now.
func (s state) signal(sig syscall.Signal) {
	p, err := os.FindProcess(s.PID) // on Linux a handle that outlasts the id
	if err != nil {
		return
	}
	defer func() { _ = p.Release() }() // not our child: nothing to wait for
	if s.alive() {
		_ = p.Signal(sig) // it may have ended since, which is what is wanted
	}
}

// readState returns the state of a session's last container. os.ErrNotExist if it had none.
func readState(dir string) (state, error) {
	var s state
	data, err := os.ReadFile(filepath.Join(dir, stateName))
	if err != nil {
		return s, fmt.Errorf("reading a container's state: %w", err)
	}
	if err := json.Unmarshal(data, &s); err != nil {
		return s, fmt.Errorf("reading a container's state from %s: %w", filepath.Join(dir, stateName), err)
	}
	return s, nil
}

// write replaces the state as a whole or not at all.
func (s state) write(dir string) error {
	data, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("writing a container's state: %w", err)
	}
	f, err := os.CreateTemp(dir, stateName+".*")
	if err != nil {
		return fmt.Errorf("writing a container's state: %w", err)
	}
	_, err = f.Write(append(data, '\n'))
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), filepath.Join(dir, stateName))
	}
	if err != nil {
		return fmt.Errorf("writing a container's state: %w", errors.Join(err, os.Remove(f.Name())))
	}
	return nil
}

// parseRef takes a container's reference apart. ErrNoContainer if it is none of ours.
func parseRef(ref string) (sessionID string, epoch int64, err error) {
	rest, ok := strings.CutPrefix(ref, refPrefix)
	i := strings.LastIndexByte(rest, ':')
	if ok && i > 0 {
		if epoch, err := strconv.ParseInt(rest[i+1:], 10, 64); err == nil && epoch > 0 {
			return rest[:i], epoch, nil
		}
	}
	return "", 0, fmt.Errorf("reference %q is not one of the process runner: %w", ref, sessions.ErrNoContainer)
}

// dir is the folder of a session.
func (r *Runner) dir(sessionID string) string {
	return filepath.Join(r.dataDir, "sessions", folderName(sessionID))
}

// folderName is a session's id, where that can be the name of a folder as it stands.
// Other ids, those of older tools among them, get a readable name with a hash, and a
// '~', which no id that stands as it is can have. Percent-encoding would be prettier,
// but a '%' or '#' in a path is more than many build tools can bear.
func folderName(id string) string {
	plain := len(id) <= 100 && id[0] != '.'
	name := []byte(id)
	for i, c := range name {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
		case c == '.' && i > 0:
		default:
			name[i], plain = '_', false
		}
	}
	if plain {
		return id
	}
	sum := sha256.Sum256([]byte(id))
	return string(name[:min(len(name), 60)]) + "~" + hex.EncodeToString(sum[:16])
}

// globEscape makes a path stand for itself in a glob pattern.
func globEscape(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}
