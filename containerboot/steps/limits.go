package steps

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
)

const noMemory = "There was not enough memory"

// memoryFiles are where the kernel says how much memory a container may use.
var memoryFiles = []string{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"}

// memoryLimit is the container's limit of memory, in MB; 0 if it has none.
func memoryLimit() uint64 {
	const unlimited = 1 << 50 // what older kernels say for none is near the largest number
	for _, name := range memoryFiles {
		data, err := os.ReadFile(name)
		if err != nil {
			continue
		}
		limit, err := strconv.ParseUint(strings.TrimSpace(string(data)), 10, 64)
		if err == nil && limit < unlimited {
			return limit >> 20
		}
	}
	return 0
}

// limitText ends a sentence with the container's limit of memory, if it has one.
func limitText() string {
	if limit := memoryLimit(); limit > 0 {
		return fmt.Sprintf(": the limit is %d MB.", limit)
	}
	return "."
}

var (
	heapOption = regexp.MustCompile(`--max[-_]old[-_]space[-_]size[= ](\d+)`)
	// heapUsed is V8's line about its last attempt to make room, with what was left in use.
	heapUsed = regexp.MustCompile(`(?:Mark-Compact|Mark-sweep|Scavenge)[^>]*-> (\d+)\.\d+ \(`)
)

// heapText says that Node's own limit was reached, which is lower than the container's
// as a rule: who knows both can tell which of them to raise.
func heapText(o output, _ int, _ []string) string {
	text := noMemory
	switch option, used := heapOption.FindStringSubmatch(o.variable("NODE_OPTIONS")), o.lastOf(heapUsed); {
	case option != nil:
		text += fmt.Sprintf(": Node may use %s MB (NODE_OPTIONS)", option[1])
	case used != "":
		text += fmt.Sprintf(": Node's own limit was reached at %s MB", used)
	default:
		return text + limitText()
	}
	if limit := memoryLimit(); limit > 0 {
		text += fmt.Sprintf(", and the container %d MB", limit)
	}
	return text + "."
}

// lastOf returns the first group of the last line that matches.
func (o output) lastOf(r *regexp.Regexp) string {
	last := ""
	for _, line := range o.lines {
		if m := r.FindStringSubmatch(line); m != nil {
			last = m[1]
		}
	}
	return last
}
