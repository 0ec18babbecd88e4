// Package gitserver has real git servers for tests: an OpenSSH server and one for https.
package gitserver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/internal/freeport"
)

// SSHD is an OpenSSH server on a loopback port, which lets in keys alone and runs
// nothing but git's shell for them.
type SSHD struct {
	t    testing.TB
	dir  string
	user string
	port int
	log  *output
}

// NewSSHD starts one for the time of a test.
func NewSSHD(t testing.TB) *SSHD {
	t.Helper()
	binary, err := exec.LookPath("sshd")
	if err != nil {
		binary = "/usr/sbin/sshd" // where daemons are is not on everybody's PATH
		_, err = os.Stat(binary)
	}
	require.NoError(t, err, "run `sh tools/need.sh sshd openssh-server` first")
	git, err := exec.LookPath("git")
	require.NoError(t, err)
	me, err := user.Current()
	require.NoError(t, err)
	s := &SSHD{t: t, dir: t.TempDir(), user: me.Username, log: new(output)}
	s.keygen("host")
	s.write("authorized_keys", "", 0o600)
	// It says whose key it is, and waits for as long as it is held.
	s.write("git-only", fmt.Sprintf(`#!/bin/sh
echo "$1" >>%[1]s/used
while [ -e %[1]s/hold ]; do sleep 0.05; done
GIT_CONFIG_GLOBAL=/dev/null exec %[2]s shell -c "$SSH_ORIGINAL_COMMAND"
`, s.dir, git), 0o700)
	if os.Geteuid() == 0 {
		require.NoError(t, os.MkdirAll("/run/sshd", 0o755)) // it refuses to start without
	}
	// Somebody else may take the port first.
	for range 5 {
		if s.start(binary) {
			return s
		}
	}
	require.FailNow(t, "sshd does not start", s.log.String())
	return nil
}

// patience is the most that is waited for sshd to listen.
const patience = time.Minute

// output is what a server writes.
type output struct {
	mu   sync.Mutex
	text strings.Builder
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// start reports whether sshd listens.
func (s *SSHD) start(binary string) bool {
	s.t.Helper()
	ports, err := freeport.Find(1)
	require.NoError(s.t, err)
	s.port = ports[0]
	s.write("config", strings.Join([]string{
		"ListenAddress 127.0.0.1",
		fmt.Sprintf("Port %d", s.port),
		"HostKey " + s.path("host"),
		"PidFile none",
		"AuthorizedKeysFile " + s.path("authorized_keys"),
		"StrictModes no", // the test's folder may lie in one that all may write
		"PubkeyAuthentication yes",
		"PasswordAuthentication no",
		"KbdInteractiveAuthentication no",
		"PermitRootLogin prohibit-password",
		"AllowUsers " + s.user,
		"UsePAM " + s.pam(),
		"DisableForwarding yes",
		"PermitTTY no",
		"PermitUserRC no",
		"MaxStartups 100",
		"AcceptEnv GIT_PROTOCOL", // as git hosts have it
		"LogLevel VERBOSE",
	}, "\n")+"\n", 0o600)
	cmd := exec.CommandContext(context.Background(), binary, "-D", "-e", "-f", s.path("config"))
	cmd.Stdout, cmd.Stderr = s.log, s.log
	cmd.WaitDelay = time.Second // a connection's process may hold the output open
	require.NoError(s.t, cmd.Start())
	exited := make(chan struct{})
	go func() {
		defer close(exited)
		_ = cmd.Wait() // it is told to end
	}()
	s.t.Cleanup(func() {
		s.Release()
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended
		<-exited
		if s.t.Failed() {
			s.t.Logf("sshd's log:\n%s", s.log.String())
		}
	})
	deadline := time.Now().Add(patience)
	for time.Now().Before(deadline) {
		var d net.Dialer
		conn, err := d.DialContext(context.Background(), "tcp", s.Addr())
		if err == nil {
			_ = conn.Close() // nothing was sent
			select {
			case <-exited:
				return false // it is another's port
			default:
				return true
			}
		}
		select {
		case <-exited:
			return false
		case <-time.After(20 * time.Millisecond):
		}
	}
	return false
}

// pam is "yes" where root's account is locked, as it is on some machines: sshd then asks
// PAM who may log in, and not the password file.
func (s *SSHD) pam() string {
	shadow, err := os.ReadFile("/etc/shadow")
	if err == nil && s.user == "root" && (strings.HasPrefix(string(shadow), "root:!") || strings.Contains(string(shadow), "\nroot:!")) {
		return "yes"
	}
	return "no"
}

// Allow makes a key that is let in under a name, and returns the file with its private part.
func (s *SSHD) Allow(name string) (key string) {
	s.t.Helper()
	key = s.keygen(name)
	public, err := os.ReadFile(key + ".pub")
	require.NoError(s.t, err)
	f, err := os.OpenFile(s.path("authorized_keys"), os.O_APPEND|os.O_WRONLY, 0o600)
	require.NoError(s.t, err)
	defer f.Close()
	_, err = fmt.Fprintf(f, "command=\"%s %s\" %s", s.path("git-only"), name, public)
	require.NoError(s.t, err)
	return key
}

// URL is that of a repository of this machine.
func (s *SSHD) URL(repository string) string { return s.URLAt(s.Addr(), repository) }

// URLAt is that of a repository of this machine by an address that leads here.
func (s *SSHD) URLAt(addr, repository string) string {
	return fmt.Sprintf("ssh://%s@%s%s", s.user, addr, repository)
}

// Addr is where it listens.
func (s *SSHD) Addr() string { return fmt.Sprintf("127.0.0.1:%d", s.port) }

// HostKey is its public key, as in known_hosts.
func (s *SSHD) HostKey() string {
	s.t.Helper()
	public, err := os.ReadFile(s.path("host.pub"))
	require.NoError(s.t, err)
	fields := strings.Fields(string(public))
	return fields[0] + " " + fields[1]
}

// Hold lets whoever has logged in wait before git runs, until Release.
func (s *SSHD) Hold() {
	s.t.Helper()
	s.write("hold", "", 0o600)
}

// Release ends Hold.
func (s *SSHD) Release() {
	s.t.Helper()
	if err := os.Remove(s.path("hold")); !errors.Is(err, os.ErrNotExist) {
		require.NoError(s.t, err)
	}
}

// Used returns the names whose keys were let in, each once, in the order of the alphabet.
func (s *SSHD) Used() []string {
	s.t.Helper()
	text, err := os.ReadFile(s.path("used"))
	if !errors.Is(err, os.ErrNotExist) {
		require.NoError(s.t, err)
	}
	names := strings.Fields(string(text))
	slices.Sort(names)
	return slices.Compact(names)
}

func (s *SSHD) path(name string) string { return filepath.Join(s.dir, name) }

func (s *SSHD) write(name, text string, mode os.FileMode) {
	s.t.Helper()
	syscall.ForkLock.RLock() // a process started at this moment would inherit the open file
	defer syscall.ForkLock.RUnlock()
	require.NoError(s.t, os.WriteFile(s.path(name), []byte(text), mode))
}

func (s *SSHD) keygen(name string) (file string) {
	s.t.Helper()
	return keygen(s.t, s.dir, name)
}

// NewKey makes a key that no server knows, and returns the file with its private part.
func NewKey(t testing.TB) (file string) {
	t.Helper()
	return keygen(t, t.TempDir(), "stranger")
}

func keygen(t testing.TB, dir, name string) (file string) {
	t.Helper()
	file = filepath.Join(dir, name)
	out, err := exec.CommandContext(context.Background(), "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", file).CombinedOutput()
	require.NoError(t, err, "%s", out)
	return file
}
