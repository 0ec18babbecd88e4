package bulk

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"

	"github.com/webordinary/router/configstore"
)

// maxRowBytes bounds one row of a file: DynamoDB's largest item, written out with its types.
const maxRowBytes = 2 << 20

// Row is a client as older tools wrote it.
type Row struct {
	// Client is the configuration as by configstore.DecodeStored: fields that are not
	// known are in Client.Unknown.
	Client configstore.Client
	// Beside are the row's attributes beside its configuration that no configuration
	// can hold.
	Beside []string
	// Err is a ValidationError, or says why the file cannot be read on.
	Err error
}

// Rows reads the shapes in which older tools and exports hold clients, in one value, an
// array, or one value after the other: configurations, items with a configuration
// ({"clientId": …, "config": {…}}), the same as DynamoDB JSON, bare or as {"Item": {…}}
// as its export writes them, and the answer of a scan, {"Items": […]}.
func Rows(r io.Reader) iter.Seq2[configstore.Place, Row] {
	return func(yield func(configstore.Place, Row) bool) {
		for place, value := range configstore.Values(r, maxRowBytes, "Items") {
			row := Row{Err: value.Err}
			if row.Err == nil {
				row = decodeRow(value.Raw)
			}
			if !yield(place, row) {
				return
			}
		}
	}
}

// object is a JSON object whose members are not decoded yet.
type object map[string]json.RawMessage

// rowAttributes are those of a row that stores keep themselves.
var rowAttributes = []string{"clientId", "config", "createdAt", "updatedAt", "version"}

func decodeRow(raw []byte) Row {
	item, err := decodeItem(raw)
	if err != nil {
		return Row{Err: err}
	}
	config, ok := item["config"]
	if !ok {
		var row Row
		row.Client, row.Err = configstore.DecodeStored(encode(item))
		return row
	}
	id, named := item["clientId"]
	if !named {
		return Row{Err: fault("clientId", "must not be empty")}
	}
	var members object
	if config = bytes.TrimSpace(config); config[0] != '{' || json.Unmarshal(config, &members) != nil {
		return Row{Err: fault("config", "must be an object")}
	}
	if _, ok := members["clientId"]; !ok {
		members["clientId"] = id
	}
	var row Row
	row.Client, row.Err = configstore.DecodeStored(encode(members))
	var rowID string
	if row.Err == nil && (json.Unmarshal(id, &rowID) != nil || rowID != row.Client.ClientID) {
		row.Err = fault("clientId", "is not that of the row")
	}
	for _, name := range slices.Sorted(maps.Keys(item)) {
		if !slices.Contains(rowAttributes, name) {
			row.Beside = append(row.Beside, name)
		}
	}
	return row
}

// decodeItem returns the row of a value as plain JSON.
func decodeItem(raw []byte) (object, error) {
	var item object
	if raw = bytes.TrimSpace(raw); len(raw) == 0 || raw[0] != '{' {
		return nil, fault("", "must be an object")
	}
	if err := json.Unmarshal(raw, &item); err != nil {
		return nil, fault("", "invalid JSON: "+err.Error())
	}
	if inner, ok := item["Item"]; ok && len(item) == 1 {
		return decodeItem(inner)
	}
	if !isTyped(item) {
		return item, nil
	}
	return untyped(item)
}

func fault(path, message string) error {
	return &configstore.ValidationError{Faults: []configstore.Fault{{Path: path, Message: message}}}
}

// encode undoes the decoding of an object.
func encode(o object) []byte {
	encoded, err := json.Marshal(o)
	if err != nil {
		panic(fmt.Sprintf("bulk: encoding what was decoded: %v", err))
	}
	return encoded
}
