// Package deploykey turns references to deploy keys into the keys themselves:
//
//	arn:aws:secretsmanager:REGION:ACCOUNT:secret:NAME   a secret of AWS Secrets Manager
//	env:NAME                                            a variable of this process
//	file:/PATH                                          a file of this machine
//
// Every kind must lead to one unencrypted private key in PEM form, or, for an https
// repository, to one line: a token, or user:token. Keys are read anew each time and never
// kept.
//
// # What keeps one client's key from another
//
// Whoever may write a client's configuration chooses the reference, so it alone entitles
// to nothing. It must lie below a prefix that the operator allows, which is checked here
// again, as a row may have been written by something else than our tools. A secret must
// also carry the tag webordinary:client with the client's id; its value is not asked for
// before. A variable or file carries no such mark: prefixes with {client} are the
// operator's means, see configstore.ParseKeyPrefix.
//
// # Files
//
// Symbolic links are followed as long as they end in the folder, or at the file, that the
// prefix names. The file must be a regular one, of at most 64 KiB, and not be writable by
// its group or others: whoever may write it could have the work pushed elsewhere under a
// key of his own. One that others may read, as secrets which are mounted into a container
// often are, is used, and the log warns of it.
//
// # AWS
//
// Region and credentials: a secret is asked for in the region of its ARN, with the
// credentials of AWS's default chain, which must be allowed secretsmanager:DescribeSecret
// and secretsmanager:GetSecretValue, and kms:Decrypt where the secret has a key of its own.
// Nothing is read of that chain before the first such reference is resolved.
package deploykey

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"go.uber.org/zap"

	"github.com/webordinary/router/configstore"
)

// Errors of Resolve, always wrapped with the reference and a reason, never with the key;
// compare with errors.Is.
var (
	// ErrNotAllowed: the reference is malformed, outside the operator's prefixes, or to a
	// secret without the client's tag.
	ErrNotAllowed = errors.New("not allowed")
	// ErrNotFound: there is no such secret, variable or file.
	ErrNotFound = errors.New("not found")
	// ErrDenied: this process may not read it.
	ErrDenied = errors.New("access denied")
	// ErrInvalid: what was found is no key that can be used.
	ErrInvalid = errors.New("no usable key")
	// ErrUnavailable: it cannot be read at the moment; trying again may help. It is
	// configstore.ErrUnavailable too, by which those know it who do not import this package.
	ErrUnavailable error = unavailableError{}
)

// unavailableError is ErrUnavailable.
type unavailableError struct{}

// Error does not speak of the config store, which may be well.
func (unavailableError) Error() string { return "cannot be read at the moment" }

// Is reports whether target is configstore.ErrUnavailable.
func (unavailableError) Is(target error) bool { return target == configstore.ErrUnavailable }

// defaultTimeout bounds one Resolve: a key is waited for by somebody who looks at a page.
const defaultTimeout = 15 * time.Second

// Options are what a Resolver is made of.
type Options struct {
	// Prefixes are what the operator allows. None: no reference is resolved.
	Prefixes []configstore.KeyPrefix
	// Timeout bounds one Resolve, repetitions after network faults and throttling
	// included. Default: 15 s.
	Timeout time.Duration
	// Logger is told of files that others may read. Default: none.
	Logger *zap.Logger
}

// Resolver resolves references. It is safe for concurrent use, and costs nothing until
// it is used.
type Resolver struct {
	prefixes []configstore.KeyPrefix
	timeout  time.Duration
	log      *zap.Logger

	mu  sync.Mutex
	aws *aws.Config // nil until it was loaded
}

// New makes a resolver. It reads nothing.
func New(o Options) *Resolver {
	if o.Timeout <= 0 {
		o.Timeout = defaultTimeout
	}
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	return &Resolver{prefixes: o.Prefixes, timeout: o.Timeout, log: o.Logger}
}

// Resolve returns the key of a client's repository in the form of
// configstore.Repository.ParseKey. A key that is no reference is returned as it is, "" too. ErrNotAllowed, ErrNotFound, ErrDenied, ErrInvalid,
// ErrUnavailable, or the error of ctx once that has ended.
func (r *Resolver) Resolve(ctx context.Context, clientID string, repository configstore.Repository) (string, error) {
	key := repository.DeployKey
	if !key.IsReference() {
		return string(key), nil
	}
	ref, err := key.Reference()
	if err != nil {
		return "", fmt.Errorf("deploy key: %w: it %w", ErrNotAllowed, err)
	}
	if err := configstore.AllowKey(r.prefixes, clientID, ref); err != nil {
		return "", fmt.Errorf("deploy key %s: %w: it %w", ref, ErrNotAllowed, err)
	}
	text, err := r.read(ctx, clientID, ref)
	if err != nil {
		return "", fmt.Errorf("deploy key %s: %w", ref, err)
	}
	text, err = repository.ParseKey(text)
	if err != nil {
		return "", fmt.Errorf("deploy key %s: %w: it %w", ref, ErrInvalid, err)
	}
	return text, nil
}

func (r *Resolver) read(ctx context.Context, clientID string, ref configstore.KeyReference) (string, error) {
	limited, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	switch ref.Kind {
	case configstore.KeyInSecretsManager:
		text, err := r.readSecret(limited, clientID, ref)
		switch {
		case ctx.Err() != nil:
			return "", ctx.Err()
		case err != nil && limited.Err() != nil:
			return "", fmt.Errorf("%w: Secrets Manager did not answer within %s", ErrUnavailable, r.timeout)
		}
		return text, err
	case configstore.KeyInEnv:
		text, ok := os.LookupEnv(ref.Name)
		if !ok {
			return "", fmt.Errorf("%w: the variable is not set in the environment of this process", ErrNotFound)
		}
		return text, nil
	case configstore.KeyInFile:
		return r.readFile(clientID, ref)
	default:
		return "", fmt.Errorf("%w: nothing reads references of this kind", ErrNotAllowed)
	}
}
