package dynamodb

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// item is an item, or a map within one.
type item = map[string]types.AttributeValue

func text(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }

func number(n int64) types.AttributeValue {
	return &types.AttributeValueMemberN{Value: strconv.FormatInt(n, 10)}
}

// textOf returns a string attribute, "" where it is none.
func textOf(v types.AttributeValue) string {
	s, ok := v.(*types.AttributeValueMemberS)
	if !ok {
		return ""
	}
	return s.Value
}

// numberOf returns a whole number; false where the attribute is none.
func numberOf(v types.AttributeValue) (int64, bool) {
	n, ok := v.(*types.AttributeValueMemberN)
	if !ok {
		return 0, false
	}
	i, err := strconv.ParseInt(n.Value, 10, 64)
	return i, err == nil
}

// appendJSON appends an attribute in JSON, compact and with sorted names. Sets become
// arrays, binary data base64: enough to read them, not to write them back; see keepTypes.
func appendJSON(b []byte, v types.AttributeValue) []byte {
	switch v := v.(type) {
	case *types.AttributeValueMemberS:
		return appendText(b, v.Value)
	case *types.AttributeValueMemberN:
		return appendNumber(b, v.Value)
	case *types.AttributeValueMemberBOOL:
		return strconv.AppendBool(b, v.Value)
	case *types.AttributeValueMemberM:
		b = append(b, '{')
		for i, name := range slices.Sorted(maps.Keys(v.Value)) {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(appendText(b, name), ':')
			b = appendJSON(b, v.Value[name])
		}
		return append(b, '}')
	case *types.AttributeValueMemberL:
		return appendArray(b, v.Value, appendJSON)
	case *types.AttributeValueMemberSS:
		return appendArray(b, slices.Sorted(slices.Values(v.Value)), appendText)
	case *types.AttributeValueMemberNS:
		return appendArray(b, slices.Sorted(slices.Values(v.Value)), appendNumber)
	case *types.AttributeValueMemberBS:
		return appendArray(b, slices.SortedFunc(slices.Values(v.Value), bytes.Compare), appendBinary)
	case *types.AttributeValueMemberB:
		return appendBinary(b, v.Value)
	default:
		return append(b, "null"...)
	}
}

func appendArray[T any](b []byte, values []T, each func([]byte, T) []byte) []byte {
	b = append(b, '[')
	for i, value := range values {
		if i > 0 {
			b = append(b, ',')
		}
		b = each(b, value)
	}
	return append(b, ']')
}

func appendText(b []byte, s string) []byte {
	if plain(s) {
		return append(append(append(b, '"'), s...), '"')
	}
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(s) // a string cannot fail
	return append(b, bytes.TrimSuffix(out.Bytes(), []byte("\n"))...)
}

// plain reports whether JSON has a text as it is.
func plain(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

func appendNumber(b []byte, n string) []byte {
	if json.Valid([]byte(n)) {
		return append(b, n...)
	}
	return appendText(b, n)
}

func appendBinary(b, data []byte) []byte {
	return appendText(b, base64.StdEncoding.EncodeToString(data))
}

// fromJSON reads a JSON document into an attribute, as exactly as DynamoDB holds numbers.
func fromJSON(data []byte) (types.AttributeValue, error) {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	var v any
	if err := decoder.Decode(&v); err != nil {
		return nil, fmt.Errorf("reading JSON: %w", err)
	}
	return fromAny(v), nil
}

func fromAny(v any) types.AttributeValue {
	switch v := v.(type) {
	case string:
		return text(v)
	case json.Number:
		return &types.AttributeValueMemberN{Value: v.String()}
	case bool:
		return &types.AttributeValueMemberBOOL{Value: v}
	case map[string]any:
		m := make(item, len(v))
		for name, member := range v {
			m[name] = fromAny(member)
		}
		return &types.AttributeValueMemberM{Value: m}
	case []any:
		l := make([]types.AttributeValue, len(v))
		for i, element := range v {
			l[i] = fromAny(element)
		}
		return &types.AttributeValueMemberL{Value: l}
	default:
		return &types.AttributeValueMemberNULL{Value: true}
	}
}
