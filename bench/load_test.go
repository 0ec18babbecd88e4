package bench

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"
)

// load is a request that is sent again and again.
type load struct{ address, host, path string }

// send sends n requests over a number of connections that are kept alive, each waiting
// for its answer, which must be a site's. It costs much less than a client of net/http.
func (l load) send(b *testing.B, connections, n int) {
	b.Helper()
	request := fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: %s\r\nAccept: */*\r\nUser-Agent: bench\r\n\r\n", l.path, l.host)
	var wg sync.WaitGroup
	errs := make(chan error, connections)
	for i := range connections {
		share := n/connections + min(1, max(0, n%connections-i))
		wg.Go(func() {
			if err := l.converse(request, share); err != nil {
				errs <- err
			}
		})
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		b.Fatalf("loading %s: %v", l.address, err)
	}
}

func (l load) converse(request []byte, n int) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", l.address)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(5 * time.Minute)); err != nil {
		return err
	}
	in := bufio.NewReader(conn)
	for range n {
		if _, err := conn.Write(request); err != nil {
			return err
		}
		if err := readAnswer(in); err != nil {
			return err
		}
	}
	return nil
}

// readAnswer reads an answer to its end. It must be 200 and a kilobyte long.
func readAnswer(in *bufio.Reader) error {
	line, err := in.ReadSlice('\n')
	if err != nil {
		return err
	}
	if !bytes.HasPrefix(line, []byte("HTTP/1.1 200 ")) {
		return fmt.Errorf("answered %q", line)
	}
	length := -1
	for {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return err
		}
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			break
		}
		if name, value, _ := bytes.Cut(line, []byte(": ")); bytes.EqualFold(name, []byte("Content-Length")) {
			if length, err = strconv.Atoi(string(value)); err != nil {
				return err
			}
		}
	}
	if length != len(kilobyte) {
		return fmt.Errorf("answered %d bytes, not %d", length, len(kilobyte))
	}
	_, err = io.CopyN(io.Discard, in, int64(length))
	return err
}
