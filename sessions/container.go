package sessions

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/webordinary/router/containerboot/bootapi"
)

const (
	dialTimeout    = time.Second
	proofTimeout   = 2 * time.Second
	claimTimeout   = 10 * time.Second
	quiesceTimeout = 90 * time.Second // a save is part of it
	maxReply       = 256 << 10        // bytes of any answer of a container
	maxRefusal     = 1 << 10          // bytes of a refusal that are kept for the log
)

var (
	// errEnding: the container saves and will end; it serves no more.
	errEnding = errors.New("container is about to end")
	// errClaimed: another claim holds the container.
	errClaimed = errors.New("container is claimed already")
)

// refusedError is an answer of a container that says no, and would say no again.
type refusedError struct {
	code int
	body string
}

func (e *refusedError) Error() string {
	return fmt.Sprintf("container answered %d: %s", e.code, e.body)
}

// containerClient talks to containers, which are not trusted: every answer is bounded
// in time and size. Connections are not kept, so that a reused address never meets
// an old one; and each proves itself before anything else is sent, so that no token and
// no claim ever reaches what is not the session's container.
type containerClient struct {
	http *http.Client
	// dial opens the connections; tests have a network of their own.
	dial func(ctx context.Context, network, address string) (net.Conn, error)
}

func newContainerClient() *containerClient {
	c := &containerClient{dial: (&net.Dialer{Timeout: dialTimeout}).DialContext}
	c.http = &http.Client{
		Transport: &http.Transport{
			DialContext:            c.dialProven,
			DisableKeepAlives:      true,
			DisableCompression:     true,
			MaxResponseHeaderBytes: 16 << 10,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return c
}

// tokenKey is the place in a context of the Token that a dialed container has to know.
type tokenKey struct{}

// dialProven opens a connection to the container that knows the token in ctx.
// bootapi.ErrStranger if something else answers.
func (c *containerClient) dialProven(ctx context.Context, network, address string) (net.Conn, error) {
	token, ok := ctx.Value(tokenKey{}).(Token)
	if !ok {
		return nil, errors.New("a container is spoken to for a session only")
	}
	conn, err := c.dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, proofTimeout)
	defer cancel()
	if err := bootapi.ProveConn(ctx, conn, bootapi.HashToken(string(token))); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return conn, nil
}

// prove checks that what answers at an address knows the token's hash.
// bootapi.ErrStranger if it answers, but not so.
func (c *containerClient) prove(ctx context.Context, address string, token Token) error {
	conn, err := c.dialProven(context.WithValue(ctx, tokenKey{}, token), "tcp", address)
	if err != nil {
		return err
	}
	return conn.Close()
}

// claim gives the container to its session. errClaimed if another claim holds it.
func (c *containerClient) claim(ctx context.Context, address string, claim bootapi.Claim) (bootapi.Status, error) {
	ctx, cancel := context.WithTimeout(ctx, claimTimeout)
	defer cancel()
	var status bootapi.Status
	err := c.post(ctx, address, bootapi.PathClaim, Token(claim.Token), claim, &status)
	if refused := (*refusedError)(nil); errors.As(err, &refused) && refused.code == http.StatusConflict {
		return status, errClaimed
	}
	if err != nil {
		return status, fmt.Errorf("claiming the container: %w", err)
	}
	return status, nil
}

// quiesce asks the container to save and to agree to its stop.
func (c *containerClient) quiesce(ctx context.Context, address string, token Token, q bootapi.QuiesceRequest) (bootapi.QuiesceReply, error) {
	ctx, cancel := context.WithTimeout(ctx, quiesceTimeout)
	defer cancel()
	var reply bootapi.QuiesceReply
	if err := c.post(ctx, address, bootapi.PathQuiesce, token, q, &reply); err != nil {
		return reply, fmt.Errorf("asking the container to quiesce: %w", err)
	}
	reply.Reason = clip(reply.Reason, maxRefusal)
	return reply, nil
}

// commit asks a container that has agreed to a drain to end.
func (c *containerClient) commit(ctx context.Context, address string, token Token, drain string) (bootapi.CommitReply, error) {
	ctx, cancel := context.WithTimeout(ctx, proofTimeout)
	defer cancel()
	var reply bootapi.CommitReply
	if err := c.post(ctx, address, bootapi.PathCommit, token, bootapi.CommitRequest{Drain: drain}, &reply); err != nil {
		return reply, fmt.Errorf("asking the container to end: %w", err)
	}
	return reply, nil
}

// recall tells a container that somebody asks for its session. errEnding if it ends.
func (c *containerClient) recall(ctx context.Context, address string, token Token) error {
	ctx, cancel := context.WithTimeout(ctx, proofTimeout)
	defer cancel()
	var reply bootapi.RecallReply
	switch err := c.post(ctx, address, bootapi.PathRecall, token, struct{}{}, &reply); {
	case err != nil:
		return fmt.Errorf("telling the container that somebody came: %w", err)
	case !reply.Serves:
		return errEnding
	default:
		return nil
	}
}

// serves checks that the container at an address is the right one, and has not begun
// to end: one that lost its edge, or was told to stop, still answers while it saves.
func (c *containerClient) serves(ctx context.Context, address string, token Token) error {
	status, err := c.status(ctx, address, token)
	if err == nil && status.Phase == bootapi.PhaseStopping {
		return errEnding
	}
	return err
}

// status is what the container says of itself.
func (c *containerClient) status(ctx context.Context, address string, token Token) (status bootapi.Status, err error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout+2*proofTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+bootapi.PathStatus, nil)
	if err != nil {
		return status, err
	}
	req.Header.Set(bootapi.HeaderToken, string(token))
	if err := c.do(req, token, &status); err != nil {
		return status, fmt.Errorf("asking for the container's status: %w", err)
	}
	return status, nil
}

func (c *containerClient) post(ctx context.Context, address, path string, token Token, body, into any) error {
	b, err := json.Marshal(body)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+address+path, bytes.NewReader(b))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+string(token))
	return c.do(req, token, into)
}

// open sends a request to the container that knows the token.
func (c *containerClient) open(req *http.Request, token Token) (*http.Response, error) {
	return c.http.Do(req.WithContext(context.WithValue(req.Context(), tokenKey{}, token)))
}

func (c *containerClient) do(req *http.Request, token Token, into any) error {
	resp, err := c.open(req, token)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, maxRefusal))
		if resp.StatusCode >= 500 {
			return fmt.Errorf("container answered %d: %s", resp.StatusCode, clip(string(text), maxRefusal))
		}
		return &refusedError{code: resp.StatusCode, body: clip(string(text), maxRefusal)}
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxReply)).Decode(into); err != nil {
		return &refusedError{code: resp.StatusCode, body: "no JSON of the right shape: " + err.Error()}
	}
	return nil
}

// address is where the record's container listens, "" if that is not known.
func (r Record) address() string {
	if r.ContainerIP == "" {
		return ""
	}
	return net.JoinHostPort(r.ContainerIP, strconv.Itoa(r.ContainerPort))
}

// splitAddress takes a runner's "host:port" apart.
func splitAddress(address string) (ip string, port int, err error) {
	host, digits, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, fmt.Errorf("reading the container's address: %w", err)
	}
	n, err := strconv.ParseUint(digits, 10, 16)
	if err != nil || n == 0 || host == "" {
		return "", 0, fmt.Errorf("reading the container's address %q: not host:port", address)
	}
	return host, int(n), nil
}
