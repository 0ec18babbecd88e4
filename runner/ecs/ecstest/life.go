//go:build unix

package ecstest

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/webordinary/router/containerboot/bootapi"
)

// task is a task and its container. Its fields are guarded by the server's lock.
type task struct {
	id, arn string
	request runTaskRequest
	history []snapshot // never empty
	address string
	process *os.Process // nil: has none, or none any more

	ending             chan struct{} // closed when it is to end
	stopCode, stopText string
}

// sessionID is the session that the overrides name.
func (t *task) sessionID() string {
	for _, c := range t.request.Overrides.ContainerOverrides {
		for _, v := range c.Environment {
			if v.Name == bootapi.EnvSessionID {
				return v.Value
			}
		}
	}
	return ""
}

// newTask makes a task that is PROVISIONING. s.mu is held.
func (s *Server) newTask(in runTaskRequest) *task {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	t := &task{id: hex.EncodeToString(b[:]), request: in, ending: make(chan struct{})}
	t.arn = s.arn("task", s.options.Cluster+"/"+t.id)
	definition := in.TaskDefinition
	if prefix := s.arn("task-definition", ""); definition[:min(len(definition), len(prefix))] != prefix {
		definition = prefix + definition
	}
	now := time.Now()
	t.history = []snapshot{{at: now, task: wireTask{
		TaskARN: t.arn, ClusterARN: s.clusterARN(), TaskDefinitionARN: definition,
		StartedBy: in.StartedBy, Group: "family:" + s.options.TaskDefinition, LaunchType: in.LaunchType,
		LastStatus: statusProvisioning, DesiredStatus: statusRunning, CreatedAt: stamp(now),
		CPU: in.Overrides.CPU, Memory: in.Overrides.Memory, Overrides: in.Overrides, Tags: in.Tags, Version: 1,
		Containers:  []wireContainer{{Name: s.options.Container, LastStatus: statusPending, NetworkInterfaces: []networkInterface{}}},
		Attachments: []attachment{{ID: "eni-" + t.id, Type: "ElasticNetworkInterface", Status: "PRECREATED", Details: []keyword{{Name: "subnetId", Value: "subnet-1"}}}},
	}}}
	s.tasks[t.id] = t
	return t
}

// end has the task end, unless it is about to already. s.mu is held.
func (t *task) end(code, reason string) {
	if t.stopCode != "" {
		return
	}
	t.stopCode, t.stopText = code, reason
	close(t.ending)
	t.change(func(w *wireTask) {
		w.DesiredStatus, w.StopCode, w.StoppedReason = statusStopped, code, reason
		if code == "UserInitiated" {
			w.Tags = []tag{} // as ECS does
		}
	})
}

// change adds a state. s.mu is held.
func (t *task) change(change func(*wireTask)) {
	next := t.now()
	next.Containers = append([]wireContainer(nil), next.Containers...)
	next.Attachments = append([]attachment(nil), next.Attachments...)
	next.Version++
	change(&next)
	t.history = append(t.history, snapshot{at: time.Now(), task: next})
}

func (s *Server) become(t *task, status string, change func(*wireTask)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t.change(func(w *wireTask) {
		w.LastStatus = status
		if change != nil {
			change(w)
		}
	})
}

// wait lets a time pass. false: the task is to end.
func (s *Server) wait(t *task, d Duration) bool {
	if d <= 0 {
		select {
		case <-t.ending:
			return false
		default:
			return true
		}
	}
	timer := time.NewTimer(time.Duration(d))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-t.ending:
	case <-s.life.Done():
		s.mu.Lock()
		t.end("TerminationNotice", "the fake ends")
		s.mu.Unlock()
	}
	return false
}

// live is a task's life.
func (s *Server) live(t *task) {
	status := s.run(t)
	m := s.Moods()
	s.become(t, statusDeprovisioning, func(w *wireTask) {
		w.Containers[0].LastStatus, w.Containers[0].ExitCode = statusStopped, status
		w.Attachments[0].Status = "DELETED"
	})
	select {
	case <-time.After(time.Duration(m.Deprovision)):
	case <-s.life.Done():
	}
	s.become(t, statusStopped, func(w *wireTask) { w.StoppedAt = stamp(time.Now()) })
	s.mu.Lock()
	defer s.mu.Unlock()
	if t.address != "" {
		s.addresses.free(t.address)
	}
}

// run is a task's life until its container has ended, and that one's exit status if it had one.
func (s *Server) run(t *task) *int {
	m := s.Moods()
	if !s.wait(t, m.Provision) {
		return nil
	}
	s.mu.Lock()
	t.address = s.addresses.take(s.moods.ReuseAddresses)
	s.mu.Unlock()
	s.become(t, statusPending, func(w *wireTask) {
		w.Attachments[0].Status = "ATTACHED"
		w.Attachments[0].Details = append(w.Attachments[0].Details[:1:1],
			keyword{Name: "networkInterfaceId", Value: "eni-" + t.id}, keyword{Name: "privateIPv4Address", Value: t.address})
		w.Containers[0].NetworkInterfaces = []networkInterface{{AttachmentID: w.Attachments[0].ID, PrivateIPv4Address: t.address}}
	})
	if !s.wait(t, m.Pull) {
		return nil
	}
	if broken := m.Broken; broken != "" {
		s.mu.Lock()
		t.end("TaskFailedToStart", broken)
		s.mu.Unlock()
		return nil
	}
	running := func(w *wireTask) {
		w.StartedAt, w.Containers[0].LastStatus = stamp(time.Now()), statusRunning
	}
	if len(s.options.Command) == 0 {
		s.become(t, statusRunning, running)
		s.wait(t, Duration(1<<62))
		return new(int)
	}
	cmd, exited, err := s.launch(t)
	if err != nil {
		s.mu.Lock()
		t.end("TaskFailedToStart", "CannotStartContainerError: "+err.Error())
		s.mu.Unlock()
		return nil
	}
	s.become(t, statusRunning, running)
	s.outlive(t, cmd, exited)
	status := cmd.ProcessState.ExitCode()
	if status < 0 {
		status = 128 + int(cmd.ProcessState.Sys().(syscall.WaitStatus).Signal())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	t.process = nil
	t.end("EssentialContainerExited", "Essential container in task exited")
	return &status
}

// launch starts the container's process.
func (s *Server) launch(t *task) (*exec.Cmd, <-chan struct{}, error) {
	dir := filepath.Join(s.options.Dir, "tasks", t.id)
	if err := os.MkdirAll(filepath.Join(dir, "workspace"), 0o700); err != nil {
		return nil, nil, err
	}
	output, err := os.Create(filepath.Join(s.options.Dir, "tasks", t.id+".log"))
	if err != nil {
		return nil, nil, err
	}
	defer output.Close()
	cmd := exec.Command(s.options.Command[0], s.options.Command[1:]...) //nolint:noctx // it ends as a task does
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, output, output
	cmd.ExtraFiles = []*os.File{s.parentRead} // 3
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Env = append(append([]string(nil), s.options.Env...),
		bootapi.EnvPort+"="+strconv.Itoa(s.addresses.port),
		bootapi.EnvListen+"="+t.address, bootapi.EnvParentFD+"=3",
		bootapi.EnvWorkspace+"="+filepath.Join(dir, "workspace"), bootapi.EnvCache+"="+filepath.Join(s.options.Dir, "cache"))
	for _, c := range t.request.Overrides.ContainerOverrides {
		for _, v := range c.Environment {
			cmd.Env = append(cmd.Env, v.Name+"="+v.Value) // the last one counts
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := cmd.Start(); err != nil {
		return nil, nil, err
	}
	t.process = cmd.Process
	for _, other := range s.tasks {
		if other != t && other.process != nil && other.sessionID() == t.sessionID() {
			s.doubles = append(s.doubles, t.sessionID())
		}
	}
	exited := make(chan struct{})
	s.work.Go(func() {
		defer close(exited)
		_ = reap(cmd, dir) // how it ended is in ProcessState
	})
	return cmd, exited, nil
}

// outlive sees a container to its end.
func (s *Server) outlive(t *task, cmd *exec.Cmd, exited <-chan struct{}) {
	select {
	case <-exited:
		return
	case <-t.ending:
	case <-s.life.Done():
		_ = cmd.Process.Kill() // it may have ended
		<-exited
		return
	}
	s.become(t, statusDeactivating, nil)
	s.become(t, statusStopping, nil)
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		_ = cmd.Process.Kill()
	}
	timer := time.NewTimer(s.options.StopTimeout)
	defer timer.Stop()
	select {
	case <-exited:
		return
	case <-timer.C:
	case <-s.life.Done():
	}
	_ = cmd.Process.Kill() // as above
	<-exited
}
