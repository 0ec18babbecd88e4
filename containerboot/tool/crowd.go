package tool

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// ErrCrowded is the cause of a program's end that started so many processes that there
// was hardly room for any other in the container.
var ErrCrowded = errors.New("there were too many processes")

const (
	// crowdEvery is how often it is looked at. A thread that Go cannot start for want of
	// room is tried again for 200 ms; then this process would die.
	crowdEvery = 50 * time.Millisecond
	// crowdReserve is the share of the container's processes and threads which is kept
	// for this process and git: one in so many.
	crowdReserve = 8
)

// crowdFolders are where the kernel says how many there are and may be.
var crowdFolders = []string{"/sys/fs/cgroup", "/sys/fs/cgroup/pids"}

// watchCrowd ends a program, and all else of its user's, when it leaves too little room.
// The kernel's own limit for a user's processes would count those of all containers on
// the machine as one user's.
func watchCrowd(ctx context.Context, c Command, end context.CancelCauseFunc) {
	folder, limit := crowdLimit()
	if c.User == nil || limit == 0 {
		return
	}
	go func() {
		tick := time.NewTicker(crowdEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if now, err := readNumber(folder, "pids.current"); err == nil && now > limit {
				end(ErrCrowded)
				c.User.KillAll()
				return
			}
		}
	}()
}

// crowdLimit is how many there may be before the reserve; 0 for no limit.
func crowdLimit() (folder string, limit int) {
	for _, folder := range crowdFolders {
		if most, err := readNumber(folder, "pids.max"); err == nil { // else "max", or no such file
			return folder, most - most/crowdReserve
		}
	}
	return "", 0
}

func readNumber(folder, name string) (int, error) {
	data, err := os.ReadFile(filepath.Join(folder, name))
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(data)))
}
