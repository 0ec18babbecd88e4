//go:build unix

// Command ecsfake is ecstest as a program, for tests that look from outside:
//
//	ecsfake -dir DIR [-listen 127.0.0.1:0] [-port 0] [-moods JSON] [-- containerboot [ARG…]]
//
// It prints one line of JSON, with where its API listens ("endpoint") and the port of
// the containers ("port"), and runs until SIGTERM, SIGINT, or the end of its standard
// input, where that is a pipe: so it ends with whoever started it. Containers get its
// own environment, without what belongs to AWS and to containerboot. What a test can do
// beside the API of ECS is at paths under /-/: see ecstest's control.go.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/webordinary/router/runner/ecs/ecstest"
)

func main() {
	if err := run(os.Args[1:], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "ecsfake:", err)
		os.Exit(1)
	}
}

func run(args []string, stdin *os.File, stdout io.Writer) error {
	var o ecstest.Options
	var moods string
	flags := flag.NewFlagSet("ecsfake", flag.ContinueOnError)
	flags.StringVar(&o.Dir, "dir", "", "folder of the containers")
	flags.StringVar(&o.Listen, "listen", "", "address of the API")
	flags.StringVar(&o.Region, "region", "", "region")
	flags.StringVar(&o.Cluster, "cluster", "", "name of the cluster")
	flags.StringVar(&o.TaskDefinition, "task-definition", "", "family of the task definition")
	flags.StringVar(&o.Container, "container", "", "name of its container")
	flags.IntVar(&o.Port, "port", 0, "port of the containers")
	flags.DurationVar(&o.StopTimeout, "stop-timeout", 0, "from SIGTERM to SIGKILL")
	flags.DurationVar(&o.Keep, "keep", 0, "how long a stopped task can be described")
	flags.StringVar(&moods, "moods", "{}", "the moods, in JSON")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if err := json.Unmarshal([]byte(moods), &o.Moods); err != nil {
		return fmt.Errorf("-moods: %w", err)
	}
	o.Command = flags.Args()
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	server, err := ecstest.New(o)
	if err != nil {
		return err
	}
	if err := json.NewEncoder(stdout).Encode(map[string]any{"endpoint": server.Endpoint(), "port": server.Port()}); err != nil {
		return err
	}
	if info, err := stdin.Stat(); err == nil && info.Mode()&os.ModeNamedPipe != 0 {
		go func() {
			_, _ = io.Copy(io.Discard, stdin)
			stop <- syscall.SIGTERM
		}()
	}
	<-stop
	return server.Close()
}
