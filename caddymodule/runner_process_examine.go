package caddymodule

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"github.com/webordinary/router/runner/process"
)

// toolTimeout bounds a tool's answer to --version.
const toolTimeout = 10 * time.Second

// neededTools are what containerboot runs, with the oldest version that does.
var neededTools = []struct {
	name         string
	major, minor int
	remedy       string
}{
	{"git", 2, 31, "install git 2.31 or newer and put it on the edge's PATH"},
	{"node", 20, 3, "install Node 20.3 or newer and put it on the edge's PATH"},
	{"npm", 8, 0, "install npm, which comes with Node, and put it on the edge's PATH"},
}

// Examine implements Examiner: it looks for containerboot and for what that runs.
func (r *ProcessRunner) Examine(ctx context.Context, _ string) []Finding {
	findings := []Finding{examineContainerboot(ctx, r.Binary)}
	for _, tool := range neededTools {
		path, err := exec.LookPath(tool.name)
		if err != nil {
			findings = append(findings, failing(tool.name, "is not on PATH", tool.remedy))
			continue
		}
		version, err := toolVersion(ctx, path)
		switch {
		case err != nil:
			findings = append(findings, failing(tool.name, err.Error(), tool.remedy))
		case olderThan(version, tool.major, tool.minor):
			findings = append(findings, failing(tool.name, version+" at "+path+" is too old", tool.remedy))
		default:
			findings = append(findings, fine(tool.name, version+" at "+path))
		}
	}
	return findings
}

func examineContainerboot(ctx context.Context, binary string) Finding {
	const check = "containerboot"
	path, err := process.FindBinary(binary)
	if err != nil {
		return Finding{Check: check, Detail: err.Error()} // says what to do
	}
	version, err := toolVersion(ctx, path)
	if err != nil {
		return failing(check, err.Error(), "build it anew with `make build`, or set `binary`")
	}
	return fine(check, version+" at "+path)
}

// toolVersion returns what a tool says of its version.
func toolVersion(ctx context.Context, path string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, toolTimeout)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, "--version").Output()
	if err != nil {
		return "", fmt.Errorf("running %s --version: %w", path, err)
	}
	line, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	return line, nil
}

// olderThan reports whether a version, the first number in a text, is too old. What
// cannot be told is not.
func olderThan(text string, major, minor int) bool {
	at := strings.IndexAny(text, "0123456789")
	if at < 0 {
		return false
	}
	var ma, mi int
	if n, _ := fmt.Sscanf(text[at:], "%d.%d", &ma, &mi); n < 2 {
		return false
	}
	return ma < major || ma == major && mi < minor
}

// Interface guard
var _ Examiner = (*ProcessRunner)(nil)
