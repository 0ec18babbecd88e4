package bulk

import (
	"bytes"
	"encoding/json"
	"slices"
)

// attributeTypes are the names by which DynamoDB JSON types a value, {"S": "text"}.
var attributeTypes = []string{"S", "N", "B", "BOOL", "NULL", "L", "M", "SS", "NS", "BS"}

// isTyped reports whether an object's members are values of DynamoDB JSON. No
// configuration looks like that: the members of its objects have longer names.
func isTyped(item object) bool {
	if len(item) == 0 {
		return false
	}
	for _, value := range item {
		if _, _, ok := typed(value); !ok {
			return false
		}
	}
	return true
}

// typed returns the one type and value of a typed value.
func typed(raw json.RawMessage) (name string, value json.RawMessage, ok bool) {
	var members object
	if raw = bytes.TrimSpace(raw); len(raw) == 0 || raw[0] != '{' || json.Unmarshal(raw, &members) != nil || len(members) != 1 {
		return "", nil, false
	}
	for name, value = range members {
		return name, bytes.TrimSpace(value), slices.Contains(attributeTypes, name)
	}
	return "", nil, false
}

// untyped turns an item of DynamoDB JSON into plain JSON: sets become lists, bytes stay
// in base64.
func untyped(item object) (object, error) {
	plain := make(object, len(item))
	for name, value := range item {
		v, err := untype(name, value)
		if err != nil {
			return nil, err
		}
		plain[name] = v
	}
	return plain, nil
}

func untype(path string, raw json.RawMessage) (json.RawMessage, error) {
	name, value, ok := typed(raw)
	if !ok {
		return nil, fault(path, "must be a value of DynamoDB JSON")
	}
	switch name {
	case "NULL":
		return json.RawMessage("null"), nil
	case "N":
		return number(path, value)
	case "NS":
		return untypeList(path, value, number)
	case "L":
		return untypeList(path, value, untype)
	case "M":
		var members object
		if json.Unmarshal(value, &members) != nil {
			return nil, fault(path, "must be a map")
		}
		plain := make(object, len(members))
		for member, v := range members {
			p, err := untype(path+"."+member, v)
			if err != nil {
				return nil, err
			}
			plain[member] = p
		}
		return encode(plain), nil
	default: // S, B, BOOL, SS and BS are what they are in JSON
		return value, nil
	}
}

func untypeList(path string, raw json.RawMessage, untype func(string, json.RawMessage) (json.RawMessage, error)) (json.RawMessage, error) {
	var elements []json.RawMessage
	if json.Unmarshal(raw, &elements) != nil {
		return nil, fault(path, "must be a list")
	}
	for i, e := range elements {
		v, err := untype(path, e)
		if err != nil {
			return nil, err
		}
		elements[i] = v
	}
	encoded, err := json.Marshal(elements)
	return encoded, err
}

// number undoes the quotes of a number.
func number(path string, raw json.RawMessage) (json.RawMessage, error) {
	var text string
	if json.Unmarshal(raw, &text) != nil || text == "" || text[0] == '"' || !json.Valid([]byte(text)) {
		return nil, fault(path, "must be a number")
	}
	return json.RawMessage(text), nil
}
