package dynamodb

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/configstore"
)

func TestJSON(t *testing.T) {
	for name, test := range map[string]struct {
		value types.AttributeValue
		want  string
	}{
		"plain text":  {text("a b"), `"a b"`},
		"other text":  {text("<ü\"\\\n\x00>"), `"<ü\"\\\n\u0000>"`},
		"number":      {&types.AttributeValueMemberN{Value: "12345678901234567890.5"}, `12345678901234567890.5`},
		"exponent":    {&types.AttributeValueMemberN{Value: "1E+30"}, `1E+30`},
		"no number":   {&types.AttributeValueMemberN{Value: "NaN"}, `"NaN"`},
		"boolean":     {&types.AttributeValueMemberBOOL{Value: true}, `true`},
		"null":        {&types.AttributeValueMemberNULL{Value: true}, `null`},
		"map":         {&types.AttributeValueMemberM{Value: item{"b": number(2), "a": number(1)}}, `{"a":1,"b":2}`},
		"empty map":   {&types.AttributeValueMemberM{}, `{}`},
		"list":        {&types.AttributeValueMemberL{Value: []types.AttributeValue{number(1), text("a")}}, `[1,"a"]`},
		"empty list":  {&types.AttributeValueMemberL{}, `[]`},
		"text set":    {&types.AttributeValueMemberSS{Value: []string{"b", "a"}}, `["a","b"]`},
		"number set":  {&types.AttributeValueMemberNS{Value: []string{"1"}}, `[1]`},
		"binary":      {&types.AttributeValueMemberB{Value: []byte{1, 2, 3}}, `"AQID"`},
		"binary set":  {&types.AttributeValueMemberBS{Value: [][]byte{{2}, {1}}}, `["AQ==","Ag=="]`},
		"nested maps": {fromAny(map[string]any{"a": map[string]any{"b": []any{json.Number("1"), nil, false}}}), `{"a":{"b":[1,null,false]}}`},
	} {
		got := appendJSON(nil, test.value)
		assert.Equal(t, test.want, string(got), name)
		assert.True(t, json.Valid(got), name)
		back, err := fromJSON(got)
		require.NoError(t, err, name)
		assert.Equal(t, test.want, string(appendJSON(nil, back)), name)
		assert.Positive(t, sizeOf(test.value), name)
	}
	_, err := fromJSON([]byte(`{`))
	require.Error(t, err)
}

// quickEntry agrees with the way through JSON, or leaves the row to it.
func FuzzQuickEntry(f *testing.F) {
	f.Add(`{"clientId":"a","domains":{"edit":"edit.a.example","aliases":["b.example"]},"settings":{"containerSize":"small","idleTimeoutMinutes":15,"maxConcurrentSessions":3,"wakeOn":"any"},"disabled":true}`, int64(7))
	f.Add(`{"domains":{"edit":"EDIT.a.example."},"settings":{"idleTimeoutMinutes":1.5}}`, int64(0))
	f.Add(`{"domains":{"edit":null,"aliases":[null]},"settings":[]}`, int64(-1))
	f.Add(`{"clientId":"b","domains":{"production":1},"settings":{"idleTimeoutMinutes":"15"}}`, int64(1))
	f.Add(`{"clientId":"","settings":{"maxLifetimeMinutes":1e3}}`, int64(1))
	f.Fuzz(func(t *testing.T, config string, version int64) {
		value, err := fromJSON([]byte(config))
		if err != nil {
			return
		}
		it := item{attrClientID: text("a"), attrConfig: value, attrVersion: number(version)}
		if got, ok := quickEntry(it); ok {
			require.Equal(t, row(it).record().Entry(), got)
		}
	})
}

func TestQuickEntry(t *testing.T) {
	for _, c := range []configstore.Client{testClient("a"), testClient("a", "b.example", "c.example"), ameliaBefore()} {
		config, err := encodeConfig(c, nil)
		require.NoError(t, err)
		it := item{attrClientID: text(c.ClientID), attrConfig: config, attrVersion: number(3)}
		got, ok := quickEntry(it)
		require.True(t, ok)
		assert.Equal(t, configstore.Record{Client: c, Version: 3}.Entry(), got)
	}
	_, ok := quickEntry(fixture(t, "amelia-lambda.json"))
	assert.False(t, ok, "null is rare")
}

func BenchmarkEntry(b *testing.B) {
	config, err := encodeConfig(testClient("a"), nil)
	require.NoError(b, err)
	it := item{attrClientID: text("a"), attrConfig: config, attrVersion: number(3)}
	for name, read := range map[string]func(item) configstore.Entry{
		"quick": scannedEntry,
		"json":  func(it item) configstore.Entry { return row(it).record().Entry() },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if e := read(it); e.Broken != "" {
					b.Fatal(fmt.Sprint(e))
				}
			}
		})
	}
}
