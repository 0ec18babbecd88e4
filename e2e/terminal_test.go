package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/webordinary/router/e2e/harness"
)

// openTerminal makes a terminal: what a person sees and types, and what a program has.
func openTerminal(t *testing.T) (person, program *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	require.NoError(t, err)
	t.Cleanup(func() { _ = person.Close() }) // it may be closed already
	require.NoError(t, unix.IoctlSetPointerInt(int(person.Fd()), unix.TIOCSPTLCK, 0))
	n, err := unix.IoctlGetInt(int(person.Fd()), unix.TIOCGPTN)
	require.NoError(t, err)
	program, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	require.NoError(t, err)
	t.Cleanup(func() { _ = program.Close() })
	return person, program
}

// Where somebody can be asked, an import asks; what is not yes writes nothing.
func TestImportAsksOnATerminal(t *testing.T) {
	parallel(t)
	e := harness.New(t, harness.Options{})
	file := filepath.Join(t.TempDir(), "older.json")
	require.NoError(t, os.WriteFile(file, []byte(config(t, "amelia", nil)), 0o600))
	for _, test := range []struct {
		typed, want string
		code        int
	}{
		{"n\n", "Error: nothing was written", 1},
		{"\n", "Error: nothing was written", 1},
		{"\x03", "Error: interrupted: nothing was written", 1}, // Ctrl-C
		{"y\n", "1 of 1 client written", 0},
	} {
		person, program := openTerminal(t)
		ctx, cancel := context.WithTimeout(t.Context(), harness.Patience)
		cmd := e.Command(ctx, "webordinary", "client", "import", file)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = program, program, program
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
		require.NoError(t, cmd.Start())
		require.NoError(t, program.Close())
		var seen strings.Builder
		asked := false
		for chunk := make([]byte, 4096); ; {
			n, err := person.Read(chunk)
			seen.Write(chunk[:n])
			if err != nil {
				break // the program has ended, and the terminal with it
			}
			if !asked && strings.Contains(seen.String(), "Write 1 client? [y/N] ") {
				asked = true
				_, err := person.WriteString(test.typed)
				require.NoError(t, err)
			}
		}
		_ = cmd.Wait() // how it ended is told by ProcessState
		cancel()
		assert.Equal(t, test.code, cmd.ProcessState.ExitCode(), "%q", test.typed)
		assert.Contains(t, seen.String(), "1 to create: amelia\r\n")
		assert.Contains(t, seen.String(), test.want)
	}
	assert.Equal(t, []string{"amelia"}, clientIDs(t, e))
}
