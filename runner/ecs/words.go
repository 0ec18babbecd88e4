package ecs

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
)

// notYet says what a task is waiting for. It is shown to whoever waits for the site.
var notYet = map[string]string{
	"PROVISIONING": "waiting for a machine",
	"PENDING":      "fetching the container image",
	"ACTIVATING":   "starting the container",
}

// exits are the exit statuses of containerboot that tell something.
var exits = map[int32]string{
	1:   "its server failed",
	2:   "its environment is not valid: see the container's log",
	3:   "it could not listen on its port",
	4:   "its work could not be saved",
	5:   "no edge claimed it",
	137: "it was killed: it did not end in time (see stopTimeout), or ran out of memory",
}

// hints say what to do, by what ECS says.
var hints = []struct{ part, hint string }{
	{"OutOfMemory", "give the client a larger containerSize, or the size more memory"},
	{"CannotPullContainerError", "check the image's name, the execution role, and the way to the image registry (NAT, VPC endpoints or assign_public_ip)"},
	{"ResourceInitializationError", "check the execution role, the log group and secrets of the task definition, and the way to them (NAT, VPC endpoints or assign_public_ip)"},
	{"CannotStartContainerError", "check the task definition"},
	{"CannotCreateVolumeError", "check the volumes of the task definition"},
	{"Capacity is unavailable", "try subnets in other availability zones, or another capacity_provider"},
	{"RESOURCE:ENI", "the subnets have no free addresses, or the machine no free network interface"},
	{"InsufficientFreeAddresses", "the subnets have no free addresses"},
	{"SpotInterruption", "Fargate took the capacity back: do not use FARGATE_SPOT where that matters"},
}

// whyEnded says in words why a task ends or has ended.
func whyEnded(t types.Task) string {
	var parts []string
	reason := tidy(aws.ToString(t.StoppedReason))
	if reason == "" {
		reason = strings.TrimSpace("ended " + tidy(string(t.StopCode)))
	}
	parts = append(parts, reason)
	for _, c := range t.Containers {
		if text := tidy(aws.ToString(c.Reason)); text != "" && !strings.Contains(reason, text) {
			parts = append(parts, text)
		}
		if c.ExitCode == nil || *c.ExitCode == 0 {
			continue
		}
		text := fmt.Sprintf("exit status %d", *c.ExitCode)
		if meaning := exits[*c.ExitCode]; meaning != "" {
			text += ": " + meaning
		}
		parts = append(parts, text)
	}
	said := strings.Join(parts, "; ")
	for _, h := range hints {
		if strings.Contains(said, h.part) || strings.Contains(string(t.StopCode), h.part) {
			return said + " (" + h.hint + ")"
		}
	}
	return said
}

// tidy makes a text of ECS one line without control characters.
func tidy(text string) string {
	return strings.Join(strings.FieldsFunc(text, func(c rune) bool { return unicode.IsSpace(c) || unicode.IsControl(c) }), " ")
}

// clip shortens a text to so many bytes, not within a character.
func clip(text string, most int) string {
	if len(text) <= most {
		return text
	}
	for most > 0 && !utf8.RuneStart(text[most]) {
		most--
	}
	return text[:most]
}
