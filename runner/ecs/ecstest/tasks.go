//go:build unix

package ecstest

import (
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

const (
	statusProvisioning   = "PROVISIONING"
	statusPending        = "PENDING"
	statusRunning        = "RUNNING"
	statusDeactivating   = "DEACTIVATING"
	statusStopping       = "STOPPING"
	statusDeprovisioning = "DEPROVISIONING"
	statusStopped        = "STOPPED"
)

// maxTasks is how many tasks a DescribeTasks and a page of ListTasks may name.
const maxTasks = 100

// snapshot is a task's state since a moment.
type snapshot struct {
	at   time.Time
	task wireTask
}

// seen is the task as an API of that lag shows it, if it shows it yet. s.mu is held.
func (t *task) seen(lag Duration) (wireTask, bool) {
	at := time.Now()
	if lag > 0 {
		at = at.Add(-rand.N(time.Duration(lag))) //nolint:gosec // chance, not secrecy
	}
	for _, state := range slices.Backward(t.history) {
		if !state.at.After(at) {
			return state.task, true
		}
	}
	return wireTask{}, false
}

// now is the task as it is. s.mu is held.
func (t *task) now() wireTask { return t.history[len(t.history)-1].task }

func (s *Server) describeTasks(in describeTasksRequest) (any, *APIError) {
	if err := s.inCluster(in.Cluster); err != nil {
		return nil, err
	}
	if len(in.Tasks) == 0 || len(in.Tasks) > maxTasks {
		return nil, invalid("Tasks must have 1 to %d entries.", maxTasks)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forgetOld()
	tasks, failures := []wireTask{}, []failure{}
	for _, name := range in.Tasks {
		id, err := s.taskID(name)
		if err != nil {
			return nil, err
		}
		if t, ok := s.tasks[id]; ok {
			if seen, ok := t.seen(s.moods.Lag); ok {
				if !slices.Contains(in.Include, "TAGS") {
					seen.Tags = []tag{}
				}
				tasks = append(tasks, seen)
				continue
			}
		}
		failures = append(failures, failure{ARN: s.arn("task", s.options.Cluster+"/"+id), Reason: "MISSING"})
	}
	return map[string]any{"tasks": tasks, "failures": failures}, nil
}

func (s *Server) stopTask(in stopTaskRequest) (any, *APIError) {
	if err := s.inCluster(in.Cluster); err != nil {
		return nil, err
	}
	if len(in.Reason) > 255 {
		return nil, invalid("reason must be at most 255 characters")
	}
	id, err := s.taskID(in.Task)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forgetOld()
	t, ok := s.tasks[id]
	if ok {
		// StopTask has its own view of what there is.
		_, ok = t.seen(s.moods.Lag / 3)
	}
	if !ok {
		return nil, invalid("The referenced task was not found.")
	}
	reason := in.Reason
	if reason == "" {
		reason = "Task stopped by user"
	}
	t.end("UserInitiated", reason)
	return map[string]any{"task": t.now()}, nil
}

func (s *Server) listTasks(in listTasksRequest) (any, *APIError) {
	if err := s.inCluster(in.Cluster); err != nil {
		return nil, err
	}
	page := maxTasks
	if in.MaxResults != nil {
		page = *in.MaxResults
	}
	desired := in.DesiredStatus
	if desired == "" {
		desired = statusRunning
	}
	switch {
	case page < 1 || page > maxTasks:
		return nil, invalid("maxResults must be between 1 and %d.", maxTasks)
	case in.StartedBy != "" && (in.Family != "" || in.LaunchType != "" || s.Moods().OneFilter && in.DesiredStatus != ""):
		return nil, invalid("cannot specify startedBy with other filters.")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forgetOld()
	arns := []string{}
	for _, t := range s.tasks {
		seen, ok := t.seen(s.moods.Lag)
		if ok && seen.DesiredStatus == desired && (in.StartedBy == "" || seen.StartedBy == in.StartedBy) && t.arn > in.NextToken {
			arns = append(arns, t.arn)
		}
	}
	slices.SortFunc(arns, strings.Compare)
	answer := map[string]any{"taskArns": arns}
	if len(arns) > page {
		answer["taskArns"], answer["nextToken"] = arns[:page], arns[page-1]
	}
	return answer, nil
}
