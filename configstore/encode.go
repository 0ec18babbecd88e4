package configstore

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"strings"
)

// EncodeStored returns a configuration as a store holds it: Client.Unknown is written
// back to where it was read from. DecodeStored reads it.
func EncodeStored(c Client) ([]byte, error) {
	known, err := marshal(c)
	if err != nil {
		return nil, fmt.Errorf("encoding config of client %q: %w", c.ClientID, err)
	}
	if len(c.Unknown) == 0 {
		return known, nil
	}
	encoded, err := withUnknown(known, c.Unknown)
	if err != nil {
		return nil, fmt.Errorf("encoding unknown fields of client %q: %w", c.ClientID, err)
	}
	return encoded, nil
}

// withUnknown puts fields into a JSON object at their paths, which are one or two names long.
func withUnknown(object []byte, unknown map[string]json.RawMessage) ([]byte, error) {
	var root map[string]json.RawMessage
	if err := json.Unmarshal(object, &root); err != nil {
		return nil, err
	}
	nested := make(map[string]map[string]json.RawMessage)
	for path, value := range unknown {
		parent, name := splitPath(path)
		if parent == "" {
			root[name] = value
			continue
		}
		if nested[parent] == nil {
			nested[parent] = make(map[string]json.RawMessage)
		}
		nested[parent][name] = value
	}
	for parent, fields := range nested {
		merged := fields
		if held, ok := root[parent]; ok {
			merged = nil
			if err := json.Unmarshal(held, &merged); err != nil {
				return nil, fmt.Errorf("%s: %w", parent, err)
			}
			maps.Copy(merged, fields)
		}
		encoded, err := marshal(merged)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", parent, err)
		}
		root[parent] = encoded
	}
	return marshal(root)
}

// marshal leaves <, > and & as they are, so that unknown fields keep their bytes.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// splitPath undoes joinPath(parent, escapeName(name)); parents are our own names and
// hold neither dots nor backslashes.
func splitPath(path string) (parent, name string) {
	escaped := path
	if i := strings.IndexByte(path, '.'); i > 0 && path[i-1] != '\\' {
		parent, escaped = path[:i], path[i+1:]
	}
	var b strings.Builder
	for i := 0; i < len(escaped); i++ {
		if escaped[i] == '\\' && i+1 < len(escaped) {
			i++
		}
		b.WriteByte(escaped[i])
	}
	return parent, b.String()
}

// MergeUnknown returns c with the unknown fields of a stored client added, save those
// that c brings itself. Stores call it before they replace a row.
func MergeUnknown(c Client, stored map[string]json.RawMessage) Client {
	if len(stored) == 0 {
		return c
	}
	merged := make(map[string]json.RawMessage, len(stored)+len(c.Unknown))
	maps.Copy(merged, stored)
	maps.Copy(merged, c.Unknown)
	c.Unknown = merged
	return c
}

// UnknownPath is the key in Client.Unknown of a field of the configuration ("" for parent)
// or of one of its objects ("settings").
func UnknownPath(parent, name string) string { return joinPath(parent, escapeName(name)) }
