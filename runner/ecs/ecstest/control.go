//go:build unix

package ecstest

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"syscall"
)

// TaskInfo is a task as it is, whatever the API shows.
type TaskInfo struct {
	ARN        string `json:"arn"`
	StartedBy  string `json:"startedBy,omitempty"`
	SessionID  string `json:"sessionId,omitempty"`
	Address    string `json:"address,omitempty"`
	LastStatus string `json:"lastStatus"`
	// PID is the process of its container, 0 if it has none.
	PID    int               `json:"pid,omitempty"`
	CPU    string            `json:"cpu"`
	Memory string            `json:"memory"`
	Env    map[string]string `json:"env"`
	Tags   map[string]string `json:"tags"`
	// Created is when it was started, in milliseconds since 1970.
	Created int64 `json:"created"`
}

// ErrNoTask: there is no such task, or it has no process.
var ErrNoTask = errors.New("no such task, or it does not run")

// control adds what a test does from outside:
//
//	GET  /-/tasks                 all tasks, [TaskInfo…]
//	GET  /-/calls                 how often each action was called, {action: n}
//	GET  /-/doubles               sessions of which two containers ran at once, [id…]
//	GET  /-/moods                 the Moods
//	PUT  /-/moods                 other Moods
//	POST /-/kill?task=ARN         kills a task's container, as a crash would
//	POST /-/pause?task=ARN        stops it in its tracks: it hangs
//	POST /-/resume?task=ARN       has it go on
//	POST /-/end?task=ARN&reason=… ends it as ECS does for reasons of its own
func (s *Server) control(mux *http.ServeMux) {
	answer := func(w http.ResponseWriter, v any) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(v) // the client may have gone
	}
	mux.HandleFunc("GET /-/tasks", func(w http.ResponseWriter, _ *http.Request) { answer(w, s.Tasks()) })
	mux.HandleFunc("GET /-/calls", func(w http.ResponseWriter, _ *http.Request) { answer(w, s.Calls()) })
	mux.HandleFunc("GET /-/doubles", func(w http.ResponseWriter, _ *http.Request) { answer(w, append([]string{}, s.Doubles()...)) })
	mux.HandleFunc("GET /-/moods", func(w http.ResponseWriter, _ *http.Request) { answer(w, s.Moods()) })
	mux.HandleFunc("PUT /-/moods", func(w http.ResponseWriter, r *http.Request) {
		var m Moods
		d := json.NewDecoder(r.Body)
		d.DisallowUnknownFields()
		if err := d.Decode(&m); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		s.SetMoods(m)
		answer(w, m)
	})
	for path, do := range map[string]func(arn string) error{
		"kill":   func(arn string) error { return s.Signal(arn, syscall.SIGKILL) },
		"pause":  func(arn string) error { return s.Signal(arn, syscall.SIGSTOP) },
		"resume": func(arn string) error { return s.Signal(arn, syscall.SIGCONT) },
	} {
		mux.HandleFunc("POST /-/"+path, func(w http.ResponseWriter, r *http.Request) {
			if err := do(r.FormValue("task")); err != nil {
				http.Error(w, err.Error(), http.StatusNotFound)
			}
		})
	}
	mux.HandleFunc("POST /-/end", func(w http.ResponseWriter, r *http.Request) {
		if err := s.End(r.FormValue("task"), "TerminationNotice", r.FormValue("reason")); err != nil {
			http.Error(w, err.Error(), http.StatusNotFound)
		}
	})
}

// Tasks returns all tasks, the oldest first.
func (s *Server) Tasks() []TaskInfo {
	s.mu.Lock()
	defer s.mu.Unlock()
	tasks := make([]TaskInfo, 0, len(s.tasks))
	for _, t := range s.tasks {
		now := t.now()
		info := TaskInfo{
			ARN: t.arn, StartedBy: now.StartedBy, SessionID: t.sessionID(), Address: t.address, LastStatus: now.LastStatus,
			CPU: now.CPU, Memory: now.Memory, Env: map[string]string{}, Tags: map[string]string{},
			Created: t.history[0].at.UnixMilli(),
		}
		for _, c := range t.request.Overrides.ContainerOverrides {
			for _, v := range c.Environment {
				info.Env[v.Name] = v.Value
			}
		}
		for _, tag := range t.request.Tags {
			info.Tags[tag.Key] = tag.Value
		}
		if t.process != nil {
			info.PID = t.process.Pid
		}
		tasks = append(tasks, info)
	}
	slices.SortFunc(tasks, func(a, b TaskInfo) int {
		if a.Created != b.Created {
			return int(a.Created - b.Created)
		}
		return strings.Compare(a.ARN, b.ARN)
	})
	return tasks
}

// Task returns one task by its ARN. ErrNoTask.
func (s *Server) Task(arn string) (TaskInfo, error) {
	for _, t := range s.Tasks() {
		if t.ARN == arn {
			return t, nil
		}
	}
	return TaskInfo{}, fmt.Errorf("%q: %w", arn, ErrNoTask)
}

// Signal sends a signal to the first process of a task's container: SIGKILL for a
// crash, SIGSTOP for one that hangs. A made-up container ends. ErrNoTask.
func (s *Server) Signal(arn string, sig syscall.Signal) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.tasks {
		switch {
		case t.arn != arn:
		case t.process != nil:
			return t.process.Signal(sig)
		case len(s.options.Command) == 0 && t.now().LastStatus == statusRunning:
			t.end("EssentialContainerExited", "Essential container in task exited")
			return nil
		}
	}
	return fmt.Errorf("%q: %w", arn, ErrNoTask)
}

// End ends a task as ECS does for reasons of its own, with SIGTERM first. ErrNoTask.
func (s *Server) End(arn, code, reason string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.tasks {
		if t.arn == arn && t.now().LastStatus != statusStopped {
			t.end(code, reason)
			return nil
		}
	}
	return fmt.Errorf("%q: %w", arn, ErrNoTask)
}
