package steps

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/webordinary/router/containerboot/bootapi"
)

// astroSays are what Astro says of a build before it begins: the folder that it writes to,
// and the adapter that it builds for.
var (
	saysFolder  = regexp.MustCompile(`\[build\] directory: (/.+?)/*$`)
	saysAdapter = regexp.MustCompile(`\[build\] adapter: (\S+)$`)
)

// astroLog is what a build's output says of it. A site may be built in several parts.
type astroLog struct {
	folders, adapters []string
	last              []string // lines, whatever they say
}

func (l *astroLog) read(line string) {
	l.last = append(lastOf(l.last, detailLines-1), line)
	if m := saysFolder.FindStringSubmatch(line); m != nil {
		l.folders = append(l.folders, m[1])
	}
	if m := saysAdapter.FindStringSubmatch(line); m != nil {
		l.adapters = append(l.adapters, m[1])
	}
}

// foreign is the adapter of another host that the site is built for; "" for none.
func (l *astroLog) foreign() string {
	i := slices.IndexFunc(l.adapters, foreignHosts.MatchString)
	if i < 0 {
		return ""
	}
	return l.adapters[i]
}

// findOutput takes for the output folder what Astro said it is (outDir of its
// configuration), where the client's configuration names none. Of several it is the
// usual one, or else the last.
func (b *Builder) findOutput(l *astroLog) {
	if b.cfg.Site.Output != "" || len(l.folders) == 0 {
		return
	}
	var found []string
	for _, folder := range l.folders {
		if output, ok := b.outputAt(folder); ok {
			found = append(found, output)
		}
	}
	if len(found) > 0 && !slices.Contains(found, defaultOutput) {
		b.setOutput(found[len(found)-1])
	} else {
		b.setOutput(defaultOutput)
	}
}

// outputAt is a folder as the site's has it. Not ok: it is outside of the workspace, or
// holds the site itself.
func (b *Builder) outputAt(folder string) (output string, ok bool) {
	target, err := realBelow(b.cfg.Workspace, folder)
	if err != nil {
		return "", false
	}
	output, err = filepath.Rel(b.resolvedDir(), target)
	if err != nil || strings.Trim(output, "./") == "" {
		return "", false
	}
	return output, true
}

// foundFile, in the session's folder, holds the output folder that was found: what is in it is
// not to be saved after the next wake either.
const foundFile = "output-folder"

func (b *Builder) setOutput(output string) {
	if output == b.output {
		return
	}
	b.output = output
	// Without the file the folder is found again by the next build.
	_ = writeWhole(filepath.Join(b.cfg.Private, foundFile), []byte(filepath.ToSlash(output)))
}

// rememberOutput reads that file.
func (b *Builder) rememberOutput() {
	data, err := os.ReadFile(filepath.Join(b.cfg.Private, foundFile))
	if err != nil || b.cfg.Site.Output != "" {
		return
	}
	output := filepath.FromSlash(string(data))
	below, err := filepath.Rel(b.cfg.Workspace, filepath.Join(b.dir, output))
	if err == nil && filepath.IsLocal(below) && below != "." {
		b.output = output
	}
}

// errNoOutput tells the operator what to do.
var errNoOutput = errors.New("build.output must name the folder that the build writes to")

// said names a command that succeeded, and has the last lines that it printed.
func said(command string, lines []string) error {
	if len(lines) == 0 {
		return fmt.Errorf("the command %q printed nothing", command)
	}
	return fmt.Errorf("the command %q printed, at the end:\n%s", command, strings.Join(lines, "\n"))
}

// noOutput is the failure of a build that left no output folder.
func (b *Builder) noOutput(command string, l *astroLog, err error) error {
	const phase = bootapi.PhaseBuilding
	if adapter := l.foreign(); adapter != "" {
		return fail(phase, errForeign, foreignSite, adapter)
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = errors.Join(err, errNoOutput)
	}
	// What is no build may succeed, too: "astro bild" prints the help.
	err = errors.Join(err, said(command, l.last))
	return fail(phase, err, "The build succeeded but left no folder %q%s.", filepath.ToSlash(b.output), b.elsewhere())
}
