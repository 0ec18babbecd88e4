package dynamodblocal

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// Item reads an item from a file in DynamoDB's own JSON, as its exports and command line
// have it: {"clientId": {"S": "amelia"}, …}.
func Item(tb testing.TB, file string) map[string]types.AttributeValue {
	tb.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		tb.Fatalf("reading an item: %v", err)
	}
	var members map[string]member
	if err := json.Unmarshal(data, &members); err != nil {
		tb.Fatalf("reading the item in %s: %v", file, err)
	}
	return attributes(members)
}

// member is an attribute: one of these is set.
type member struct {
	S    *string
	N    *string
	B    []byte
	BOOL *bool
	NULL bool
	M    map[string]member
	L    []member
	SS   []string
	NS   []string
	BS   [][]byte
}

func attributes(members map[string]member) map[string]types.AttributeValue {
	values := make(map[string]types.AttributeValue, len(members))
	for name, m := range members {
		values[name] = m.attribute()
	}
	return values
}

func (m member) attribute() types.AttributeValue {
	switch {
	case m.S != nil:
		return &types.AttributeValueMemberS{Value: *m.S}
	case m.N != nil:
		return &types.AttributeValueMemberN{Value: *m.N}
	case m.B != nil:
		return &types.AttributeValueMemberB{Value: m.B}
	case m.BOOL != nil:
		return &types.AttributeValueMemberBOOL{Value: *m.BOOL}
	case m.M != nil:
		return &types.AttributeValueMemberM{Value: attributes(m.M)}
	case m.L != nil:
		list := make([]types.AttributeValue, len(m.L))
		for i, element := range m.L {
			list[i] = element.attribute()
		}
		return &types.AttributeValueMemberL{Value: list}
	case m.SS != nil:
		return &types.AttributeValueMemberSS{Value: m.SS}
	case m.NS != nil:
		return &types.AttributeValueMemberNS{Value: m.NS}
	case m.BS != nil:
		return &types.AttributeValueMemberBS{Value: m.BS}
	default:
		return &types.AttributeValueMemberNULL{Value: true}
	}
}
