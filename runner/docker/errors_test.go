package docker

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/docker/docker/client"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/webordinary/router/internal/dockerengine"
	"github.com/webordinary/router/sessions"
)

func TestEngineThatDoesNotRun(t *testing.T) {
	core, logs := observer.New(zap.InfoLevel)
	r, err := offline(t, func(o *Options) { o.Logger = zap.New(core) })
	require.NoError(t, err, "it may come later")
	_, started := r.Start(t.Context(), request("one", 1))
	_, described := r.Describe(t.Context(), refPrefix+strings.Repeat("0", 64))
	_, listed := r.List(t.Context())
	_, kept := r.Kept(t.Context())
	for what, err := range map[string]error{
		"start": started, "describe": described, "list": listed, "kept": kept, "check": r.Check(t.Context()),
		"forget": r.Forget(t.Context(), "one"), "stop": r.Stop(t.Context(), refPrefix+strings.Repeat("0", 64), "idle"),
	} {
		require.ErrorIs(t, err, sessions.ErrRunnerUnavailable, what)
		require.ErrorContains(t, err, "no Docker Engine answers at unix:///nowhere/engine.sock: start it (`systemctl start docker`", what)
	}
	require.Eventually(t, func() bool { return logs.FilterMessage("containers cannot be started yet").Len() == 1 }, patience, 5*time.Millisecond,
		"the log says it before anybody needs one")
}

func TestSocketThatMayNotBeUsed(t *testing.T) {
	r, err := offline(t, nil)
	require.NoError(t, err)
	require.NoError(t, r.Close(t.Context()))
	r = &Runner{host: r.host, log: r.log, negotiating: make(chan struct{}, 1)}
	require.NoError(t, r.SetTunables(Tunables{}))
	// The tests' user may use every socket: what the kernel would say is said for it.
	r.cli, err = client.NewClientWithOpts(client.WithHost(r.host), client.WithDialContext(
		func(context.Context, string, string) (net.Conn, error) {
			return nil, &net.OpError{Op: "dial", Net: "unix", Err: os.NewSyscallError("connect", syscall.EACCES)}
		}))
	require.NoError(t, err)
	err = r.Check(t.Context())
	require.ErrorIs(t, err, sessions.ErrRunnerUnavailable)
	require.ErrorContains(t, err, "this user may not use the Docker Engine's socket (unix:///nowhere/engine.sock): add it to the group")
}

func TestEngineThatHangs(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "engine.sock")
	listener, err := net.Listen("unix", socket)
	require.NoError(t, err)
	defer listener.Close()
	r, err := offline(t, func(o *Options) { o.Host = "unix://" + socket })
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = r.Start(ctx, request("one", 1))
	require.ErrorIs(t, err, context.DeadlineExceeded)
	closing, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	require.NoError(t, r.Close(closing), "it does not wait for the engine")
}

func TestAddressesRunOut(t *testing.T) {
	if engine := dockerengine.Need(t); !engine.Private {
		return // not on an engine that somebody else uses
	}
	d := deploy(t, nil)
	r := d.runner()
	var err error
	for i := 0; err == nil; i++ {
		require.Less(t, i, 100)
		_, err = r.createNetwork(t.Context(), fmt.Sprintf("%s-filler-%d", d.name, i), "nobody")
	}
	require.ErrorIs(t, err, sessions.ErrCapacity)
	require.ErrorContains(t, err, "`default-address-pools`")
	d.answers(d.start(r, request("one", 1)))
	assert.Len(t, d.networks(), 1, "those that nobody uses made room")
}

// tlsEngine is the engine behind TCP and TLS, which asks for a certificate.
func tlsEngine(t *testing.T, engine *dockerengine.Engine) (address string, files TLS) {
	t.Helper()
	dir := t.TempDir()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "engine"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	keyDER, err := x509.MarshalECPrivateKey(key)
	require.NoError(t, err)
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	private := pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER})
	files = TLS{CA: filepath.Join(dir, "ca.pem"), Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")}
	for name, text := range map[string][]byte{files.CA: certificate, files.Cert: certificate, files.Key: private} {
		require.NoError(t, os.WriteFile(name, text, 0o600))
	}

	pair, err := tls.X509KeyPair(certificate, private)
	require.NoError(t, err)
	pool := x509.NewCertPool()
	require.True(t, pool.AppendCertsFromPEM(certificate))
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		Certificates: []tls.Certificate{pair}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS12,
	})
	require.NoError(t, err)
	var serving sync.WaitGroup
	t.Cleanup(func() {
		listener.Close()
		serving.Wait()
	})
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { forward(conn, strings.TrimPrefix(engine.Host, "unix://")) })
		}
	})
	return "tcp://" + listener.Addr().String(), files
}

// forward copies both ways between a connection and a socket until either ends.
func forward(conn net.Conn, socket string) {
	defer conn.Close()
	if err := conn.(*tls.Conn).Handshake(); err != nil {
		return
	}
	engine, err := net.Dial("unix", socket)
	if err != nil {
		return
	}
	defer engine.Close()
	done := make(chan struct{}, 2)
	for _, pair := range [][2]net.Conn{{conn, engine}, {engine, conn}} {
		go func() {
			_, _ = io.Copy(pair[0], pair[1])
			done <- struct{}{}
		}()
	}
	<-done
	conn.Close()
	engine.Close()
	<-done
}

func TestEngineOverTLS(t *testing.T) {
	engine := dockerengine.Need(t)
	if !strings.HasPrefix(engine.Host, "unix://") {
		return // it is tested with every test
	}
	d := deploy(t, nil)
	address, files := tlsEngine(t, engine)
	d.o.Host, d.o.TLS = address, &files
	r := d.runner()
	c := d.start(r, request("one", 1))
	d.answers(c)
	require.NoError(t, r.Stop(t.Context(), c.Ref, "idle"))
	require.NoError(t, r.Forget(t.Context(), "one"), "it looks into the volume this way, too")

	for what, tls := range map[string]*TLS{"without": nil, "with a certificate of its own": func() *TLS { _, other := tlsEngine(t, engine); return &other }()} {
		d.o.TLS = tls
		err := d.runner().Check(t.Context())
		require.ErrorIs(t, err, sessions.ErrRunnerUnavailable, what)
	}
}
