package ecs

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	awsecs "github.com/aws/aws-sdk-go-v2/service/ecs"
)

// ClientOptions say how to reach ECS.
type ClientOptions struct {
	// Region. Default: that of AWS_REGION or the shared configuration.
	Region string
	// Endpoint is the URL of another ECS than the region's. Default: the region's.
	Endpoint string
}

// NewClient returns a client for Options.Client, with credentials from the usual places
// (environment, shared configuration, the role of task or machine), which are looked for
// at the first call. It calls nothing itself, but fails where no region is to be found.
func NewClient(ctx context.Context, o ClientOptions) (*awsecs.Client, error) {
	load := []func(*config.LoadOptions) error{
		// This package has its own way of trying again: see action.
		config.WithRetryer(func() aws.Retryer { return aws.NopRetryer{} }),
	}
	if o.Region != "" {
		load = append(load, config.WithRegion(o.Region))
	}
	c, err := config.LoadDefaultConfig(ctx, load...)
	if err != nil {
		return nil, fmt.Errorf("ecs runner: loading the AWS configuration: %w", err)
	}
	if c.Region == "" {
		return nil, errors.New("ecs runner: no AWS region is known: set `region`, or AWS_REGION")
	}
	return awsecs.NewFromConfig(c, func(co *awsecs.Options) {
		if o.Endpoint != "" {
			co.BaseEndpoint = aws.String(o.Endpoint)
		}
	}), nil
}
