package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

const (
	// clockSkew is how far the clocks of this machine and of its file system may differ.
	clockSkew = time.Minute
	// staleAfter is the age at which the routing table of an edge is out of date.
	staleAfter = 30 * time.Second
)

// earliest is a time that has passed: a clock before it is not set.
var earliest = time.Date(2025, time.January, 1, 0, 0, 0, 0, time.UTC)

// examineData looks at the data folder and, with a file in it, at the clock.
func (c *cli) examineData(context.Context) []Finding {
	const check = "data folder"
	dir := c.app.DataDir
	missing := false
	for {
		info, err := os.Stat(dir)
		if err == nil && !info.IsDir() {
			return []Finding{failing(check, dir+" is no folder", "set `data` to another one")}
		}
		if err == nil {
			break
		}
		if !errors.Is(err, os.ErrNotExist) {
			return []Finding{failing(check, err.Error(), "let the edge's user read and write it")}
		}
		missing, dir = true, filepath.Dir(dir)
	}
	file, err := os.CreateTemp(dir, ".doctor-*")
	if err != nil {
		return []Finding{failing(check, err.Error(), "let the edge's user write it, or set `data` to another one")}
	}
	defer os.Remove(file.Name())
	now := time.Now()
	_, err = file.WriteString("written by doctor\n")
	info, statErr := file.Stat()
	if err = errors.Join(err, statErr, file.Close()); err != nil {
		return []Finding{failing(check, err.Error(), "make room on the disk")}
	}
	detail := c.app.DataDir + " can be written"
	if missing {
		detail = c.app.DataDir + " does not exist yet and can be made"
	}
	return []Finding{fine(check, detail), examineClock(now, info.ModTime())}
}

// examineClock compares the clock with that of the data folder's file system.
func examineClock(now, file time.Time) Finding {
	const check, remedy = "clock", "set the clock, and keep it set by NTP"
	switch off := now.Sub(file).Abs(); {
	case now.Before(earliest):
		return failing(check, "it is "+now.UTC().Format(time.RFC3339), remedy)
	case off > clockSkew:
		return failing(check, fmt.Sprintf("it differs by %s from that of the data folder's file system", off.Round(time.Second)), remedy)
	default:
		return fine(check, now.UTC().Format(time.RFC3339))
	}
}

// examineStore has the config store examine itself, or reads a client of it.
func (c *cli) examineStore(ctx context.Context) []Finding {
	if e, ok := c.app.configStore.(Examiner); ok {
		return e.Examine(ctx, c.app.DataDir)
	}
	return []Finding{readable("config store", tryRead(c.app.DataDir, c.app.configStore.OpenConfigStore, firstClient(ctx)))}
}

// examineRegistry has the session registry examine itself, or reads a session of it.
func (c *cli) examineRegistry(ctx context.Context) []Finding {
	if e, ok := c.app.registry.(Examiner); ok {
		return e.Examine(ctx, c.app.DataDir)
	}
	return []Finding{readable("session registry", tryRead(c.app.DataDir, c.app.registry.OpenRegistry, firstSession(ctx)))}
}

func readable(check string, err error) Finding {
	if err != nil {
		return failing(check, err.Error(), "see to what the error says, and try again")
	}
	return fine(check, "can be read")
}

// examineRunner has the runner examine itself, if it can.
func (c *cli) examineRunner(ctx context.Context) []Finding {
	if e, ok := c.app.runner.(Examiner); ok {
		return e.Examine(ctx, c.app.DataDir)
	}
	return nil
}

// examineEdge asks the edge of this configuration, if one runs, how its routing table is.
func (c *cli) examineEdge(ctx context.Context) []Finding {
	const check = "edge"
	status, err := c.admin.status(ctx)
	switch {
	case errors.Is(err, errNotListening):
		return []Finding{fine(check, "none runs yet at "+c.admin.address)}
	case err != nil:
		return []Finding{failing(check, err.Error(), "stop what answers there, or set `admin` to another address")}
	}
	var table tableInfo
	if err := c.admin.call(ctx, http.MethodGet, "routing-table", nil, &table); err != nil {
		return []Finding{failing(check, err.Error(), "see its log")}
	}
	const remedy = "see to the config store above, as the edge's user and machine see it"
	switch {
	case !table.Loaded:
		return []Finding{failing(check, "it runs at "+c.admin.address+" and has no routing table: "+table.LastError, remedy)}
	case table.AgeSeconds == nil || *table.AgeSeconds > staleAfter.Seconds():
		return []Finding{failing(check, "its routing table is out of date: "+table.LastError, remedy)}
	}
	return []Finding{fine(check, fmt.Sprintf("it runs at %s and serves %d %s", c.admin.address, status.Clients, plural(status.Clients, "client")))}
}
