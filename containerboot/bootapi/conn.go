package bootapi

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// ErrStranger: what answers at a container's address is not that container.
var ErrStranger = errors.New("something else answers at the container's address")

// maxProofReply bounds, in bytes, what is read of an answer to a ProofRequest, its
// header included: the peer may be anybody.
const maxProofReply = 8 << 10

// ProveConn asks what is at the other end of a connection to prove that it knows the
// hash of a token, and leaves the connection ready for requests. Nothing secret is sent:
// the nonce is new each time, so that an answer that was heard before is of no use.
// ErrStranger if it answers otherwise; any other error, such as that of ctx, says nothing
// of who it is. After an error the connection is of no use: the caller closes it.
func ProveConn(ctx context.Context, conn net.Conn, tokenHash string) error {
	// A deadline that has passed ends reads and writes under way.
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	err := proveConn(conn, tokenHash)
	if !stop() {
		return fmt.Errorf("asking for the proof: %w", context.Cause(ctx))
	}
	return err
}

func proveConn(conn net.Conn, tokenHash string) error {
	nonce := NewNonce()
	body, err := json.Marshal(ProofRequest{Nonce: nonce})
	if err != nil {
		return err
	}
	var req bytes.Buffer
	fmt.Fprintf(&req, "POST %s HTTP/1.1\r\nHost: container\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", PathProof, len(body), body)
	if _, err := conn.Write(req.Bytes()); err != nil {
		return fmt.Errorf("asking for the proof: %w", err)
	}
	in := bufio.NewReader(io.LimitReader(conn, maxProofReply))
	resp, err := http.ReadResponse(in, nil)
	if err != nil {
		return unread(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode >= http.StatusInternalServerError {
		return fmt.Errorf("asking for the proof: container answered %d", resp.StatusCode)
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%w: it answered %d", ErrStranger, resp.StatusCode)
	}
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return unread(err)
	}
	var proof Proof
	if json.Unmarshal(answer, &proof) != nil || !CheckProof(tokenHash, nonce, proof.Proof) {
		return ErrStranger
	}
	// What follows would be taken for the answer to the first request.
	if in.Buffered() > 0 {
		return fmt.Errorf("%w: it says more than it was asked", ErrStranger)
	}
	if resp.Close {
		return errors.New("asking for the proof: container closes the connection")
	}
	return nil
}

// unread tells a connection that broke from an answer that is none.
func unread(err error) error {
	var fault net.Error
	if errors.As(err, &fault) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("reading the proof: %w", err)
	}
	return fmt.Errorf("%w: reading the proof: %w", ErrStranger, err)
}
