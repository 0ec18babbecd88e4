// Package runas keeps a client's code away from what is containerboot's: as a user of
// its own, who owns the workspace and next to nothing else, and of whom nothing is left
// running when nothing of his should be.
package runas

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// DefaultName is the user whom a client's code runs as where this process is root and
// there is one of that name, as in the session image.
const DefaultName = "site"

// User is whom a client's code runs as. Nil stands for this process's own user, and all
// methods may be called on it. They are safe for concurrent use.
type User struct {
	uid, gid int

	mu      sync.Mutex
	running int // programs between Enter and its end
}

// Find returns a user by a setting: a name, uid or uid:gid. Empty: DefaultName if this
// process is root and that exists, else nil. It returns nil where it is this process's
// own user, and an error where that may not become another.
func Find(setting string) (*User, error) {
	own := os.Getuid()
	if setting == "" {
		if own != 0 || !supported {
			return nil, nil
		}
		u, err := lookup(DefaultName)
		if unknown := user.UnknownUserError(""); errors.As(err, &unknown) {
			return nil, nil
		}
		return u, err
	}
	u, err := lookup(setting)
	switch {
	case err != nil:
		return nil, err
	case u.uid == own:
		return nil, nil
	case own != 0:
		return nil, errors.New("only root can run the client's code as another user")
	case !supported:
		return nil, errors.New("running the client's code as another user takes Linux")
	}
	return u, nil
}

// lookup resolves a setting that is not empty.
func lookup(setting string) (*User, error) {
	uid, gid, hasGroup := strings.Cut(setting, ":")
	if _, err := strconv.ParseUint(uid, 10, 31); err == nil {
		if !hasGroup {
			gid = uid
		}
		return newUser(uid, gid)
	}
	u, err := user.Lookup(setting)
	if err != nil {
		return nil, err
	}
	return newUser(u.Uid, u.Gid)
}

func newUser(uid, gid string) (*User, error) {
	u, err := strconv.ParseUint(uid, 10, 31)
	if err != nil {
		return nil, fmt.Errorf("%q is no user's number", uid)
	}
	g, err := strconv.ParseUint(gid, 10, 31)
	if err != nil {
		return nil, fmt.Errorf("%q is no group's number", gid)
	}
	return &User{uid: int(u), gid: int(g)}, nil
}

// Credential is what a program gets to run as the user, without further groups.
func (u *User) Credential() *syscall.Credential {
	if u == nil {
		return nil
	}
	return &syscall.Credential{Uid: uint32(u.uid), Gid: uint32(u.gid)}
}

// Enter comes before a program of the user's is started. Call leave when it has ended:
// with the last one everything of the user's in this container is killed, whatever
// session, group or parent it has made itself.
func (u *User) Enter() (leave func()) {
	if u == nil {
		return func() {}
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.running++
	return sync.OnceFunc(func() {
		u.mu.Lock()
		defer u.mu.Unlock()
		if u.running--; u.running == 0 {
			u.killAll()
		}
	})
}

// KillAll kills everything of the user's at once.
func (u *User) KillAll() {
	if u == nil {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.killAll()
}

// Do calls f with the user's rights to files, and no more: in a place where the client's
// code writes, a link that it put there at the right moment leads to nothing that is not
// its own. f must start neither a goroutine nor a process.
func (u *User) Do(f func() error) error {
	if u == nil {
		return f()
	}
	return u.do(f)
}

// Own makes a folder the user's, and makes it if there is none. What is in it stays.
func (u *User) Own(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil || u == nil {
		return err
	}
	return os.Lchown(dir, u.uid, u.gid)
}
