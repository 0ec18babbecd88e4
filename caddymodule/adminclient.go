package caddymodule

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
)

var (
	// errNoAnswer: no edge answers for this configuration.
	errNoAnswer = errors.New("no edge is running")
	// errNotListening: nothing at all listens at the admin endpoint.
	errNotListening = errors.New("nothing answers")
)

const (
	// statusTimeout bounds the question whether there is an edge.
	statusTimeout = 5 * time.Second
	// answerTimeout bounds every other request; a sleep waits for a save.
	answerTimeout = 3 * time.Minute
)

// adminClient asks a running edge's admin API.
type adminClient struct {
	address  string // as people know it, for messages
	origin   string
	identity string // of the configuration that the edge must run
	http     *http.Client
}

// newAdminClient makes a client for the admin endpoint at a Caddy network address.
func newAdminClient(address, identity string) (*adminClient, error) {
	a, err := caddy.ParseNetworkAddress(address)
	if err != nil || a.PortRangeSize() > 1 {
		return nil, fmt.Errorf("admin address %q is not one address", address)
	}
	c := &adminClient{address: address, origin: "http://" + a.JoinHostPort(0), identity: identity}
	dial := a.JoinHostPort(0)
	if a.IsUnixNetwork() {
		// "|0222" at its end is the socket's file mode; the host is of no consequence.
		c.origin = "http://127.0.0.1"
		dial, _, _ = strings.Cut(dial, "|")
	}
	dialer := net.Dialer{Timeout: 2 * time.Second}
	c.http = &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, a.Network, dial)
		},
		DisableKeepAlives:     true,
		ResponseHeaderTimeout: answerTimeout,
	}}
	return c, nil
}

// status asks whether the edge runs on this configuration. It fails with errNoAnswer
// where nothing answers, or an edge that works on other data.
func (c *adminClient) status(ctx context.Context) (edgeStatus, error) {
	var s edgeStatus
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	if err := c.request(ctx, http.MethodGet, "status", nil, &s); err != nil {
		return s, fmt.Errorf("%w: %w", errNoAnswer, err)
	}
	if s.Identity != c.identity {
		return s, fmt.Errorf("%w on this configuration: the one at %s works on other data", errNoAnswer, c.address)
	}
	return s, nil
}

// call sends a request to the edge of this configuration. body and answer are JSON; body
// may be nil. Its error is errNoAnswer only where the edge was not asked at all.
func (c *adminClient) call(ctx context.Context, method, path string, body, answer any) error {
	if _, err := c.status(ctx); err != nil {
		return err
	}
	return c.request(ctx, method, path, body, answer)
}

func (c *adminClient) request(ctx context.Context, method, path string, body, answer any) error {
	var payload io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return fmt.Errorf("encoding request: %w", err)
		}
		payload = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.origin+adminPrefix+path, payload)
	if err != nil {
		return fmt.Errorf("making request: %w", err)
	}
	req.Header.Set("Origin", c.origin) // Caddy's admin endpoint checks it
	req.Header.Set("Content-Type", "application/json")
	res, err := c.http.Do(req)
	var op *net.OpError
	switch {
	case errors.As(err, &op) && op.Op == "dial":
		return fmt.Errorf("%w at %s: start it with `caddy run`", errNotListening, c.address)
	case err != nil:
		return fmt.Errorf("asking the edge at %s: %w", c.address, err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		return fmt.Errorf("reading the edge's answer: %w", err)
	}
	if res.StatusCode != http.StatusOK {
		var e adminError
		if json.Unmarshal(b, &e) == nil && e.Error != "" {
			return errors.New(e.Error)
		}
		return fmt.Errorf("what answers at %s is something else (status %d)", c.address, res.StatusCode)
	}
	if err := json.Unmarshal(b, answer); err != nil {
		return fmt.Errorf("decoding the edge's answer: %w", err)
	}
	return nil
}
