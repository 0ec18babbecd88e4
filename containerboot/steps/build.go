package steps

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"go.uber.org/zap"

	"github.com/webordinary/router/containerboot/bootapi"
	"github.com/webordinary/router/containerboot/buildcache"
	"github.com/webordinary/router/containerboot/toolchain"
)

// Cached returns a build of this content from the cache, or buildcache.ErrMiss. The
// caller must release it.
func (b *Builder) Cached(content string) (*buildcache.Entry, error) {
	return b.dist.Get(b.distKey(content))
}

// LeadBuild waits until no other session of the client builds the same content. The
// caller must call done; waited says that there may be a build in the cache now.
func (b *Builder) LeadBuild(ctx context.Context, content string) (waited bool, done func(), err error) {
	lead, err := b.lead(ctx, b.dist, b.distKey(content), bootapi.PhaseBuilding, "waiting for another session that builds the same")
	if err != nil {
		return false, nil, err
	}
	return lead.Waited, lead.Done, nil
}

// lead is the right to make an entry of a cache; see buildcache.Cache.Lead. In a cache where
// no locks can be made, because its disk is full, nobody waits.
func (b *Builder) lead(ctx context.Context, cache *buildcache.Cache, key string, phase bootapi.Phase, step string) (*buildcache.Lead, error) {
	lead, err := cache.Lead(ctx, key, func() {
		b.cfg.Board.Step(step)
		b.cfg.Board.Log(phase, step)
	})
	if err != nil && ctx.Err() == nil && isDiskFull(err) {
		b.cfg.Log.Warn("not waiting for other sessions", zap.Error(err))
		return new(buildcache.Lead), nil
	}
	if err != nil {
		return nil, b.explain(phase, "Waiting for another session failed", err)
	}
	return lead, nil
}

// Build runs the site's build. Its output lies in the workspace then: see Keep.
func (b *Builder) Build(ctx context.Context) error {
	const phase = bootapi.PhaseBuilding
	start := time.Now()
	b.began = start
	log := &astroLog{}
	reading := *b
	reading.listen = log.read
	command, err := reading.runBuild(ctx)
	if err != nil {
		return b.explain(phase, "The build failed", err)
	}
	b.findOutput(log)
	b.adapter = log.foreign()
	out, err := realBelow(b.cfg.Workspace, filepath.Join(b.dir, b.output))
	if err == nil {
		var info os.FileInfo
		if info, err = os.Stat(out); err == nil && !info.IsDir() {
			err = errors.New("it is no folder")
		}
	}
	if err != nil {
		return b.noOutput(command, log, err)
	}
	b.cfg.Log.Info("site built", zap.Duration("took", time.Since(start)))
	return nil
}

// runBuild runs what the client's configuration says, else the site's script, and returns
// the command.
func (b *Builder) runBuild(ctx context.Context) (command string, err error) {
	const phase = bootapi.PhaseBuilding
	if command = b.cfg.Site.Command; command != "" {
		return command, b.shell(ctx, phase, command)
	}
	script, err := b.buildScript()
	if err != nil {
		return "", err
	}
	if script == "" {
		command = "astro build"
		return command, b.shell(ctx, phase, command)
	}
	manager := b.project.Manager.Name
	if b.project.Manager.Berry && b.project.Lock == "" {
		manager = toolchain.NPM // it runs nothing without a lock file, which must not be left behind
	}
	command = manager + " run " + script
	return command, b.run(ctx, phase, b.dir, command, manager, "run", script)
}

var callsBuild = regexp.MustCompile(`(^|[\s/])astro build\b`)

// buildScript is the site's script that builds it: "build", or of another name the only
// one that has Astro build; "" where it has none and Astro is to be run itself.
func (b *Builder) buildScript() (string, error) {
	const phase = bootapi.PhaseBuilding
	data, err := b.readOwn(filepath.Join(b.dir, "package.json"))
	if err != nil {
		return "", fail(phase, err, "This repository has no package.json in %s.", b.where())
	}
	var p struct {
		Scripts map[string]any `json:"scripts"`
	}
	if err := json.Unmarshal(data, &p); err != nil {
		return "", fail(phase, err, "The package.json in %s is not valid JSON.", b.where())
	}
	if _, ok := p.Scripts["build"]; ok {
		return "build", nil
	}
	var building []string
	for name, script := range p.Scripts {
		if text, _ := script.(string); callsBuild.MatchString(text) {
			building = append(building, name)
		}
	}
	version, _ := b.project.InstalledAstro()
	switch {
	case len(building) == 1:
		return building[0], nil
	case len(building) == 0 && version != "":
		return "", nil
	}
	return "", fail(phase, errNoScript, "The package.json in %s has no \"build\" script.", b.where())
}

// errNoScript tells the operator what to do.
var errNoScript = errors.New("build.command must say how the site is built")

// Keep copies a build's output out of the workspace, where the next build will write,
// and returns the copy, which never changes. content names what it was built from; it
// is empty where that changed meanwhile, and the build is this session's only then, as it
// is where the disk of the client's cache is full. replace makes it win over an earlier build
// of the same content. The caller must release it.
func (b *Builder) Keep(ctx context.Context, content string, replace bool) (*buildcache.Entry, error) {
	const phase, what = bootapi.PhaseBuilding, "Keeping the build failed"
	cache, key := b.own, keyOf("own")
	if content != "" {
		cache, key = b.dist, b.distKey(content)
	}
	moved, err := b.MoveOutput()
	if err != nil {
		return nil, b.explain(phase, what, err)
	}
	dir, below := b.outputDir(), ""
	if moved {
		defer func() {
			if back := b.ReturnOutput(); back != nil {
				b.cfg.Log.Warn("putting the output folder back failed", zap.Error(back))
			}
		}()
	} else {
		if below, err = filepath.EvalSymlinks(b.cfg.Workspace); err == nil {
			dir, err = realBelow(below, filepath.Join(b.dir, b.output))
		}
		if err != nil {
			return nil, b.explain(phase, what, err)
		}
	}
	b.cfg.Board.Enter(phase, "keeping the build")
	if err := b.checkOutput(dir); err != nil {
		return nil, err
	}
	entry, err := cache.Put(ctx, key, dir, buildcache.PutOptions{Replace: replace || content == "", Below: below})
	if err != nil && cache != b.own && isDiskFull(err) {
		b.cfg.Log.Warn("keeping the build for the client's sessions failed", zap.Error(err))
		cache = b.own // the session's folder may be another volume
		entry, err = cache.Put(ctx, keyOf("own"), dir, buildcache.PutOptions{Replace: true, Below: below})
	}
	if err != nil {
		return nil, b.explain(phase, what, err)
	}
	// A cache that is a little too large is no reason to fail.
	if err := cache.Sweep(); err != nil {
		b.cfg.Log.Warn("sweeping the cache failed", zap.Error(err))
	}
	return entry, nil
}
