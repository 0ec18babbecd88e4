package runas_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/containerboot/runas"
	"github.com/webordinary/router/internal/leaktest"
)

func TestMain(m *testing.M) {
	if os.Getenv(asInit) != "" {
		if err := initProcess(); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	leaktest.VerifyTestMain(m)
}

const patience = time.Minute

// other is a user of whom this machine runs nothing: the test's process is told apart.
func other(t *testing.T) *runas.User {
	t.Helper()
	if os.Getuid() != 0 {
		_, err := runas.Find("64123:64124")
		require.EqualError(t, err, "only root can run the client's code as another user")
		return nil
	}
	u, err := runas.Find("64123:64124")
	require.NoError(t, err)
	return u
}

func TestFind(t *testing.T) {
	t.Parallel()
	u, err := runas.Find(strconv.Itoa(os.Getuid()))
	require.NoError(t, err)
	assert.Nil(t, u, "it is this one")
	for _, bad := range []string{"no-such-user-here", "12:x", "-5", "12:", "99999999999"} {
		_, err := runas.Find(bad)
		require.Error(t, err, bad)
	}
	if u := other(t); u != nil {
		assert.Equal(t, &syscall.Credential{Uid: 64123, Gid: 64124}, u.Credential())
	}
}

// TestDo shows whose files are made and read in between, and that all is as before then.
func TestDo(t *testing.T) {
	t.Parallel()
	u := other(t)
	dir := t.TempDir()
	require.NoError(t, os.Chmod(filepath.Dir(dir), 0o755))
	secret, theirs := filepath.Join(dir, "secret"), filepath.Join(dir, "theirs")
	require.NoError(t, os.WriteFile(secret, []byte("x"), 0o600))
	require.NoError(t, u.Own(theirs))
	require.NoError(t, u.Do(func() error { return os.WriteFile(filepath.Join(theirs, "file"), nil, 0o600) }))
	err := u.Do(func() error {
		_, err := os.ReadFile(secret)
		return err
	})
	if u == nil {
		require.NoError(t, err)
		return
	}
	require.ErrorIs(t, err, fs.ErrPermission)
	require.ErrorIs(t, u.Do(func() error { return os.WriteFile(filepath.Join(dir, "new"), nil, 0o600) }), fs.ErrPermission)
	assertOwner(t, filepath.Join(theirs, "file"), 64123, 64124)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "ours"), nil, 0o600))
	assertOwner(t, filepath.Join(dir, "ours"), 0, 0)
	_, err = os.ReadFile(secret)
	require.NoError(t, err)
}

func assertOwner(t *testing.T, path string, uid, gid uint32) {
	t.Helper()
	info, err := os.Lstat(path)
	require.NoError(t, err)
	stat := info.Sys().(*syscall.Stat_t)
	assert.Equal(t, []uint32{uid, gid}, []uint32{stat.Uid, stat.Gid}, path)
}

func TestGive(t *testing.T) {
	t.Parallel()
	u := other(t)
	dir := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "top", "sub"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "top", "sub", "file"), nil, 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "ours"), nil, 0o600))
	require.NoError(t, os.Symlink(filepath.Join(dir, "ours"), filepath.Join(dir, "top", "link")))
	require.NoError(t, u.Give(filepath.Join(dir, "top")))
	if u == nil {
		return
	}
	for _, name := range []string{"top", "top/sub", "top/sub/file", "top/link"} {
		assertOwner(t, filepath.Join(dir, name), 64123, 64124)
	}
	assertOwner(t, filepath.Join(dir, "ours"), 0, 0)
}

// TestNothingIsLeft runs what forks for ever, each in a session of its own. What kills it
// is in a process tree of its own, so that no fault of it is the machine's.
func TestNothingIsLeft(t *testing.T) {
	t.Parallel()
	if other(t) == nil {
		return // nobody can be told apart from this process
	}
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), asInit+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID, Pdeathsig: syscall.SIGKILL}
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	assert.Equal(t, "started: some, one ended: some, both: none", string(out))
}

// asInit makes the test's binary the first process of a process tree.
const asInit = "RUNAS_TEST_INIT"

// initProcess says what is left of a user after each of two programs has ended.
func initProcess() error {
	u, err := runas.Find("64123:64124")
	if err != nil {
		return err
	}
	first, second := u.Enter(), u.Enter()
	cmd := exec.Command("/bin/sh", "-c", `trap "" TERM HUP
		bomb() { while :; do setsid /bin/sleep 0.02 & wait; done; }
		for i in 1 2 3 4 5; do bomb & done; echo ready; exec sleep 600`)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: u.Credential()}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	if _, err := out.Read(make([]byte, 6)); err != nil {
		return err
	}
	fmt.Print("started: ", left())
	first()
	fmt.Print(", one ended: ", left())
	second()
	_ = cmd.Wait() // it was killed
	for deadline := time.Now().Add(patience); left() != "none" && time.Now().Before(deadline); {
		<-time.After(10 * time.Millisecond)
	}
	fmt.Print(", both: ", left())
	return nil
}

// left looks for processes of the user that are more than zombies.
func left() string {
	names, _ := filepath.Glob("/proc/[0-9]*/status") // the machine's: all are there
	for _, name := range names {
		status, err := os.ReadFile(name)
		if err == nil && bytes.Contains(status, []byte("\nUid:\t64123\t")) && !bytes.Contains(status, []byte("\nState:\tZ")) {
			return "some"
		}
	}
	return "none"
}
