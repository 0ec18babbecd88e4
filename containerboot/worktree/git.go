package worktree

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	// outputLimit bounds what is read of a git process: enough for the names of a
	// hundred thousand changed files.
	outputLimit = 32 << 20
	// exitDelay is how long the pipes of a killed process may stay open.
	exitDelay = 2 * time.Second

	authorName  = "Webordinary session"
	authorEmail = "session@noreply.webordinary.com"
)

// settings go to every git process through its environment, which overrides all
// files. They switch off whatever could run a program or read another's configuration.
var settings = [...][2]string{
	{"core.hooksPath", "/dev/null"},
	{"core.fsmonitor", "false"},
	{"core.untrackedCache", "false"},
	{"core.splitIndex", "false"},
	{"core.attributesFile", "/dev/null"},
	{"core.excludesFile", "/dev/null"},
	{"core.askPass", ""},
	{"core.pager", "cat"},
	{"credential.helper", ""},
	// What the workspace's object folder says of its objects is not believed.
	{"core.commitGraph", "false"},
	{"core.multiPackIndex", "false"},
	{"core.fileMode", "true"},
	{"core.symlinks", "true"},
	{"core.ignoreCase", "false"},
	{"core.autocrlf", "false"},
	{"core.logAllRefUpdates", "false"},
	// The workspace's .git borrows from GitDir, so nothing there may be pruned.
	{"gc.auto", "0"},
	{"maintenance.auto", "false"},
	{"fetch.writeCommitGraph", "false"},
	{"fetch.recurseSubmodules", "false"},
	{"push.recurseSubmodules", "no"},
	{"submodule.recurse", "false"},
	{"transfer.fsckObjects", "true"},
	// Harmless faults that old tools left in many histories.
	{"fetch.fsck.badTimezone", "ignore"},
	{"fetch.fsck.missingSpaceBeforeDate", "ignore"},
	{"fetch.fsck.zeroPaddedFilemode", "ignore"},
	{"fetch.fsck.missingNameBeforeEmail", "ignore"},
	{"fetch.fsck.missingSpaceBeforeEmail", "ignore"},
	{"fetch.fsck.badEmail", "ignore"},
	{"fetch.fsck.gitmodulesUrl", "ignore"},
	{"fetch.fsck.gitmodulesParse", "ignore"},
	// A moved repository is followed, but see Worktree.follow; what it is asked then has no
	// credentials.
	{"http.followRedirects", "initial"},
	// A transfer below 1,000 bytes a second for 30 s has stalled.
	{"http.lowSpeedLimit", "1000"},
	{"http.lowSpeedTime", "30"},
}

// inherited is what git needs of this process's own environment: where programs are,
// and an operator's proxy and certificates.
var inherited = [...]string{
	"PATH", "TMPDIR",
	"HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy",
	"SSL_CERT_FILE", "SSL_CERT_DIR", "GIT_SSL_CAINFO", "GIT_SSL_CAPATH",
}

func (w *Worktree) baseEnv() []string {
	env := []string{
		"HOME=/dev/null", // git's curl would read a .netrc there
		"LC_ALL=C",
		"GIT_CONFIG_NOSYSTEM=1",
		"GIT_ATTR_NOSYSTEM=1",
		"GIT_TERMINAL_PROMPT=0",
		"GIT_ASKPASS=",
		"GIT_NO_REPLACE_OBJECTS=1",
		"GIT_NO_LAZY_FETCH=1",
		"GIT_OPTIONAL_LOCKS=0",
		"GIT_AUTHOR_NAME=" + authorName, "GIT_AUTHOR_EMAIL=" + authorEmail,
		"GIT_COMMITTER_NAME=" + authorName, "GIT_COMMITTER_EMAIL=" + authorEmail,
	}
	for _, name := range inherited {
		if v, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+v)
		}
	}
	// Not every TLS library that git is built with knows these.
	for name, from := range map[string]string{"GIT_SSL_CAINFO": "SSL_CERT_FILE", "GIT_SSL_CAPATH": "SSL_CERT_DIR"} {
		if v := os.Getenv(from); v != "" && os.Getenv(name) == "" {
			env = append(env, name+"="+v)
		}
	}
	return env
}

// place is a git directory with the working tree and the index it is used with.
type place struct {
	git   string // GIT_DIR
	work  string // GIT_WORK_TREE; empty for commands that need none
	index string // GIT_INDEX_FILE; empty: the git directory's own
	// borrow is one more folder of objects, read as data.
	borrow string
	// objects is where new objects go; empty: the git directory's own. as is whose rights
	// git has; nil: this process's. See visit.
	objects string
	as      *syscall.Credential
}

// own is GitDir with the workspace.
func (w *Worktree) own() place { return place{git: w.cfg.GitDir, work: w.cfg.Dir} }

// input and output of a git process beyond its arguments.
type stdio struct {
	in  io.Reader
	out io.Writer // nil: returned
	log bool      // pass stderr on to Config.Log
	// remote that this process may speak to, by its scheme alone, and further
	// configuration and environment.
	remote remote
	config [][2]string
	env    []string
}

// exitError is a git process that ended with a code other than zero.
type exitError struct {
	command string
	code    int
}

func (e *exitError) Error() string { return fmt.Sprintf("git %s: exit code %d", e.command, e.code) }

// git runs one git process in a process group of its own, which is killed as a whole
// with ctx. It returns its output, or an *Error.
func (w *Worktree) git(ctx context.Context, p place, s stdio, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Dir = "/"
	cmd.Env = append(slices.Clip(w.env),
		"GIT_DIR="+p.git, "GIT_CONFIG_GLOBAL="+filepath.Join(p.git, globalFile), "GIT_ALLOW_PROTOCOL="+s.remote.scheme)
	if p.work != "" {
		cmd.Dir = p.work
		cmd.Env = append(cmd.Env, "GIT_WORK_TREE="+p.work)
	}
	if p.index != "" {
		cmd.Env = append(cmd.Env, "GIT_INDEX_FILE="+p.index)
	}
	borrow := p.borrow
	if p.objects != "" {
		cmd.Env = append(cmd.Env, "GIT_OBJECT_DIRECTORY="+p.objects)
		borrow = filepath.Join(p.git, "objects")
	}
	if borrow != "" { // quoted: git splits it at colons
		cmd.Env = append(cmd.Env, `GIT_ALTERNATE_OBJECT_DIRECTORIES="`+borrow+`"`)
	}
	config := append(slices.Clip(settings[:]), s.config...)
	cmd.Env = append(cmd.Env, "GIT_CONFIG_COUNT="+strconv.Itoa(len(config)))
	for i, kv := range config {
		n := strconv.Itoa(i)
		cmd.Env = append(cmd.Env, "GIT_CONFIG_KEY_"+n+"="+kv[0], "GIT_CONFIG_VALUE_"+n+"="+kv[1])
	}
	cmd.Env = append(cmd.Env, s.env...)

	cmd.Stdin = s.in
	var out limitedBuffer
	cmd.Stdout = &out
	if s.out != nil {
		cmd.Stdout = s.out
	}
	stderr := &lineWriter{redact: w.redact}
	if s.log {
		stderr.log = w.cfg.Log
	}
	cmd.Stderr = stderr
	cmd.SysProcAttr = processAttributes()
	cmd.SysProcAttr.Credential = p.as
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = exitDelay

	err := cmd.Run()
	stderr.flush()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && exit.ExitCode() >= 0 {
		err = &exitError{command: args[0], code: exit.ExitCode()}
	} else if err != nil {
		err = fmt.Errorf("running git %s: %w", args[0], err)
	}
	if err != nil {
		return nil, w.classify(ctx, err, stderr.tail(), s.remote)
	}
	return out.Bytes(), nil
}

// gitLine is git for a command that needs no input and prints one line.
func (w *Worktree) gitLine(ctx context.Context, p place, args ...string) (string, error) {
	out, err := w.git(ctx, p, stdio{}, args...)
	return strings.TrimSpace(string(out)), err
}

// gitTest is git for a command that answers by its exit code: 0 yes, 1 no.
func (w *Worktree) gitTest(ctx context.Context, p place, args ...string) (bool, error) {
	_, err := w.git(ctx, p, stdio{}, args...)
	if exit := (*exitError)(nil); errors.As(err, &exit) && exit.code == 1 {
		return false, nil
	}
	return err == nil, err
}

// isAncestor reports whether one commit is an ancestor of another, or is it.
func (w *Worktree) isAncestor(ctx context.Context, p place, older, newer string) (bool, error) {
	if older == newer {
		return true, nil
	}
	return w.gitTest(ctx, p, "merge-base", "--is-ancestor", older, newer)
}

// limitedBuffer fails the process that writes more than outputLimit to it.
type limitedBuffer struct{ bytes.Buffer }

func (b *limitedBuffer) Write(p []byte) (int, error) {
	if b.Len()+len(p) > outputLimit {
		return 0, fmt.Errorf("more than %d bytes of output", outputLimit)
	}
	return b.Buffer.Write(p)
}
