package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/webordinary/router/configstore"
)

// inputFault is one fault of a configuration in a file.
type inputFault struct {
	// Config counts the configurations of the file from 1, Line its lines.
	Config int `json:"config"`
	Line   int `json:"line"`
	// ClientID is empty where none could be read.
	ClientID string `json:"clientId,omitempty"`
	configstore.Fault
}

// String is "config 3 (line 17), amelia: settings.idleTimeoutMinutes: must be …".
func (f inputFault) String() string {
	text := configstore.Place{Index: f.Config, Line: f.Line}.String()
	if f.ClientID != "" {
		text += ", " + f.ClientID
	}
	return text + ": " + f.Fault.String()
}

// inputError are all faults of a file.
type inputError struct {
	faults []inputFault
	valid  int // configurations without one
}

// Error has a line for each fault.
func (e *inputError) Error() string {
	var b strings.Builder
	if len(e.faults) > 1 {
		fmt.Fprintf(&b, "%d faults, nothing was written\n", len(e.faults))
	}
	for i, f := range e.faults {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(f.String())
	}
	return b.String()
}

// add notes what is wrong with a configuration: each fault of a ValidationError.
func (e *inputError) add(at configstore.Place, id string, err error) {
	if !configstore.ValidClientID(id) {
		id = "" // its own fault says what it is
	}
	invalid, ok := errors.AsType[*configstore.ValidationError](err)
	if !ok {
		invalid = &configstore.ValidationError{Faults: []configstore.Fault{{Message: err.Error()}}}
	}
	for _, f := range invalid.Faults {
		e.faults = append(e.faults, inputFault{Config: at.Index, Line: at.Line, ClientID: id, Fault: f})
	}
}

// readInput runs read on a file, or on the standard input for "-".
func readInput[T any](ctx context.Context, c *cli, file string, read func(io.Reader) (T, error)) (T, error) {
	return await(ctx, func() (T, error) {
		if file == "-" {
			return read(c.cmd.InOrStdin())
		}
		f, err := os.Open(file)
		if err != nil {
			var none T
			return none, fmt.Errorf("reading clients: %w", err)
		}
		defer f.Close()
		if info, err := f.Stat(); err == nil && info.IsDir() {
			var none T
			return none, fmt.Errorf("reading clients: %s is a directory: name a file", file)
		}
		return read(f)
	})
}

// await runs fn and returns what it does, or errInterrupted once ctx has ended: reading
// from a terminal or a pipe ends with neither.
func await[T any](ctx context.Context, fn func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		value, err := fn()
		done <- result{value, err}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		var none T
		return none, errInterrupted
	}
}

// errInterrupted: Ctrl-C came before anything was written.
var errInterrupted = errors.New("interrupted: nothing was written")

// readClients reads and checks every configuration of a file. It reports all faults of
// all of them in one error.
func (c *cli) readClients(ctx context.Context, file string) ([]configstore.Client, error) {
	p := c.progress("configurations read", 0)
	defer p.end()
	return readInput(ctx, c, file, func(in io.Reader) ([]configstore.Client, error) {
		return decodeClients(in, c.app.rules(), p.at)
	})
}

// decodeClients decodes, normalises and validates configurations. progress is told how
// many were read so far.
func decodeClients(in io.Reader, rules configstore.Rules, progress func(n int)) ([]configstore.Client, error) {
	var (
		clients []configstore.Client
		invalid inputError
		at      = make(map[string]configstore.Place) // id → where it stands
		claimed = make(map[string]string)            // host → client
	)
	for place, decoded := range configstore.DecodeClients(in) {
		progress(place.Index)
		client, err := decoded.Prepare(rules)
		if err != nil {
			invalid.add(place, decoded.Client.ClientID, err)
			continue
		}
		before := len(invalid.faults)
		if first, ok := at[client.ClientID]; ok {
			invalid.add(place, client.ClientID, fmt.Errorf("clientId: %q stands already at %s", client.ClientID, first))
			continue
		}
		at[client.ClientID] = place
		hosts, err := client.EditHosts()
		if err != nil {
			invalid.add(place, client.ClientID, err)
		}
		for _, h := range hosts {
			if other, ok := claimed[h]; ok {
				invalid.add(place, client.ClientID, fmt.Errorf("domains: host %q is claimed by %q too", h, other))
			}
			claimed[h] = client.ClientID
		}
		if len(invalid.faults) == before {
			clients = append(clients, client)
		}
	}
	if len(invalid.faults) > 0 {
		invalid.valid = len(clients)
		return nil, &invalid
	}
	if len(clients) == 0 {
		return nil, errors.New("there is no configuration in it")
	}
	return clients, nil
}
