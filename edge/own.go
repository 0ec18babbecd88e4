package edge

import "net/url"

// EventsPath is the path of a session's event stream.
func EventsPath(id string) string { return ownPath(id, "events") }

// WakePath is the path that takes the POST which wakes a session, past its back-off.
func WakePath(id string) string { return ownPath(id, "wake") }

// SleepPath is the path that takes the POST which puts a session to sleep.
func SleepPath(id string) string { return ownPath(id, "sleep") }

func ownPath(id, what string) string {
	return ownPrefix + "sessions/" + url.PathEscape(id) + "/" + what
}
