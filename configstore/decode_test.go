package configstore

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// fullJSON uses every field.
const fullJSON = `{
  "clientId": "amelia",
  "domains": {"production": "amelia.example", "edit": "edit.amelia.example", "aliases": ["shop.example"]},
  "repository": {"url": "git@git.example:amelia/site.git", "branch": "main", "deployKey": "KEY", "directory": "site"},
  "infrastructure": {"targetGroupArn": "arn:1", "certificateArn": "arn:2", "hostedZoneId": "Z1"},
  "settings": {"containerSize": "small", "idleTimeoutMinutes": 15, "maxConcurrentSessions": 3, "maxLifetimeMinutes": 600, "wakeOn": "any"},
  "build": {"install": "npm ci", "command": "npm run build", "output": "out", "mode": "static", "nodeVersion": "22",
    "env": {"A": "1", "B": ""}, "healthPath": "/ok"},
  "disabled": true
}`

func fullClient() Client {
	return Client{
		ClientID:       "amelia",
		Domains:        Domains{Production: "amelia.example", Edit: "edit.amelia.example", Aliases: []string{"shop.example"}},
		Repository:     Repository{URL: "git@git.example:amelia/site.git", Branch: "main", DeployKey: "KEY", Directory: "site"},
		Infrastructure: &Infrastructure{TargetGroupARN: "arn:1", CertificateARN: "arn:2", HostedZoneID: "Z1"},
		Settings: Settings{
			ContainerSize: SizeSmall, IdleTimeoutMinutes: 15, MaxConcurrentSessions: 3, MaxLifetimeMinutes: 600, WakeOn: WakeOnAny,
		},
		Build: &Build{
			Install: "npm ci", Command: "npm run build", Output: "out", Mode: ModeStatic, NodeVersion: "22",
			Env: map[string]string{"A": "1", "B": ""}, HealthPath: "/ok",
		},
		Disabled: true,
	}
}

// faultStrings returns what a ValidationError reports; nil for no error.
func faultStrings(tb testing.TB, err error) []string {
	tb.Helper()
	if err == nil {
		return nil
	}
	var invalid *ValidationError
	require.ErrorAs(tb, err, &invalid)
	require.NotEmpty(tb, invalid.Faults)
	list := make([]string, 0, len(invalid.Faults))
	for _, f := range invalid.Faults {
		list = append(list, f.String())
	}
	return list
}

func TestDecodeClient(t *testing.T) {
	for name, decode := range map[string]func([]byte) (Client, error){"strict": DecodeClient, "stored": DecodeStored} {
		c, err := decode([]byte(fullJSON))
		require.NoError(t, err, name)
		assert.Equal(t, fullClient(), c, name)
	}
	// The decoder knows every field of the type.
	encoded, err := EncodeStored(fullClient())
	require.NoError(t, err)
	assert.JSONEq(t, fullJSON, string(encoded))
}

func TestDecodeClientFaults(t *testing.T) {
	tests := []struct {
		name, json string
		want       []string
	}{
		{"unknown fields everywhere", `{"clientid":"x","domains":{"Edit":"e"},"repository":{"tag":1},"infrastructure":{"arn":1},
			"settings":{"idleTimeout":1},"build":{"envs":{}},"x.y":1}`, []string{
			"clientid: unknown field", "domains.Edit: unknown field", "repository.tag: unknown field",
			"infrastructure.arn: unknown field", "settings.idleTimeout: unknown field", "build.envs: unknown field", "x.y: unknown field",
		}},
		{"wrong types everywhere", `{"clientId":1,"domains":[],"repository":"x","infrastructure":true,"settings":{"containerSize":{},
			"idleTimeoutMinutes":"15","maxConcurrentSessions":1.5,"maxLifetimeMinutes":99999999999999999999},
			"build":{"env":{"A":1,"B":null},"mode":[]},"disabled":"yes"}`, []string{
			"clientId: must be a string, got 1", "domains: must be an object, got an array", "repository: must be an object, got a string",
			"infrastructure: must be an object, got true", "settings.containerSize: must be a string, got an object",
			"settings.idleTimeoutMinutes: must be a whole number, got a string",
			"settings.maxConcurrentSessions: must be a whole number, got 1.5",
			"settings.maxLifetimeMinutes: must be a whole number, got 99999999999999999999",
			"build.env.A: must be a string, got 1", "build.env.B: must be a string, got null",
			"build.mode: must be a string, got an array", "disabled: must be true or false, got a string",
		}},
		{"null is no value", `{"clientId":null,"domains":{"aliases":null},"settings":{"idleTimeoutMinutes":null},"build":null,"disabled":null}`, []string{
			"clientId: must be a string, got null", "domains.aliases: must be an array of strings, got null",
			"settings.idleTimeoutMinutes: must be a whole number, got null", "build: must be an object, got null",
			"disabled: must be true or false, got null",
		}},
		{"elements of arrays", `{"domains":{"aliases":["a",1,null]}}`, []string{
			"domains.aliases[1]: must be a string, got 1", "domains.aliases[2]: must be a string, got null",
		}},
		{"repeated fields", `{"clientId":"a","clientId":"b","settings":{"wakeOn":"any","wakeOn":"any"},"build":{"env":{"A":"1","A":"2"}}}`, []string{
			"clientId: is given more than once", "settings.wakeOn: is given more than once", "build.env.A: is given more than once",
		}},
		{"trailing data", `{"clientId":"a"} {}`, []string{"invalid JSON at line 1, column 18: invalid character '{' after top-level value"}},
		{"syntax", "{\n  \"clientId\": \"a\",\n}", []string{"invalid JSON at line 3, column 1: invalid character '}' looking for beginning of object key string"}},
		{"cut off", `{"clientId":`, []string{"invalid JSON at line 1, column 12: unexpected end of JSON input"}},
		{"empty", " \n", []string{"must not be empty"}},
		{"not an object", `["a"]`, []string{"must be an object, got an array"}},
		{"not UTF-8", "{\"clientId\":\"\xff\"}", []string{"must be UTF-8"}},
		{"too large", `{"clientId":"` + strings.Repeat("a", MaxConfigBytes) + `"}`, []string{"must be at most 262144 bytes, got 262159"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := DecodeClient([]byte(test.json))
			assert.Equal(t, test.want, faultStrings(t, err))
		})
	}
}

func TestDecodeNeverShowsValues(t *testing.T) {
	_, err := DecodeClient([]byte(`{"repository":{"deployKey":["-----BEGIN SECRET"],"deploykey":"-----BEGIN SECRET"},"disabled":"SECRET"}`))
	require.Error(t, err)
	assert.NotContains(t, err.Error(), "SECRET")
}

func TestStoredRoundTrip(t *testing.T) {
	const stored = `{
		"clientId": "amelia",
		"owner": {"name": "Amelia <a&b>", "since": 2019, "clientId": "not ours"},
		"dotted.name": 1, "back\\slash.": 2, "": 3, "settings.x": 4, "ClientID": 5,
		"domains": {"production": "amelia.example", "edit": "edit.amelia.example", "aliases": null, "cdn": "c", "a.b": 6},
		"repository": {"url": "u", "branch": "b", "": 7},
		"settings": {"containerSize": "small", "idleTimeoutMinutes": 15, "maxConcurrentSessions": 3, "nested": {"deep": [1, 2]}},
		"build": {"cache": true}
	}`
	c, err := DecodeStored([]byte(stored))
	require.NoError(t, err)
	assert.Equal(t, map[string]json.RawMessage{
		"owner":           json.RawMessage(`{"name":"Amelia <a&b>","since":2019,"clientId":"not ours"}`),
		`dotted\.name`:    json.RawMessage(`1`),
		`back\\slash\.`:   json.RawMessage(`2`),
		"":                json.RawMessage(`3`),
		`settings\.x`:     json.RawMessage(`4`),
		"ClientID":        json.RawMessage(`5`),
		"domains.cdn":     json.RawMessage(`"c"`),
		`domains.a\.b`:    json.RawMessage(`6`),
		"repository.":     json.RawMessage(`7`),
		"settings.nested": json.RawMessage(`{"deep":[1,2]}`),
		"build.cache":     json.RawMessage(`true`),
	}, c.Unknown)

	encoded, err := EncodeStored(c)
	require.NoError(t, err)
	again, err := DecodeStored(encoded)
	require.NoError(t, err)
	assert.Equal(t, c, again)
	assert.JSONEq(t, strings.Replace(stored, `"aliases": null, `, "", 1), string(encoded))

	// A client whose build is gone still keeps what lay in it.
	c.Build = nil
	encoded, err = EncodeStored(c)
	require.NoError(t, err)
	again, err = DecodeStored(encoded)
	require.NoError(t, err)
	assert.JSONEq(t, `true`, string(again.Unknown["build.cache"]))
}

func TestDecodeStoredWrongType(t *testing.T) {
	_, err := DecodeStored([]byte(`{"clientId":"amelia","settings":{"idleTimeoutMinutes":"15"}}`))
	assert.Equal(t, []string{"settings.idleTimeoutMinutes: must be a whole number, got a string"}, faultStrings(t, err))
}

func TestMergeUnknown(t *testing.T) {
	stored := map[string]json.RawMessage{"a": json.RawMessage(`1`), "b": json.RawMessage(`2`)}
	c := MergeUnknown(Client{Unknown: map[string]json.RawMessage{"b": json.RawMessage(`3`)}}, stored)
	assert.Equal(t, map[string]json.RawMessage{"a": json.RawMessage(`1`), "b": json.RawMessage(`3`)}, c.Unknown)
	assert.Len(t, stored, 2)
	assert.JSONEq(t, `2`, string(stored["b"]))
}

func TestDecodeClientsFormats(t *testing.T) {
	one := `{"clientId":"a"}`
	tests := []struct {
		name, input string
		want        []string
	}{
		{"one", "\n" + fullJSON, []string{"config 1 (line 2): amelia"}},
		{"byte order mark", "\ufeff" + one, []string{"config 1 (line 1): a"}},
		{
			"array", "[\n  " + one + ",\n  {\"clientId\":\n\"b\"}\n, {\"clientId\":\"c\"} ]\n",
			[]string{"config 1 (line 2): a", "config 2 (line 3): b", "config 3 (line 5): c"},
		},
		{"empty array", "[ ]", nil},
		{
			"lines", one + "\n\n" + `{"clientId":"b"}` + "\r\n" + `{"clientId":"}{\"]"}`,
			[]string{"config 1 (line 1): a", "config 2 (line 3): b", `config 3 (line 4): }{"]`},
		},
		{"side by side", one + one, []string{"config 1 (line 1): a", "config 2 (line 1): a"}},
		{
			"indented, one after the other", "{\n\"clientId\":\"a\"\n}\n{\n\"clientId\":\"b\"\n}",
			[]string{"config 1 (line 1): a", "config 2 (line 4): b"},
		},
		{"a fault spoils no other line", one + "\n{\"clientId\":}\n{\"clientId\":\"b}\n{\"x\":1}\n7\n\"s\"\n" + one, []string{
			"config 1 (line 1): a",
			"config 2 (line 2): ! invalid JSON at line 2, column 13: invalid character '}' looking for beginning of value",
			"config 3 (line 3): ! invalid JSON at line 3, column 15: unexpected end of JSON input",
			"config 4 (line 4): ! x: unknown field",
			"config 5 (line 5): ! must be an object, got 7",
			"config 6 (line 6): ! must be an object, got a string",
			"config 7 (line 7): a",
		}},
		{"a fault spoils no other element", `[{"clientId":1},` + one + `,x,` + one + `]`, []string{
			"config 1 (line 1): ! clientId: must be a string, got 1", "config 2 (line 1): a",
			"config 3 (line 1): ! invalid JSON at line 1, column 1: invalid character 'x' looking for beginning of value",
			"config 4 (line 1): a",
		}},
		{"empty", "", []string{"config 1 (line 1): ! must not be empty"}},
		{"blank", " \n\n", []string{"config 1 (line 1): ! must not be empty"}},
		{"not closed", "[" + one + "\n", []string{"config 1 (line 1): a", "config 2 (line 2): ! line 2: the array is not closed"}},
		{"comma at the end", "[" + one + ",]", []string{"config 1 (line 1): a", "config 2 (line 1): ! line 1: the array ends after a comma"}},
		{"no comma", "[" + one + one + "]", []string{"config 1 (line 1): a", "config 2 (line 1): ! line 1: expected a comma or the end of the array, got '{'"}},
		{"after the array", "[" + one + "]\n" + one, []string{"config 1 (line 1): a", "config 2 (line 2): ! line 2: unexpected '{' after the array"}},
		{
			"too large", one + `{"clientId":"` + strings.Repeat("a", MaxConfigBytes) + `"}`,
			[]string{"config 1 (line 1): a", "config 2 (line 1): ! line 1: a config is larger than 262144 bytes"},
		},
		{"cut off", `{"clientId":"a"`, []string{"config 1 (line 1): ! invalid JSON at line 1, column 15: unexpected end of JSON input"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var got []string
			for place, d := range DecodeClients(strings.NewReader(test.input)) {
				if d.Err != nil {
					got = append(got, place.String()+": ! "+d.Err.Error())
				} else {
					got = append(got, place.String()+": "+d.Client.ClientID)
				}
			}
			assert.Equal(t, test.want, got)
		})
	}
}

// manyConfigs is a stream of n configs, made as it is read.
type manyConfigs struct {
	left int
	rest []byte
}

var errStream = errors.New("the pipe broke")

func (m *manyConfigs) Read(p []byte) (int, error) {
	if len(m.rest) == 0 {
		if m.left == 0 {
			return 0, errStream
		}
		m.left--
		m.rest = []byte(strings.ReplaceAll(fullJSON, "\n", " ") + "\n")
	}
	n := copy(p, m.rest)
	m.rest = m.rest[n:]
	return n, nil
}

func TestDecodeClientsStreams(t *testing.T) {
	const n = 2000
	count := 0
	for place, d := range DecodeClients(&manyConfigs{left: n}) {
		count++
		require.Equal(t, Place{count, count}, place)
		if count > n {
			require.ErrorIs(t, d.Err, errStream)
			continue
		}
		require.NoError(t, d.Err)
	}
	assert.Equal(t, n+1, count)

	stream := &manyConfigs{left: n}
	for range DecodeClients(stream) {
		break
	}
	assert.Greater(t, stream.left, n-200, "what nobody asks for is not read")
}

func TestDecodedPrepare(t *testing.T) {
	const input = `{"clientId":"Amelia","domains":{"production":"a.example","edit":7},"settings":{"idle":1,"idleTimeoutMinutes":0}}`
	for _, d := range DecodeClients(strings.NewReader(input)) {
		_, err := d.Prepare(Rules{})
		list := faultStrings(t, err)
		assert.Contains(t, list, "domains.edit: must be a string, got 7")
		assert.Contains(t, list, "settings.idle: unknown field")
		assert.Contains(t, list, "settings.idleTimeoutMinutes: must be between 1 and 1440, got 0")
		assert.Contains(t, list, "repository.url: must not be empty")
		assert.NotContains(t, list, "domains.edit: must not be empty", "one fault a field")
		assert.Len(t, list, 8)
	}
	_, err := Decoded{Err: errStream}.Prepare(Rules{})
	assert.Equal(t, errStream, err)
}
