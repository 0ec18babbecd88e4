package dynamodb

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/webordinary/router/internal/dynamo"
)

// ClientOptions say which DynamoDB. The zero value is AWS with what its environment says.
type ClientOptions = dynamo.ClientOptions

// NewClient returns a client with AWS's default chain of credentials: environment, shared
// files, web identity, container, instance. It uses no network, except that an instance is
// asked for its region where nothing else names one. The error says where no region is
// known, or the shared files are faulty.
func NewClient(ctx context.Context, o ClientOptions) (*dynamodb.Client, error) {
	return dynamo.NewClient(ctx, o)
}

func closeIdle(client *dynamodb.Client) { dynamo.CloseIdle(client) }
