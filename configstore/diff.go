package configstore

import (
	"bytes"
	"encoding/json"
	"maps"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"
)

// FieldChange is a field in which two configurations of a client differ. It never holds
// a key, nor the value of a variable of the build.
type FieldChange struct {
	// Path names the field as in Fault.
	Path string `json:"path"`
	// Old and New are its values; nil where it is absent.
	Old json.RawMessage `json:"old,omitempty"`
	New json.RawMessage `json:"new,omitempty"`
}

// Diff returns the fields in which two configurations differ, by their paths; none where
// they are stored alike. Unknown fields count. A list is one field. A deploy key is shown
// as by DeployKey.String and a variable of the build redacted, so that one in the place of
// another has equal values.
func Diff(before, after Client) ([]FieldChange, error) {
	was, err := fieldsOf(before)
	if err != nil {
		return nil, err
	}
	is, err := fieldsOf(after)
	if err != nil {
		return nil, err
	}
	paths := maps.Clone(is)
	maps.Copy(paths, was)
	var changes []FieldChange
	for _, path := range slices.Sorted(maps.Keys(paths)) {
		if !bytes.Equal(was[path], is[path]) {
			changes = append(changes, FieldChange{Path: path, Old: show(path, was[path]), New: show(path, is[path])})
		}
	}
	return changes, nil
}

// fieldsOf returns the values of a configuration, as it is stored, by their paths. An
// empty object is no field.
func fieldsOf(c Client) (map[string]json.RawMessage, error) {
	encoded, err := EncodeStored(c)
	if err != nil {
		return nil, err
	}
	fields := make(map[string]json.RawMessage)
	return fields, flatten(fields, "", encoded)
}

func flatten(fields map[string]json.RawMessage, path string, value json.RawMessage) error {
	if len(value) == 0 || value[0] != '{' {
		fields[path] = value
		return nil
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(value, &members); err != nil {
		return err
	}
	for name, member := range members {
		if err := flatten(fields, joinPath(path, escapeName(name)), member); err != nil {
			return err
		}
	}
	return nil
}

// show returns a value as it may be shown to whoever sees what is printed unasked, as in
// the log of a deployment: keys, variables and credentials in a URL are redacted.
func show(path string, value json.RawMessage) json.RawMessage {
	var text string
	if value == nil || json.Unmarshal(value, &text) != nil {
		return value // these are strings
	}
	switch {
	case path == "repository.deployKey":
		text = DeployKey(text).String()
	case strings.HasPrefix(path, "build.env."):
		text = redactedKey
	case path == "repository.url": // which none of ours has, but older ones may
		u, err := url.Parse(text)
		if err != nil || u.User == nil || u.Scheme == "ssh" {
			return value
		}
		u.User = url.User("redacted")
		text = u.String()
	default:
		return value
	}
	shown, err := marshal(text)
	if err != nil {
		return nil // a string is always encoded
	}
	return shown
}

// String is "path: old → new", or what was added to a list and removed from it. Long
// values are cut.
func (f FieldChange) String() string {
	if added, removed, ok := f.elements(); ok {
		var parts []string
		for _, e := range removed {
			parts = append(parts, "removed "+cut(e))
		}
		for _, e := range added {
			parts = append(parts, "added "+cut(e))
		}
		return f.Path + ": " + strings.Join(parts, ", ")
	}
	text := f.Path + ": " + shownValue(f.Old) + " → " + shownValue(f.New)
	if bytes.Equal(f.Old, f.New) {
		text += " (another)"
	}
	return text
}

// elements returns what two lists have that the other has not; ok is false where the
// values are not lists, or where they differ in their order alone.
func (f FieldChange) elements() (added, removed []string, ok bool) {
	old, oldOK := list(f.Old)
	now, nowOK := list(f.New)
	if !oldOK || !nowOK {
		return nil, nil, false
	}
	without := func(a, b []string) []string {
		return slices.DeleteFunc(slices.Clone(a), func(e string) bool { return slices.Contains(b, e) })
	}
	added, removed = without(now, old), without(old, now)
	return added, removed, len(added)+len(removed) > 0
}

// list returns the elements of a list, each as JSON; an absent one is empty.
func list(value json.RawMessage) ([]string, bool) {
	if value == nil {
		return nil, true
	}
	var elements []json.RawMessage
	if value[0] != '[' || json.Unmarshal(value, &elements) != nil {
		return nil, false
	}
	texts := make([]string, len(elements))
	for i, e := range elements {
		texts[i] = string(e)
	}
	return texts, true
}

func shownValue(value json.RawMessage) string {
	if value == nil {
		return "(none)"
	}
	return cut(string(value))
}

// cut shortens a value that is too long for a line.
func cut(s string) string {
	const limit = 200
	if len(s) <= limit {
		return s
	}
	end := limit
	for !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + "…"
}
