package deploykey

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/webordinary/router/configstore"
)

// ClientTag is the tag that ties a secret to a client: its value is the client's id.
const ClientTag = "webordinary:client"

const (
	// attempts, with their pauses, fit into the default timeout.
	attempts   = 4
	maxBackoff = 2 * time.Second
	// attemptTimeout bounds one request.
	attemptTimeout = 5 * time.Second
	// suffixLength is that of what Secrets Manager appends to a secret's name, after a hyphen.
	suffixLength = 6
)

// readSecret reads a secret that carries the client's tag.
func (r *Resolver) readSecret(ctx context.Context, clientID string, ref configstore.KeyReference) (string, error) {
	cfg, err := r.awsConfig(ctx, ref.Region)
	if err != nil {
		return "", err
	}
	client := secretsmanager.NewFromConfig(cfg, func(o *secretsmanager.Options) { o.Region = ref.Region })
	secret, err := client.DescribeSecret(ctx, &secretsmanager.DescribeSecretInput{SecretId: aws.String(ref.String())})
	if err != nil {
		return "", awsError(err)
	}
	arn := aws.ToString(secret.ARN)
	switch {
	case !names(ref, arn):
		return "", fmt.Errorf("%w: Secrets Manager answers with another secret: give the whole ARN", ErrNotAllowed)
	case secret.DeletedDate != nil:
		return "", fmt.Errorf("%w: the secret is scheduled for deletion", ErrNotFound)
	}
	tagged := false
	for _, tag := range secret.Tags {
		tagged = tagged || aws.ToString(tag.Key) == ClientTag && aws.ToString(tag.Value) == clientID
	}
	if !tagged {
		return "", fmt.Errorf("%w: the secret does not have the tag %s=%s", ErrNotAllowed, ClientTag, clientID)
	}
	// By the ARN that was described: another secret may get the name meanwhile, but never that.
	value, err := client.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: secret.ARN})
	switch {
	case err != nil:
		return "", awsError(err)
	case aws.ToString(value.ARN) != arn:
		return "", fmt.Errorf("%w: Secrets Manager answers with another secret", ErrNotAllowed)
	case value.SecretString != nil:
		return *value.SecretString, nil
	default:
		return string(value.SecretBinary), nil
	}
}

// names reports whether an ARN is that of a reference, which may lack the suffix.
func names(ref configstore.KeyReference, arn string) bool {
	rest, ok := strings.CutPrefix(arn, ref.String())
	return ok && (rest == "" || len(rest) == 1+suffixLength && rest[0] == '-')
}

// awsConfig loads AWS's default chain, once. The region is what that chain's own calls
// use where it names none.
func (r *Resolver) awsConfig(ctx context.Context, region string) (aws.Config, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.aws == nil {
		cfg, err := config.LoadDefaultConfig(ctx,
			config.WithDefaultRegion(region),
			config.WithHTTPClient(awshttp.NewBuildableClient().WithTimeout(attemptTimeout)),
			config.WithRetryer(func() aws.Retryer {
				return retry.NewStandard(func(o *retry.StandardOptions) { o.MaxAttempts, o.MaxBackoff = attempts, maxBackoff })
			}),
			config.WithClientLogMode(0), // what is logged of an answer would hold the key
		)
		if err != nil {
			return aws.Config{}, awsError(err)
		}
		r.aws = &cfg
	}
	return r.aws.Copy(), nil
}
