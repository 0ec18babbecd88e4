//go:build unix

// Package ecstest is an Amazon ECS for tests: a server that speaks the part of its API
// which the ECS runner uses (AWS JSON 1.1: RunTask, DescribeTasks, StopTask, ListTasks,
// DescribeClusters, DescribeTaskDefinition),
// checks requests as ECS does, and really starts a process for each task, at an address
// of its own in 127.0.0.0/8, with the same port for all, as Fargate does. It can be put
// into moods: see Moods.
//
// It is used in a test's own process by Start, and from outside of it as the program in
// ecstest/ecsfake, which is told what to do at paths under /-/: see control.go.
//
// It needs Linux, where every address of 127.0.0.0/8 can be listened at without more ado.
package ecstest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Options say what there is in this ECS.
type Options struct {
	// Listen is the API's address. Default: a free port of 127.0.0.1.
	Listen string
	// Region and Account are those of every ARN. Default: us-east-1 and 123456789012.
	Region, Account string
	// Cluster is the only one there is. Default: sessions.
	Cluster string
	// TaskDefinition is the family of the only one there is, at any revision.
	// Default: session.
	TaskDefinition string
	// Container is its only container. Default: session.
	Container string
	// Command is the program that a container runs, and its arguments. Empty:
	// containers are made up, and nothing answers at their addresses.
	Command []string
	// Env are the variables of every container beside those of the overrides.
	// Default: this process's, without those of AWS and of containerboot.
	Env []string
	// Dir is where the containers' folders and logs lie. Needed with a Command.
	Dir string
	// Port is the port on which containers listen who are not told another.
	// Default: a free one, see Server.Port.
	Port int
	// StopTimeout is how long a container has after SIGTERM. Default: 30 s.
	StopTimeout time.Duration
	// Keep is how long a stopped task can still be described. Default: 1 h.
	Keep time.Duration
	// Moods are the first ones.
	Moods Moods
	// ClusterStatus is the cluster's. Default: ACTIVE.
	ClusterStatus string
	// Define changes the task definition, which has what a session needs. Nil: nothing.
	Define func(*Definition)
}

func (o Options) withDefaults() Options {
	for to, value := range map[*string]string{
		&o.Listen: "127.0.0.1:0", &o.Region: "us-east-1", &o.Account: "123456789012",
		&o.Cluster: "sessions", &o.TaskDefinition: "session", &o.Container: "session", &o.ClusterStatus: "ACTIVE",
	} {
		if *to == "" {
			*to = value
		}
	}
	if o.StopTimeout <= 0 {
		o.StopTimeout = 30 * time.Second
	}
	if o.Keep <= 0 {
		o.Keep = time.Hour
	}
	if o.Env == nil {
		for _, kv := range os.Environ() {
			if !strings.HasPrefix(kv, "AWS_") && !strings.HasPrefix(kv, "WEBORDINARY_") {
				o.Env = append(o.Env, kv)
			}
		}
	}
	return o
}

// Server is an ECS.
type Server struct {
	options   Options
	addresses *addresses
	listener  net.Listener
	http      *http.Server
	work      sync.WaitGroup

	// parentRead goes to every container and reaches its end with this process.
	parentRead, parentWrite *os.File

	life context.Context
	end  context.CancelFunc

	mu      sync.Mutex
	moods   Moods
	tasks   map[string]*task  // by id
	tokens  map[string]*token // by client token
	calls   map[string]int    // by action
	changes map[string]int    // RunTask and StopTask calls that were acted upon
	inside  map[string]int    // calls under way, by action
	crowd   map[string]int    // the most that were under way at once
	doubles []string          // sessions of which two containers ran at once
}

// New starts an ECS, which has to be closed.
func New(o Options) (_ *Server, err error) {
	o = o.withDefaults()
	if len(o.Command) > 0 {
		if o.Dir == "" {
			return nil, errors.New("ecstest: a command needs a folder")
		}
		if o.Dir, err = filepath.Abs(o.Dir); err != nil {
			return nil, fmt.Errorf("ecstest: %w", err)
		}
	}
	s := &Server{
		options: o, moods: o.Moods,
		tasks: map[string]*task{}, tokens: map[string]*token{}, calls: map[string]int{}, changes: map[string]int{},
		inside: map[string]int{}, crowd: map[string]int{},
	}
	if s.addresses, err = newAddresses(o.Port); err != nil {
		return nil, err
	}
	if s.listener, err = net.Listen("tcp", o.Listen); err != nil { //nolint:noctx // local, and at once
		return nil, errors.Join(fmt.Errorf("ecstest: %w", err), s.addresses.close())
	}
	if s.parentRead, s.parentWrite, err = os.Pipe(); err != nil {
		return nil, errors.Join(fmt.Errorf("ecstest: %w", err), s.listener.Close(), s.addresses.close())
	}
	s.life, s.end = context.WithCancel(context.Background())
	s.http = &http.Server{Handler: s.handler(), ReadHeaderTimeout: 10 * time.Second}
	s.work.Go(func() { _ = s.http.Serve(s.listener) }) // ends with Close
	return s, nil
}

// Start starts an ECS for a test, which ends with it.
func Start(t testing.TB, o Options) *Server {
	t.Helper()
	if len(o.Command) > 0 && o.Dir == "" {
		o.Dir = t.TempDir()
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// Close kills every container and ends the server.
func (s *Server) Close() error {
	s.end()
	// Calls under way may still start what is to be waited for.
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	err := errors.Join(s.http.Shutdown(ctx), s.http.Close())
	s.work.Wait()
	return errors.Join(err, s.parentWrite.Close(), s.parentRead.Close(), s.addresses.close())
}

// Endpoint is the URL of the API.
func (s *Server) Endpoint() string { return "http://" + s.listener.Addr().String() }

// Region is the region of the server.
func (s *Server) Region() string { return s.options.Region }

// Port is on which port containers listen who are not told another.
func (s *Server) Port() int { return s.addresses.port }

// SetMoods changes the moods for what comes.
func (s *Server) SetMoods(m Moods) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.moods = m
}

// Moods returns the present moods.
func (s *Server) Moods() Moods {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.moods
}

// Calls returns how often each action was called.
func (s *Server) Calls() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.calls)
}

// Crowd returns how many calls of each action were under way at once, at most.
func (s *Server) Crowd() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.crowd)
}

// Doubles returns the sessions of which two containers ran at once.
func (s *Server) Doubles() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.doubles)
}
