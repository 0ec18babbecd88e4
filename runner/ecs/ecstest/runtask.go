//go:build unix

package ecstest

import (
	"encoding/json"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// token is a RunTask call that was acted upon.
type token struct {
	request string // the call, in one form
	task    *task
}

var (
	startedByPattern = regexp.MustCompile(`^[A-Za-z0-9/_-]{1,128}$`)
	tokenPattern     = regexp.MustCompile(`^[!-~]{1,64}$`)
	tagPattern       = regexp.MustCompile(`^[\p{L}\p{Z}\p{N}_.:/=+\-@]*$`)
)

func (s *Server) runTask(in runTaskRequest) (any, *APIError) {
	if err := s.checkRunTask(in); err != nil {
		return nil, err
	}
	asked := in
	asked.ClientToken = ""
	canonical, _ := json.Marshal(asked) // of strings and numbers: cannot fail

	s.mu.Lock()
	defer s.mu.Unlock()
	s.forgetOld()
	if former, ok := s.tokens[in.ClientToken]; ok && in.ClientToken != "" {
		if former.request != string(canonical) {
			err := refuse("ConflictException", "The provided clientToken is already in use with a different RunTask request.")
			err.resourceIDs = []string{former.task.arn}
			return nil, err
		}
		return map[string]any{"tasks": []wireTask{former.task.now()}, "failures": []failure{}}, nil
	}
	if s.moods.Full != "" && s.running() >= s.moods.Room {
		return map[string]any{"tasks": []wireTask{}, "failures": []failure{{ARN: s.arn("container-instance", s.options.Cluster), Reason: s.moods.Full}}}, nil
	}
	t := s.newTask(in)
	if in.ClientToken != "" {
		s.tokens[in.ClientToken] = &token{request: string(canonical), task: t}
	}
	s.work.Go(func() { s.live(t) })
	return map[string]any{"tasks": []wireTask{t.now()}, "failures": []failure{}}, nil
}

// checkRunTask refuses what ECS refuses, in its words where they are known.
func (s *Server) checkRunTask(in runTaskRequest) *APIError {
	if err := s.inCluster(in.Cluster); err != nil {
		return err
	}
	family, _, _ := strings.Cut(strings.TrimPrefix(in.TaskDefinition, s.arn("task-definition", "")), ":")
	overrides, _ := json.Marshal(in.Overrides) // of strings: cannot fail
	switch {
	case family != s.options.TaskDefinition:
		return refuse("ClientException", "TaskDefinition not found.")
	case in.Count != nil && *in.Count != 1:
		return invalid("this fake runs one task a call")
	case in.ClientToken != "" && !tokenPattern.MatchString(in.ClientToken):
		return invalid("clientToken must be 1 to 64 characters in the range of 33-126")
	case in.StartedBy != "" && !startedByPattern.MatchString(in.StartedBy):
		return invalid("startedBy contains invalid characters or is too long.")
	case len(overrides) > 8192:
		return invalid("Container Overrides length must be at most 8192")
	case in.LaunchType != "" && in.CapacityProviderStrategy != nil:
		return invalid("Specifying both a launch type and capacity provider strategy is not supported. Remove one and try again.")
	case in.NetworkConfiguration == nil:
		return invalid("Network Configuration must be provided when networkMode 'awsvpc' is specified.")
	case len(in.NetworkConfiguration.AwsvpcConfiguration.Subnets) == 0:
		return invalid("subnets can not be empty.")
	case len(in.NetworkConfiguration.AwsvpcConfiguration.Subnets) > 16, len(in.NetworkConfiguration.AwsvpcConfiguration.SecurityGroups) > 5:
		return invalid("too many subnets or security groups")
	}
	for _, c := range in.Overrides.ContainerOverrides {
		if c.Name != s.options.Container {
			return invalid("Override for container named %s is not a container in the TaskDefinition.", c.Name)
		}
	}
	for _, t := range in.Tags {
		if t.Key == "" || len(t.Key) > 128 || len(t.Value) > 256 || strings.HasPrefix(t.Key, "aws:") ||
			!tagPattern.MatchString(t.Key) || !tagPattern.MatchString(t.Value) {
			return invalid("Some tags contain invalid characters. Valid characters: UTF-8 letters, spaces, numbers and _ . / = + - : @.")
		}
	}
	if len(in.Tags) > 50 {
		return invalid("The maximum number of tags is 50.")
	}
	return fargate(in.Overrides)
}

// fargate refuses the sizes that Fargate does not have.
func fargate(o taskOverride) *APIError {
	none := refuse("ClientException", "No Fargate configuration exists for given values: %s CPU, %s memory.", o.CPU, o.Memory)
	cpu, err1 := strconv.Atoi(o.CPU)
	memory, err2 := strconv.Atoi(o.Memory)
	if err1 != nil || err2 != nil {
		return none
	}
	for _, size := range []struct{ cpu, least, most, step int }{
		{256, 512, 2048, 512},
		{512, 1024, 4096, 1024},
		{1024, 2048, 8192, 1024},
		{2048, 4096, 16384, 1024},
		{4096, 8192, 30720, 1024},
		{8192, 16384, 61440, 4096},
		{16384, 32768, 122880, 8192},
	} {
		if cpu == size.cpu && memory >= size.least && memory <= size.most && (memory%size.step == 0 || memory == 512) {
			return nil
		}
	}
	return none
}

// running counts the tasks that have not stopped. s.mu is held.
func (s *Server) running() int {
	n := 0
	for _, t := range s.tasks {
		if t.now().LastStatus != statusStopped {
			n++
		}
	}
	return n
}

// forgetOld drops the tasks that stopped long ago, and their client tokens. s.mu is held.
func (s *Server) forgetOld() {
	for id, t := range s.tasks {
		last := t.history[len(t.history)-1]
		if last.task.LastStatus == statusStopped && time.Since(last.at) > s.options.Keep {
			delete(s.tasks, id)
			delete(s.tokens, t.request.ClientToken)
		}
	}
}
