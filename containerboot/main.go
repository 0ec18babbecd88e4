package containerboot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// The exit statuses. See the package comment.
const (
	exitOK          = 0
	exitServer      = 1
	exitSettings    = 2
	exitListen      = 3
	exitUnsaved     = 4
	exitUnclaimed   = 5
	exitNoConfig    = 6
	exitCloning     = 11
	exitInstalling  = 12
	exitBuilding    = 13
	exitNotAnswered = 14
)

// Main runs containerboot and returns its exit status. It takes the arguments
// without the program's name, and the environment in the form of os.Environ.
func Main(args, environ []string, stdout, stderr io.Writer) int {
	if code, isInit := beInit(args, environ, stderr); isInit {
		return code
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	stopOnSignal(cancel)

	switch {
	case len(args) == 1 && (args[0] == "--help" || args[0] == "-h"):
		fmt.Fprint(stdout, manual())
		return exitOK
	case len(args) == 1 && args[0] == "--version":
		fmt.Fprintln(stdout, "containerboot", version())
		return exitOK
	case len(args) > 0:
		fmt.Fprintf(stderr, "containerboot: unknown arguments %q; it is told everything by its environment: see --help\n", args)
		return exitSettings
	}

	settings, err := readSettings(environ)
	if err != nil {
		for line := range strings.Lines(err.Error()) {
			fmt.Fprintln(stderr, "containerboot:", strings.TrimRight(line, "\n"))
		}
		return exitSettings
	}
	// Before anything else is started: no child may have them.
	files, err := inherit(settings)
	if err != nil {
		fmt.Fprintln(stderr, "containerboot:", err)
		return exitSettings
	}
	defer files.close()

	log := newLogger(stderr)
	listener, err := listen(ctx, settings, files)
	if err != nil {
		log.Error("listening failed", zap.String("address", settings.listen), zap.Error(err))
		return exitListen
	}
	if files.parent != nil {
		go stopAtEnd(files.parent, cancel)
	}
	return live(ctx, settings, listener, log)
}

// version is the module's version and revision, as the Go tool recorded them.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	v := info.Main.Version
	if v == "" {
		v = "(devel)"
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 && !strings.Contains(v, s.Value[:12]) {
			v += " " + s.Value[:12]
		}
	}
	return v
}

func newLogger(w io.Writer) *zap.Logger {
	config := zap.NewProductionEncoderConfig()
	config.TimeKey = "time"
	config.EncodeTime = zapcore.RFC3339NanoTimeEncoder
	config.EncodeDuration = zapcore.StringDurationEncoder
	return zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(config), zapcore.Lock(zapcore.AddSync(w)), zap.InfoLevel))
}

// Why a container ends.
var (
	errSignal     = errors.New("told to by a signal")
	errParentGone = errors.New("the parent process is gone")
	errAbandoned  = errors.New("no edge was heard of for too long")
	errUnclaimed  = errors.New("never claimed")
	errNoConfig   = errors.New("the client's configuration could not be loaded")
	errCommitted  = errors.New("put to sleep by an edge")
)

// stopOnSignal ends everything at the first SIGTERM or SIGINT. Further ones change
// nothing: saving takes as long as it takes, within its grace.
func stopOnSignal(cancel context.CancelCauseFunc) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		<-signals
		cancel(errSignal)
	}()
}

// stopAtEnd ends everything when the other end of a pipe is closed.
func stopAtEnd(parent *os.File, cancel context.CancelCauseFunc) {
	_, _ = io.Copy(io.Discard, parent) // however it ends, the parent is gone
	cancel(errParentGone)
}
