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
	// errNotOurs: what answers at a container's address is not that container.
	errNotOurs = errors.New("something else answers at the container's address")
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
// an old one.
type containerClient struct{ http *http.Client }

func newContainerClient() *containerClient {
	return &containerClient{http: &http.Client{
		Transport: &http.Transport{
			DialContext:            (&net.Dialer{Timeout: dialTimeout}).DialContext,
			DisableKeepAlives:      true,
			DisableCompression:     true,
			MaxResponseHeaderBytes: 16 << 10,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// prove checks that what answers at an address knows the token's hash. errNotOurs if
// it answers, but not so.
func (c *containerClient) prove(ctx context.Context, address string, token Token) error {
	ctx, cancel := context.WithTimeout(ctx, proofTimeout)
	defer cancel()
	nonce := bootapi.NewNonce()
	var proof bootapi.Proof
	err := c.post(ctx, address, bootapi.PathProof, "", bootapi.ProofRequest{Nonce: nonce}, &proof)
	var refused *refusedError
	switch {
	case errors.As(err, &refused):
		return fmt.Errorf("%w: %w", errNotOurs, err)
	case err != nil:
		return fmt.Errorf("asking for the proof: %w", err)
	case !bootapi.CheckProof(bootapi.HashToken(string(token)), nonce, proof.Proof):
		return errNotOurs
	}
	return nil
}

// claim gives the container to its session. errClaimed if another claim holds it.
func (c *containerClient) claim(ctx context.Context, address string, claim bootapi.Claim) (bootapi.Status, error) {
	ctx, cancel := context.WithTimeout(ctx, claimTimeout)
	defer cancel()
	var status bootapi.Status
	err := c.post(ctx, address, bootapi.PathClaim, claim.Token, claim, &status)
	if refused := (*refusedError)(nil); errors.As(err, &refused) && refused.code == http.StatusConflict {
		return status, errClaimed
	}
	if err != nil {
		return status, fmt.Errorf("claiming the container: %w", err)
	}
	return status, nil
}

// quiesce asks the container to prepare for its stop if it has been idle for so long.
func (c *containerClient) quiesce(ctx context.Context, address string, token Token, idle time.Duration) (bootapi.QuiesceReply, error) {
	ctx, cancel := context.WithTimeout(ctx, quiesceTimeout)
	defer cancel()
	var reply bootapi.QuiesceReply
	req := bootapi.QuiesceRequest{IdleMillis: idle.Milliseconds()}
	if err := c.post(ctx, address, bootapi.PathQuiesce, string(token), req, &reply); err != nil {
		return reply, fmt.Errorf("asking the container to quiesce: %w", err)
	}
	reply.Reason = clip(reply.Reason, maxRefusal)
	return reply, nil
}

// serves checks that the container at an address is the right one, and has not begun
// to end: one that lost its edge, or was told to stop, still answers while it saves.
func (c *containerClient) serves(ctx context.Context, address string, token Token) error {
	if err := c.prove(ctx, address, token); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, proofTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+bootapi.PathStatus, nil)
	if err != nil {
		return err
	}
	req.Header.Set(bootapi.HeaderToken, string(token))
	var status bootapi.Status
	if err := c.do(req, &status); err != nil {
		return fmt.Errorf("asking for the container's status: %w", err)
	}
	if status.Phase == bootapi.PhaseStopping {
		return errEnding
	}
	return nil
}

func (c *containerClient) post(ctx context.Context, address, path, token string, body, into any) error {
	b, err := json.Marshal(body)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+address+path, bytes.NewReader(b))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	return c.do(req, into)
}

func (c *containerClient) do(req *http.Request, into any) error {
	resp, err := c.http.Do(req)
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
