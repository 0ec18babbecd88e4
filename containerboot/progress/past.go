package progress

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

const (
	// maxPast bounds the file of earlier runs, in bytes: it is written by this package
	// alone, but where the client's code has no user of its own that could write to it.
	maxPast = 64 << 10
	// maxMillis is more than any phase of a boot takes.
	maxMillis = int64(time.Hour / time.Millisecond)
	// maxRuns is usual for each of the combinations of three steps that may be reused.
	maxRuns = 8 * usual
)

// past is the file of earlier runs.
type past struct {
	// Site names what was built: the runs of another one say nothing.
	Site string `json:"site"`
	Runs []Run  `json:"runs"` // oldest first
}

// ReadRuns reads the earlier runs of a site, oldest first. What cannot be read, or is of
// another site, is as good as none.
func ReadRuns(path, site string) []Run {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxPast))
	var p past
	if err != nil || json.Unmarshal(data, &p) != nil || p.Site != site {
		return nil
	}
	return slices.DeleteFunc(p.Runs, func(run Run) bool {
		for _, phase := range expected {
			if ms := run.Millis[phase]; ms < 0 || ms > maxMillis {
				return true
			}
		}
		return false
	})
}

// AddRun adds a run to those of a site, and forgets those that no longer count. Of two
// containers that do so at once one may be forgotten, which harms nobody.
func AddRun(path, site string, run Run) error {
	runs := append(ReadRuns(path, site), run)
	var kept []Run
	for _, r := range slices.Backward(runs) {
		alike := 0
		for _, k := range kept {
			if slices.Equal(k.Reused, r.Reused) {
				alike++
			}
		}
		if alike < usual && len(kept) < maxRuns {
			kept = append(kept, r)
		}
	}
	slices.Reverse(kept)
	data, err := json.Marshal(past{Site: site, Runs: kept})
	if err != nil {
		return fmt.Errorf("encoding the times of a start: %w", err)
	}
	return writeWhole(path, data)
}

// writeWhole replaces a file, so that whoever reads it finds the old one or the new one.
func writeWhole(path string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("keeping the times of a start: %w", err)
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".times-")
	if err != nil {
		return fmt.Errorf("keeping the times of a start: %w", err)
	}
	_, err = f.Write(data)
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return fmt.Errorf("keeping the times of a start: %w", err)
	}
	return nil
}
