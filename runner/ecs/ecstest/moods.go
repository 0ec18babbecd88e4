//go:build unix

package ecstest

import (
	"encoding/json"
	"fmt"
	"time"
)

// Moods are how an ECS behaves. The zero value is the best of moods: everything at once.
type Moods struct {
	// Provision, Pull and Deprovision are how long a task is PROVISIONING, PENDING
	// and DEPROVISIONING.
	Provision   Duration `json:"provision,omitzero"`
	Pull        Duration `json:"pull,omitzero"`
	Deprovision Duration `json:"deprovision,omitzero"`

	// Slow is how long each answer takes.
	Slow Duration `json:"slow,omitzero"`

	// Full is the reason of the failure that RunTask answers once Room tasks run;
	// "" for never.
	Full string `json:"full,omitempty"`
	Room int    `json:"room,omitempty"`

	// Throttle refuses each call that is the Nth of its action. 0: none, 1: all.
	Throttle int `json:"throttle,omitempty"`

	// Lag is how old at most the state is that DescribeTasks and ListTasks tell, each
	// time another one: what was started since then they do not know.
	Lag Duration `json:"lag,omitzero"`

	// LoseReplies cuts the connection of each Nth RunTask and StopTask after acting.
	LoseReplies int `json:"loseReplies,omitempty"`

	// ReuseAddresses gives a new task the address that was freed last, and not that
	// which was free for longest.
	ReuseAddresses bool `json:"reuseAddresses,omitempty"`

	// Broken stops new tasks for this reason before their container starts.
	Broken string `json:"broken,omitempty"`

	// OneFilter refuses to list by startedBy and a desired status together, as the
	// reference says and ECS does not do.
	OneFilter bool `json:"oneFilter,omitempty"`

	// Errors are what the named actions answer.
	Errors map[string]APIError `json:"errors,omitempty"`
}

// Worst returns all bad moods which pass, at once, with times that suit a test.
func Worst() Moods {
	return Moods{
		Provision: Duration(100 * time.Millisecond), Pull: Duration(100 * time.Millisecond), Deprovision: Duration(50 * time.Millisecond),
		Slow: Duration(10 * time.Millisecond), Throttle: 7, Lag: Duration(300 * time.Millisecond), LoseReplies: 3, ReuseAddresses: true,
	}
}

// APIError is an error of the API.
type APIError struct {
	// Status is the HTTP status. Default: 400.
	Status int `json:"status,omitempty"`
	// Code is the exception's name.
	Code    string `json:"code"`
	Message string `json:"message"`

	resourceIDs []string
}

func (e *APIError) Error() string { return e.Code + ": " + e.Message }

func refuse(code, format string, args ...any) *APIError {
	return &APIError{Code: code, Message: fmt.Sprintf(format, args...)}
}

func invalid(format string, args ...any) *APIError {
	return refuse("InvalidParameterException", format, args...)
}

// Duration is a time.Duration that is "1.5s" in JSON.
type Duration time.Duration

// MarshalJSON implements json.Marshaler.
func (d Duration) MarshalJSON() ([]byte, error) { return json.Marshal(time.Duration(d).String()) }

// UnmarshalJSON implements json.Unmarshaler.
func (d *Duration) UnmarshalJSON(data []byte) error {
	var text string
	if err := json.Unmarshal(data, &text); err != nil {
		return err
	}
	parsed, err := time.ParseDuration(text)
	*d = Duration(parsed)
	return err
}
