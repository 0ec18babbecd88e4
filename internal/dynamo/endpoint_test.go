package dynamo

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/stretchr/testify/assert"
)

// Tables on AWS are encrypted by whatever endpoint they are reached.
func TestEndpointsOfAWS(t *testing.T) {
	for endpoint, want := range map[string]bool{
		"https://vpce-0a1b-2c3d.dynamodb.eu-central-1.vpce.amazonaws.com": true,
		"https://dynamodb.cn-north-1.amazonaws.com.cn":                    true,
		"http://127.0.0.1:8000":                                           false,
		"https://amazonaws.com.example":                                   false,
	} {
		assert.Equal(t, want, onAWS(dynamodb.New(dynamodb.Options{BaseEndpoint: &endpoint})), endpoint)
	}
	assert.True(t, onAWS(dynamodb.New(dynamodb.Options{})))
}
