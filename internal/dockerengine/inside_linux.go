package dockerengine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/volume"
	"golang.org/x/sys/unix"
)

const (
	insideHost = "unix:///run/docker.sock"
	// startPatience is how long an engine may take to answer.
	startPatience = 90 * time.Second
)

// startInside starts an engine in the namespaces that this process is in.
func startInside(ctx context.Context, slot string) (host string, err error) {
	syscall.CloseOnExec(3) // the slot's lock, which is this process's and its init's
	if err := furnish(); err != nil {
		return "", err
	}
	first := startEngine(ctx, slot)
	if first == nil {
		return insideHost, nil
	}
	// What an earlier one left may be broken; it can all be made again.
	if err := os.RemoveAll(filepath.Join(slot, "data")); err != nil {
		return "", errors.Join(first, err)
	}
	if err := startEngine(ctx, slot); err != nil {
		return "", errors.Join(first, err)
	}
	return insideHost, nil
}

// furnish makes the namespaces fit to live in.
func furnish() error {
	for _, m := range []struct {
		source, target, kind string
		flags                uintptr
	}{
		{"", "/", "", unix.MS_REC | unix.MS_PRIVATE},
		{"proc", "/proc", "proc", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC},
		{"tmpfs", "/run", "tmpfs", unix.MS_NOSUID | unix.MS_NODEV},
	} {
		if err := unix.Mount(m.source, m.target, m.kind, m.flags, ""); err != nil {
			return fmt.Errorf("mounting %s: %w", m.target, err)
		}
	}
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("opening a socket: %w", err)
	}
	defer unix.Close(socket)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	lo.SetUint16(unix.IFF_UP)
	if err := unix.IoctlIfreq(socket, unix.SIOCSIFFLAGS, lo); err != nil {
		return fmt.Errorf("bringing the loopback interface up: %w", err)
	}
	return nil
}

// startEngine starts a dockerd and returns when it answers, with nothing on it but images.
func startEngine(ctx context.Context, slot string) error {
	data := filepath.Join(slot, "data")
	// The networks of an earlier one, which would be made again.
	if err := os.RemoveAll(filepath.Join(data, "network")); err != nil {
		return err
	}
	// Not the machine's own settings.
	config := filepath.Join(slot, "daemon.json")
	if err := os.WriteFile(config, []byte("{}\n"), 0o600); err != nil {
		return err
	}
	logPath := filepath.Join(slot, "dockerd.log")
	log, err := os.Create(logPath)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command("dockerd", //nolint:noctx // it ends with the namespaces
		"--host="+insideHost, "--data-root="+data, "--exec-root=/run/docker", "--pidfile=/run/docker.pid",
		"--config-file="+config, "--bridge=none", "--cgroup-parent=/"+cgroupPrefix+os.Getenv(outerEnv),
		"--default-address-pool=base=172.28.0.0/20,size=24")
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return err
	}
	deadline := time.Now().Add(startPatience)
	for !answers(ctx, insideHost) {
		var status syscall.WaitStatus
		if pid, _ := syscall.Wait4(cmd.Process.Pid, &status, syscall.WNOHANG, nil); pid == cmd.Process.Pid {
			return fmt.Errorf("dockerd ended: %s", logEnd(logPath))
		}
		if time.Now().After(deadline) {
			_ = cmd.Process.Kill() // it has not ended
			_, _ = cmd.Process.Wait()
			return fmt.Errorf("dockerd does not answer within %s: %s", startPatience, logEnd(logPath))
		}
		<-time.After(50 * time.Millisecond)
	}
	return empty(ctx)
}

func logEnd(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return lastLines(string(text), 3000)
}

// empty removes what the tests of an earlier one left.
func empty(ctx context.Context) error {
	cli, err := (&Engine{Host: insideHost}).connect()
	if err != nil {
		return err
	}
	defer cli.Close()
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	all, err := cli.ContainerList(ctx, container.ListOptions{All: true})
	if err != nil {
		return err
	}
	for _, c := range all {
		if err := cli.ContainerRemove(ctx, c.ID, container.RemoveOptions{Force: true, RemoveVolumes: true}); err != nil {
			return err
		}
	}
	volumes, err := cli.VolumeList(ctx, volume.ListOptions{})
	if err != nil {
		return err
	}
	for _, v := range volumes.Volumes {
		if err := cli.VolumeRemove(ctx, v.Name, true); err != nil {
			return err
		}
	}
	return nil
}
