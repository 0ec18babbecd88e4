package steps

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/webordinary/router/containerboot/bootapi"
	"github.com/webordinary/router/containerboot/buildcache"
	"github.com/webordinary/router/containerboot/daemon"
	"github.com/webordinary/router/containerboot/tool"
)

// The values of bootapi.Site.Mode.
const (
	modeStatic = "static"
	modeServer = "server"
	modeDev    = "dev"
)

const (
	// serverTimeout is how long a site's server may take until it listens, and devTimeout
	// a development server, which may have to look through many files first.
	serverTimeout = time.Minute
	devTimeout    = 2 * time.Minute
)

// What Astro's Node adapter leaves in the output folder.
const (
	serverEntry  = "server/entry.mjs"
	clientFolder = "client"
)

// errNoEntry tells the operator what a server site needs.
var errNoEntry = errors.New("build.mode server needs the adapter @astrojs/node with mode: 'standalone'")

// IsDev reports whether the site is served by its development server, without a build.
func (b *Builder) IsDev() bool { return b.cfg.Site.Mode == modeDev }

// IsServer reports whether a build's output is to be run: build.mode says so, or, where
// it says nothing, the output is that of Astro's Node adapter, or of another one that is
// not known to need another host.
func (b *Builder) IsServer(output string) bool {
	switch b.cfg.Site.Mode {
	case modeServer:
		return true
	case "":
		isFiles := homeIn(output) || homeIn(filepath.Join(output, clientFolder))
		return isFile(filepath.Join(output, serverEntry)) && (!isFiles || readServer(output).runs())
	default:
		return false
	}
}

// Files is the folder of a build's output whose files visitors may read: adapters keep
// them apart from the server's code, also where there is none.
func (b *Builder) Files(output string) string {
	client := filepath.Join(output, clientFolder)
	if b.IsServer(output) || !homeIn(output) && homeIn(client) {
		return client
	}
	return output
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// Said is told what becomes of a server that runs.
type Said struct {
	// Ended: it ended by itself, and is started again soon. Up: it listens again.
	Ended func(cause string, again time.Duration)
	Up    func()
}

// StartServer runs the server of a build's output, from a copy, which later builds
// leave alone. Its packages are those of the workspace, and so is its working folder.
// Call the returned function once the server has been stopped.
func (b *Builder) StartServer(ctx context.Context, output string, said Said) (*daemon.Daemon, func(), error) {
	const phase = bootapi.PhaseBuilding
	if !isFile(filepath.Join(output, serverEntry)) {
		return nil, nil, fail(phase, errNoEntry, "The build left no %s in the folder %q.", serverEntry, filepath.ToSlash(b.output))
	}
	b.cfg.Board.Enter(phase, "starting the site's server")
	place, err := b.place(ctx, output)
	if err != nil {
		return nil, nil, b.explain(phase, "Starting the site's server failed", err)
	}
	remove := func() {
		if err := os.RemoveAll(place.top); err != nil {
			b.cfg.Log.Warn("removing a server's files failed", zap.Error(err))
		}
	}
	entry := filepath.Join(place.output, serverEntry)
	d, err := b.keepUp(ctx, "the site's server", serverTimeout, said, func(host, port string) ([]string, []string) {
		return []string{"node", entry}, []string{"HOST=" + host, "PORT=" + port}
	})
	if err != nil {
		remove()
		return nil, nil, err
	}
	return d, remove, nil
}

// placed is where a server runs from.
type placed struct{ top, output string }

// place copies an output to a folder outside of the workspace from which Node finds the
// workspace's packages: it looks into the node_modules of each folder above a module.
func (b *Builder) place(ctx context.Context, output string) (placed, error) {
	servers := filepath.Join(b.cfg.Private, "servers")
	// Its user goes through it to a folder of his own, and sees no other.
	if err := os.MkdirAll(servers, 0o711); err != nil {
		return placed{}, err
	}
	top, err := os.MkdirTemp(servers, "")
	if err != nil {
		return placed{}, err
	}
	p := placed{top: top}
	from, to := b.cfg.Workspace, top
	link := func() error {
		return os.Symlink(filepath.Join(from, "node_modules"), filepath.Join(to, "node_modules"))
	}
	err = link()
	for part := range strings.SplitSeq(filepath.FromSlash(b.cfg.Site.Directory), string(filepath.Separator)) {
		if err != nil || part == "" || part == "." {
			continue
		}
		from, to = filepath.Join(from, part), filepath.Join(to, part)
		if err = os.Mkdir(to, 0o700); err == nil {
			err = link()
		}
	}
	if err == nil {
		p.output = filepath.Join(to, defaultOutput)
		err = buildcache.CopyTree(ctx, p.output, output, true)
	}
	if err == nil {
		err = believeHost(filepath.Join(p.output, "server"))
	}
	if err == nil {
		err = b.cfg.User.Give(top)
	}
	if err != nil {
		return placed{}, errors.Join(err, os.RemoveAll(top))
	}
	return p, nil
}

// allowedDomains is where Astro's build says which hosts a server site may take a request's
// for; its group is the end of the list where that is empty.
var allowedDomains = regexp.MustCompile(`("checkOrigin":\s*(?:true|false),[^{}\[\]]{0,500}"allowedDomains":\s*\[)\s*(\])?`)

// believeHost has a server site take the Host that it is asked for as its own. Astro, for
// which any host may be forged, otherwise calls itself "localhost": forms that are sent
// to it then seem to come from another site, and it does not reach itself by its URL.
// Here nobody but containerboot asks it, by the address at which it listens.
func believeHost(folder string) error {
	return filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() || filepath.Ext(path) != ".mjs" {
			return err
		}
		info, err := entry.Info()
		if err != nil || info.Size() > maxServerCode {
			return err // nothing that Astro's build writes is so large
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		at := allowedDomains.FindSubmatchIndex(text)
		if at == nil {
			return nil
		}
		all := "{}" // a pattern that every host matches
		if at[4] < 0 {
			all += ","
		}
		return os.WriteFile(path, slices.Concat(text[:at[3]], []byte(all), text[at[3]:]), info.Mode().Perm())
	})
}

// ForgetServers removes what servers of an earlier life ran from.
func (b *Builder) ForgetServers() error {
	return os.RemoveAll(filepath.Join(b.cfg.Private, "servers"))
}

// keepUp runs a server in the site's folder for as long as it is wanted.
func (b *Builder) keepUp(ctx context.Context, name string, timeout time.Duration, said Said, how func(host, port string) (args, env []string)) (*daemon.Daemon, error) {
	const phase = bootapi.PhaseReady
	if err := b.furnish(); err != nil {
		return nil, err
	}
	b.RefreshServers()
	what := strings.ToUpper(name[:1]) + name[1:] + " ended"
	d, err := daemon.Start(ctx, daemon.Config{
		Command: func(host, port string) tool.Command {
			args, env := how(host, port)
			b.cfg.Log.Info("starting a server", zap.String("name", name), zap.String("address", net.JoinHostPort(host, port)))
			return tool.Command{
				Name:    name,
				Args:    args,
				Dir:     b.dir,
				User:    b.cfg.User,
				Env:     withEnv(*b.serverEnv.Load(), env...),
				Secrets: b.cfg.Secrets,
				Line: func(line string) {
					b.cfg.Board.Log(phase, line)
					if b.listen != nil {
						b.listen(line)
					}
				},
			}
		},
		Host:         b.serverHost,
		StartTimeout: timeout,
		Ended: func(err error, again time.Duration) {
			failed := b.explain(phase, what, err)
			b.cfg.Log.Error("a server ended", zap.String("name", name), zap.Duration("again", again), zap.Error(failed))
			said.Ended(failed.Error(), again)
		},
		Up: said.Up,
	})
	switch {
	case errors.Is(err, daemon.ErrSilent):
		return nil, fail(phase, err, "%s did not listen at the HOST and PORT of its environment within %v.", strings.ToUpper(name[:1])+name[1:], timeout)
	case errors.Is(err, daemon.ErrEnded):
		return nil, fail(phase, errNoEntry, "%s at once, without an error.", what)
	case err != nil:
		return nil, b.explain(phase, what+" before it answered", err)
	}
	return d, nil
}

// withEnv sets variables in an environment.
func withEnv(env []string, more ...string) []string {
	var all []string
	for _, kv := range env {
		name, _, _ := strings.Cut(kv, "=")
		replaced := false
		for _, m := range more {
			replaced = replaced || strings.HasPrefix(m, name+"=")
		}
		if !replaced {
			all = append(all, kv)
		}
	}
	return append(all, more...)
}

// RefreshServers gives servers that are started from now on, again too, the environment
// that Prepare found last.
func (b *Builder) RefreshServers() {
	env := b.env
	b.serverEnv.Store(&env)
}

// InstallStamp tells one installation of the site's packages from another.
func (b *Builder) InstallStamp() string {
	info, err := os.Stat(b.mark())
	if err != nil {
		return ""
	}
	return info.ModTime().String()
}
