package configstore

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"
)

func FuzzDecodeClient(f *testing.F) {
	f.Add([]byte(fullJSON))
	f.Add([]byte(`{"clientId":"a","clientId":"b","x":{"y":[null]},"settings":{"z":1e9}}`))
	f.Add([]byte(`{"a.b":1,"domains":{"":2,"\\.":3,"aliases":["\ud800"]},"build":{"env":{"A":"\u0000"}}}`))
	f.Add([]byte(`{"clientId":"amelia"} x`))
	f.Add([]byte("[\n{},"))
	f.Add([]byte(`{"infrastructure":null,"build":{"new":{"<&>":1E+2}},"repository":{"deployKey":"file:/k","x":-0.0}}`))
	rules := Rules{AllowFile: true, Patterns: []HostPattern{mustPattern(f, "edit.{client}.webordinary.com")}}
	f.Fuzz(func(t *testing.T, data []byte) {
		strict, strictErr := DecodeClient(data)
		if strictErr != nil {
			faultStrings(t, strictErr)
		}
		if prepared, err := Prepare(strict, rules); err == nil && strictErr == nil {
			again, err := Prepare(prepared, rules)
			require.NoError(t, err)
			require.Equal(t, prepared, again, "what was normalised stays as it is")
			require.Empty(t, (Record{Client: prepared}).Entry().Fault(), "what is valid can be routed")
		}
		stored, err := DecodeStored(data)
		if err != nil {
			require.Error(t, strictErr, "what is refused from a store is refused from an operator")
			return
		}
		if strictErr == nil {
			require.Equal(t, strict, stored)
			require.Empty(t, strict.Unknown)
		}
		encoded, err := EncodeStored(stored)
		require.NoError(t, err)
		again, err := DecodeStored(encoded)
		require.NoError(t, err)
		if len(stored.Domains.Aliases) == 0 {
			stored.Domains.Aliases = nil // an empty list is as good as none
		}
		require.Equal(t, stored, again)
		twice, err := EncodeStored(again)
		require.NoError(t, err)
		require.Equal(t, string(encoded), string(twice))
		requireUnknownKept(t, data, encoded)
	})
}

// knownFields are those of a configuration, and of each object in it.
var knownFields = map[string][]string{
	"":               {"clientId", "domains", "repository", "infrastructure", "settings", "build", "disabled"},
	"domains":        {"production", "edit", "aliases"},
	"repository":     {"url", "branch", "deployKey", "directory"},
	"infrastructure": {"targetGroupArn", "certificateArn", "hostedZoneId"},
	"settings":       {"containerSize", "idleTimeoutMinutes", "maxConcurrentSessions", "maxLifetimeMinutes", "wakeOn"},
	"build":          {"install", "command", "output", "mode", "nodeVersion", "env", "healthPath"},
}

// requireUnknownKept compares the fields that nobody knows by another decoder.
func requireUnknownKept(t *testing.T, stored, encoded []byte) {
	t.Helper()
	before, after := unknownFields(t, stored), unknownFields(t, encoded)
	require.Equal(t, before, after)
}

// unknownFields returns the fields of a configuration that are not known, by their place.
func unknownFields(t *testing.T, data []byte) map[[2]string]string {
	t.Helper()
	fields := make(map[[2]string]string)
	collect := func(object string, raw json.RawMessage) map[string]json.RawMessage {
		var members map[string]json.RawMessage
		require.NoError(t, json.Unmarshal(raw, &members))
		known := make(map[string]json.RawMessage)
		for name, value := range members {
			isKnown := false
			for _, k := range knownFields[object] {
				isKnown = isKnown || k == name
			}
			if isKnown {
				known[name] = value
				continue
			}
			var b bytes.Buffer
			require.NoError(t, json.Compact(&b, value))
			fields[[2]string{object, name}] = b.String()
		}
		return known
	}
	for name, value := range collect("", data) {
		if _, ok := knownFields[name]; ok {
			collect(name, value) // null has none
		}
	}
	return fields
}

// streamed is one step of a stream, comparable.
type streamed struct {
	place  Place
	client string
	err    string
}

func streamOf(t *testing.T, r io.Reader) (steps []streamed, clients []Client) {
	t.Helper()
	for place, d := range DecodeClients(r) {
		encoded, err := EncodeStored(d.Client)
		require.NoError(t, err)
		s := streamed{place: place, client: string(encoded)}
		if d.Err != nil {
			s.err = d.Err.Error()
		}
		steps, clients = append(steps, s), append(clients, d.Client)
	}
	return steps, clients
}

func FuzzDecodeClients(f *testing.F) {
	f.Add([]byte(fullJSON + "\n" + fullJSON))
	f.Add([]byte("\ufeff [\n" + `{"clientId":"a"}, {"clientId":"}]\""}` + "\n]\n"))
	f.Add([]byte(`{"clientId":"a` + "\n" + `{"clientId":"b"}` + "\n7 x\"s\"{}"))
	f.Add([]byte(`[{},x,{}]`))
	f.Add([]byte(`[{}{}]`))
	f.Add([]byte(`[]]`))
	f.Add([]byte("{\"a\":\"\\\""))
	f.Fuzz(func(t *testing.T, data []byte) {
		steps, clients := streamOf(t, bytes.NewReader(data))
		lines := 1 + bytes.Count(data, []byte("\n"))
		for i, s := range steps {
			require.Equal(t, i+1, s.place.Index)
			require.LessOrEqual(t, s.place.Line, lines)
			if i > 0 {
				require.GreaterOrEqual(t, s.place.Line, steps[i-1].place.Line)
			}
		}
		bytewise, _ := streamOf(t, iotest.OneByteReader(bytes.NewReader(data)))
		require.Equal(t, steps, bytewise, "how a stream is cut makes no difference")

		if objects, ok := wholeObjects(data); ok {
			require.Len(t, steps, len(objects))
			for i, object := range objects {
				_, err := DecodeClient(object)
				require.Equal(t, err == nil, steps[i].err == "", steps[i].err)
			}
		}
		requireStreamsAlike(t, clients)
	})
}

// wholeObjects cuts a well-formed stream of objects by encoding/json; it is false for any other.
func wholeObjects(data []byte) (objects []json.RawMessage, ok bool) {
	if trimmed := bytes.TrimLeft(data, " \t\r\n"); len(trimmed) > 0 && trimmed[0] == '[' {
		if json.Unmarshal(data, &objects) != nil {
			return nil, false
		}
	} else {
		dec := json.NewDecoder(bytes.NewReader(data))
		for {
			var object json.RawMessage
			if err := dec.Decode(&object); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				return nil, false
			}
			objects = append(objects, object)
		}
		if len(objects) == 0 {
			return nil, false
		}
	}
	for _, object := range objects {
		if object[0] != '{' || len(object) > MaxConfigBytes {
			return nil, false
		}
	}
	return objects, true
}

// requireStreamsAlike writes clients in both forms of a stream and reads them back.
func requireStreamsAlike(t *testing.T, clients []Client) {
	t.Helper()
	if len(clients) == 0 {
		return
	}
	var parts [][]byte
	for _, c := range clients {
		encoded, err := EncodeStored(c)
		require.NoError(t, err)
		parts = append(parts, encoded)
	}
	_, lines := streamOf(t, bytes.NewReader(bytes.Join(parts, []byte("\n"))))
	array := append(append([]byte("["), bytes.Join(parts, []byte(","))...), ']')
	_, elements := streamOf(t, bytes.NewReader(array))
	require.Equal(t, lines, elements)
	require.Len(t, lines, len(clients))
}
