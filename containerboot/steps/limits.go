package steps

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
)

const (
	noMemory   = "There was not enough memory"
	noRegistry = "The package registry could not be reached"
)

var (
	outOfMemory = regexp.MustCompile(`(?i)heap out of memory|^Killed$|\bENOMEM\b|^npm \S+ signal SIGKILL$`)
	// network matches messages of a connection that failed.
	network = regexp.MustCompile(`(?i)fetch failed|\bENOTFOUND\b|\bEAI_AGAIN\b|\bE(CONN|HOST|NET)(REFUSED|RESET|UNREACH)\b|\bETIMEDOUT\b|Connect ?Timeout|^FetchError|Could not resolve host`)
	// hosts match the host of such a connection, with its port where that is said.
	hosts = []*regexp.Regexp{
		regexp.MustCompile(`getaddrinfo (?:ENOTFOUND|EAI_AGAIN) ([^\s",]+)`),
		regexp.MustCompile(`attempted address(?:es)?: ([^\s,)]+)`),
		regexp.MustCompile(`Could not resolve host: ([^\s"']+)`),
		regexp.MustCompile(`request to https?://([^/\s]+)\S* failed`),
		regexp.MustCompile(`\bGET https?://([^/\s]+)`),
		regexp.MustCompile(`"https?://([^/\s"]+)[^"\s]*: `),
		regexp.MustCompile(`connect E[A-Z]+ ([^\s",]+)`),
	}
)

// silentHost is the host that a tool's output says did not answer, or "".
func silentHost(lines []string) string {
	for _, pattern := range hosts {
		for _, line := range lines {
			if m := pattern.FindStringSubmatch(line); m != nil {
				return m[1]
			}
		}
	}
	return ""
}

// silent ends a sentence with that host, if it is known.
func silent(lines []string) string {
	if host := silentHost(lines); host != "" {
		return fmt.Sprintf(": %s does not answer.", host)
	}
	return "."
}

// memoryFiles are where the kernel says how much memory a container may use.
var memoryFiles = []string{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"}

// limitText ends a sentence with the container's limit of memory, if it has one.
func limitText() string {
	const unlimited = 1 << 50 // what older kernels say for none is near the largest number
	for _, name := range memoryFiles {
		data, err := os.ReadFile(name)
		if err != nil {
			continue
		}
		limit, err := strconv.ParseUint(strings.TrimSpace(string(data)), 10, 64)
		if err == nil && limit < unlimited {
			return fmt.Sprintf(": the limit is %d MB.", limit>>20)
		}
	}
	return "."
}
