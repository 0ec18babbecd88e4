package dynamodb

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

func text(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }

func number(n int64) types.AttributeValue {
	return &types.AttributeValueMemberN{Value: strconv.FormatInt(n, 10)}
}

func set(ids ...string) types.AttributeValue { return &types.AttributeValueMemberSS{Value: ids} }

// millis is a moment as a number: milliseconds since 1970, which is what the older tools
// write, and a fraction, so that nothing is lost.
func millis(t time.Time) types.AttributeValue {
	ns := t.Nanosecond()
	n := strconv.FormatInt(t.Unix()*1000+int64(ns/int(time.Millisecond)), 10)
	if fraction := ns % int(time.Millisecond); fraction != 0 && n[0] != '-' {
		n += strings.TrimRight(fmt.Sprintf(".%06d", fraction), "0")
	}
	return &types.AttributeValueMemberN{Value: n}
}

// moment is a moment as a text.
func moment(t time.Time) types.AttributeValue { return text(t.UTC().Format(time.RFC3339Nano)) }

// textOf returns a string attribute, "" where it is none.
func textOf(v types.AttributeValue) string {
	s, ok := v.(*types.AttributeValueMemberS)
	if !ok {
		return ""
	}
	return s.Value
}

// setOf returns a set of strings, nil where it is none.
func setOf(v types.AttributeValue) []string {
	s, ok := v.(*types.AttributeValueMemberSS)
	if !ok {
		return nil
	}
	return s.Value
}
