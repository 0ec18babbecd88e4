package steps

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/webordinary/router/containerboot/bootapi"
	"github.com/webordinary/router/containerboot/move"
)

// homePage is the file that answers for the root of a site.
const homePage = "index.html"

// errNoHomePage tells the operator of a site that has none on purpose what to do.
var errNoHomePage = errors.New("where a site has no home page build.healthPath must name another page")

// outputDir is where the build's output is while it is out of the workspace.
func (b *Builder) outputDir() string { return filepath.Join(b.cfg.Private, "output") }

// MoveOutput takes the output folder, if there is one, out of the workspace, where an
// editing agent's own build could empty it at any moment. ReturnOutput or DropOutput
// must follow. It reports false, with nothing done, where the folder cannot be moved: it
// is the site's own, or is reached by a link, or lies on a volume of its own.
func (b *Builder) MoveOutput() (bool, error) {
	from := filepath.Join(b.dir, b.output)
	resolved, err := realBelow(b.cfg.Workspace, from)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errOutside) {
		return false, nil // the build says what is wrong with it
	}
	if err == nil && (b.linked(resolved) || resolved == b.resolvedDir()) {
		return false, nil
	}
	if err == nil {
		err = os.RemoveAll(b.outputDir())
	}
	if err == nil {
		err = b.move(move.Out, b.outputDir(), from)
	}
	if errors.Is(err, syscall.EXDEV) || errors.Is(err, syscall.EBUSY) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("moving the output folder: %w", err)
	}
	return true, nil
}

// ReturnOutput puts back what MoveOutput took, also where a crash came in between. If
// there is an output folder again by now that one stays.
func (b *Builder) ReturnOutput() error {
	if _, err := os.Lstat(b.outputDir()); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	err := b.move(move.In, b.outputDir(), filepath.Join(b.dir, b.output))
	for _, taken := range []error{fs.ErrExist, fs.ErrNotExist, syscall.ENOTDIR} {
		if errors.Is(err, taken) {
			return b.DropOutput()
		}
	}
	if err != nil {
		return fmt.Errorf("putting the output folder back: %w", err)
	}
	return nil
}

// move renames between a path outside of the workspace and one in it.
func (b *Builder) move(by func(work *os.Root, outside, inside string) error, outside, inside string) error {
	inside, err := filepath.Rel(b.cfg.Workspace, inside)
	if err != nil {
		return err
	}
	work, err := os.OpenRoot(b.cfg.Workspace)
	if err != nil {
		return err
	}
	defer work.Close()
	return by(work, outside, inside)
}

// DropOutput removes what MoveOutput took.
func (b *Builder) DropOutput() error {
	if err := os.RemoveAll(b.outputDir()); err != nil {
		return fmt.Errorf("removing an output folder: %w", err)
	}
	return nil
}

// linked reports whether the resolved output folder is another one than it seems.
func (b *Builder) linked(resolved string) bool {
	root, err := filepath.EvalSymlinks(b.cfg.Workspace)
	rel, relErr := filepath.Rel(b.cfg.Workspace, filepath.Join(b.dir, b.output))
	return err != nil || relErr != nil || resolved != filepath.Join(root, rel)
}

// resolvedDir is the site's folder; "" if there is none.
func (b *Builder) resolvedDir() string {
	dir, err := filepath.EvalSymlinks(b.dir)
	if err != nil {
		return ""
	}
	return dir
}

// checkOutput makes sure that there is something to serve, with a page to begin with unless
// the site's configuration names another one.
func (b *Builder) checkOutput(dir string) error {
	const phase = bootapi.PhaseBuilding
	if err := b.checkSize(dir); err != nil {
		return err
	}
	if b.IsServer(dir) {
		switch code := readServer(dir); {
		case code.foreign():
			return fail(phase, errForeign, foreignSite, code.adapter)
		case code.middleware:
			return fail(phase, errMiddleware, "This site's server is made to be a part of another one (middleware), and cannot be run by itself.")
		}
		return nil
	}
	if b.cfg.Site.HealthPath != "" || homeIn(b.Files(dir)) {
		return nil
	}
	if b.adapter != "" {
		return fail(phase, errForeign, foreignSite, b.adapter)
	}
	return fail(phase, errNoHomePage, "The build succeeded but left no %s in the folder %q%s%s.", homePage, filepath.ToSlash(b.output), contentOf(b.Files(dir)), b.elsewhere())
}
