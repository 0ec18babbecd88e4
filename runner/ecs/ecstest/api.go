//go:build unix

package ecstest

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"
)

const target = "AmazonEC2ContainerServiceV20141113."

// handler is the API, and what is under /-/.
func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	s.control(mux)
	mux.HandleFunc("POST /{$}", s.serveAPI)
	return mux
}

// serveAPI answers one call.
func (s *Server) serveAPI(w http.ResponseWriter, r *http.Request) {
	action := strings.TrimPrefix(r.Header.Get("X-Amz-Target"), target)
	answer, lost, err := s.call(r, action)
	if lost {
		if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
			_ = conn.Close()
		}
		return
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	status := http.StatusOK
	if err != nil {
		status = http.StatusBadRequest
		if err.Status != 0 {
			status = err.Status
		}
		answer = map[string]any{"__type": err.Code, "message": err.Message}
		if err.resourceIDs != nil {
			answer = map[string]any{"__type": err.Code, "message": err.Message, "resourceIds": err.resourceIDs}
		}
	}
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(answer) // the client may have gone
}

// call does what is asked, or what the moods say. lost: the caller is not to hear of it.
func (s *Server) call(r *http.Request, action string) (answer any, lost bool, err *APIError) {
	s.mu.Lock()
	s.calls[action]++
	s.inside[action]++
	s.crowd[action] = max(s.crowd[action], s.inside[action])
	n, m := s.calls[action], s.moods
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.inside[action]--
	}()

	if m.Slow > 0 {
		select {
		case <-time.After(time.Duration(m.Slow)):
		case <-s.life.Done():
			return nil, true, nil
		}
	}
	if err := s.signed(r); err != nil {
		return nil, false, err
	}
	if m.Throttle > 0 && n%m.Throttle == 0 {
		return nil, false, refuse("ThrottlingException", "Rate exceeded")
	}
	if err, ok := m.Errors[action]; ok {
		return nil, false, &err
	}
	body, readErr := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if readErr != nil {
		return nil, true, nil
	}
	switch action {
	case "RunTask":
		answer, err = decoded(body, s.runTask)
	case "StopTask":
		answer, err = decoded(body, s.stopTask)
	case "DescribeTasks":
		answer, err = decoded(body, s.describeTasks)
	case "ListTasks":
		answer, err = decoded(body, s.listTasks)
	case "DescribeClusters":
		answer, err = decoded(body, s.describeClusters)
	case "DescribeTaskDefinition":
		answer, err = decoded(body, s.describeTaskDefinition)
	default:
		err = refuse("UnknownOperationException", "%q", action)
	}
	if err == nil && (action == "RunTask" || action == "StopTask") {
		s.mu.Lock()
		s.changes[action]++
		lost = m.LoseReplies > 0 && s.changes[action]%m.LoseReplies == 0
		s.mu.Unlock()
	}
	return answer, lost, err
}

// signed checks that a request is signed for this service and region, not by whom.
func (s *Server) signed(r *http.Request) *APIError {
	authorization := r.Header.Get("Authorization")
	switch {
	case !strings.HasPrefix(authorization, "AWS4-HMAC-SHA256 "):
		return refuse("MissingAuthenticationTokenException", "Missing Authentication Token")
	case !strings.Contains(authorization, "/"+s.options.Region+"/ecs/aws4_request"):
		return refuse("InvalidSignatureException", "Credential should be scoped to a valid region.")
	default:
		return nil
	}
}

func decoded[I any](body []byte, do func(I) (any, *APIError)) (any, *APIError) {
	var in I
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(&in); err != nil {
		return nil, refuse("SerializationException", "%v", err)
	}
	return do(in)
}

// inCluster checks the cluster of a call.
func (s *Server) inCluster(name string) *APIError {
	switch name {
	case s.options.Cluster, s.clusterARN():
		return nil
	default:
		return refuse("ClusterNotFoundException", "Cluster not found.")
	}
}

func (s *Server) arn(kind, rest string) string {
	return "arn:aws:ecs:" + s.options.Region + ":" + s.options.Account + ":" + kind + "/" + rest
}

func (s *Server) clusterARN() string { return s.arn("cluster", s.options.Cluster) }

var errForeign = errors.New("not one of this cluster")

// taskID takes the id of a task from what a call names it by.
func (s *Server) taskID(name string) (string, *APIError) {
	id, whole := strings.CutPrefix(name, s.arn("task", s.options.Cluster+"/"))
	if strings.HasPrefix(name, "arn:") && !whole {
		return "", invalid("Invalid identifier: %v.", errForeign)
	}
	if len(id) != 32 || strings.Trim(id, "0123456789abcdef") != "" {
		return "", invalid("taskId length should be one of [32,36]")
	}
	return id, nil
}
