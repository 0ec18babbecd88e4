package bulk

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/configstore"
)

// The same configuration in every shape.
const (
	plainConfig = `{"clientId":"amelia","domains":{"production":"www.amelia.example","edit":"edit.amelia.example"},` +
		`"repository":{"url":"https://git.example/amelia.git","branch":"main"},` +
		`"settings":{"containerSize":"small","idleTimeoutMinutes":15,"maxConcurrentSessions":3,"theme":"blue"},"tags":["a","b"]}`
	plainItem = `{"clientId":"amelia","config":` + plainConfig + `,"createdAt":"2024-05-01T10:00:00.000Z","updatedAt":"2024-05-02T10:00:00.000Z"}`
	typedItem = `{"clientId":{"S":"amelia"},"createdAt":{"S":"2024-05-01T10:00:00.000Z"},"config":{"M":{"clientId":{"S":"amelia"},
"domains":{"M":{"production":{"S":"www.amelia.example"},"edit":{"S":"edit.amelia.example"}}},
"repository":{"M":{"url":{"S":"https://git.example/amelia.git"},"branch":{"S":"main"}}},
"settings":{"M":{"containerSize":{"S":"small"},"idleTimeoutMinutes":{"N":"15"},"maxConcurrentSessions":{"N":"3"},"theme":{"S":"blue"}}},
"tags":{"SS":["a","b"]}}}}`
)

func TestRows(t *testing.T) {
	oneLine := strings.ReplaceAll(typedItem, "\n", "")
	for name, test := range map[string]struct {
		input string
		count int
	}{
		"a configuration":          {plainConfig, 1},
		"an array":                 {"[" + plainConfig + ",\n" + plainConfig + "]", 2},
		"one a line":               {plainConfig + "\n" + plainConfig + "\n", 2},
		"an item":                  {plainItem, 1},
		"items in an array":        {"[" + plainItem + "," + plainItem + "]", 2},
		"a typed item":             {typedItem, 1},
		"typed items in an array":  {"[" + typedItem + "]", 1},
		"an export":                {`{"Item":` + oneLine + "}\n" + `{"Item":` + oneLine + "}\n", 2},
		"a scan":                   {`{"Items":[` + typedItem + "," + typedItem + `],"Count":2,"ScannedCount":2,"ConsumedCapacity":null}`, 2},
		"a scan, in another order": {`{"Count":1, "ScannedCount":1, "Items" : [` + typedItem + `]}` + "\n", 1},
		"an untyped scan":          {`{"Items":[` + plainItem + `], "NextToken": null}`, 1},
		"an empty scan":            {`{"Items":[],"Count":0}`, 0},
		"an item without an id in its config": {
			`{"clientId":"amelia","config":` + strings.Replace(plainConfig, `"clientId":"amelia",`, "", 1) + `}`, 1,
		},
	} {
		t.Run(name, func(t *testing.T) {
			n := 0
			for place, row := range Rows(strings.NewReader(test.input)) {
				n++
				assert.Equal(t, n, place.Index)
				require.NoError(t, row.Err)
				assert.Equal(t, "amelia", row.Client.ClientID)
				assert.Equal(t, "edit.amelia.example", row.Client.Domains.Edit)
				assert.Equal(t, 15, row.Client.Settings.IdleTimeoutMinutes)
				assert.Equal(t, `"blue"`, string(row.Client.Unknown["settings.theme"]))
				assert.JSONEq(t, `["a","b"]`, string(row.Client.Unknown["tags"]))
				assert.Empty(t, row.Beside)
			}
			assert.Equal(t, test.count, n)
		})
	}
}

func TestRowsValues(t *testing.T) {
	item := `{"clientId":{"S":"amelia"},"owner":{"S":"jo"},"config":{"M":{"list":{"L":[{"N":"1.5e3"},{"BOOL":true},{"NULL":true},{"B":"AAE="}]},` +
		`"numbers":{"NS":["1","2"]},"bytes":{"BS":["AAE="]},"empty":{"M":{}},"none":{"NULL":true}}}}`
	for _, row := range Rows(strings.NewReader(item)) {
		require.NoError(t, row.Err)
		assert.Equal(t, []string{"owner"}, row.Beside)
		for path, want := range map[string]string{
			"list": `[1.5e3,true,null,"AAE="]`, "numbers": `[1,2]`, "bytes": `["AAE="]`, "empty": `{}`, "none": `null`,
		} {
			assert.Equal(t, want, string(row.Client.Unknown[path]), path)
		}
	}
}

func TestRowsFaults(t *testing.T) {
	for name, test := range map[string]struct{ input, want string }{
		"nothing":               {"", "must not be empty"},
		"no object":             {"7", "must be an object"},
		"broken JSON":           {`{"clientId":`, "invalid JSON"},
		"no config":             {`{"clientId":"a","config":7}`, "config: must be an object"},
		"another's config":      {`{"clientId":"bramble","config":{"clientId":"amelia"}}`, "clientId: is not that of the row"},
		"no id":                 {`{"config":{}}`, "clientId: must not be empty"},
		"a field's type":        {`{"clientId":"a","domains":7}`, "domains: must be an object, got 7"},
		"a typed field's type":  {`{"clientId":{"S":"a"},"config":{"M":{"settings":{"M":{"idleTimeoutMinutes":{"S":"x"}}}}}}`, "settings.idleTimeoutMinutes: must be a whole number"},
		"a number that is none": {`{"clientId":{"S":"a"},"config":{"M":{"x":{"N":"NaN"}}}}`, "config.x: must be a number"},
		"a map that is none":    {`{"clientId":{"S":"a"},"config":{"M":7}}`, "config: must be a map"},
		"a set that is none":    {`{"clientId":{"S":"a"},"config":{"M":{"x":{"NS":7}}}}`, "config.x: must be a list"},
		"a value without type":  {`{"clientId":{"S":"a"},"config":{"M":{"x":7}}}`, "config.x: must be a value of DynamoDB JSON"},
		"a page of a scan":      {`{"Items":[],"LastEvaluatedKey":{"clientId":{"S":"a"}}}`, "export all of them"},
		"a page of a command":   {`{"Items":[],"NextToken":"ey"}`, "export all of them"},
		"something after it":    {`{"Items":[]} {"Items":[]}`, "something follows it"},
	} {
		t.Run(name, func(t *testing.T) {
			var errs []string
			for _, row := range Rows(strings.NewReader(test.input)) {
				if row.Err != nil {
					errs = append(errs, row.Err.Error())
				}
			}
			require.Len(t, errs, 1)
			assert.Contains(t, errs[0], test.want)
		})
	}
}

// A row that cannot be read spoils no other.
func TestRowsGoOn(t *testing.T) {
	var ids []string
	var lines []int
	for place, row := range Rows(strings.NewReader(plainItem + "\n{\"Item\": oops}\n" + plainConfig)) {
		lines = append(lines, place.Line)
		if row.Err == nil {
			ids = append(ids, row.Client.ClientID)
		}
	}
	assert.Equal(t, []string{"amelia", "amelia"}, ids)
	assert.Equal(t, []int{1, 2, 3}, lines)
}

func FuzzRows(f *testing.F) {
	for _, seed := range []string{
		plainConfig, plainItem, typedItem, `{"Items":[` + typedItem + `],"Count":1}`, `{"Item":` + typedItem + `}`,
		`{"a":{"S":"x"}}`, `{"a":{"M":{"b":{"L":[{"N":"1"}]}}}}`, `[{"config":{}},]`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, input []byte) {
		for _, row := range Rows(strings.NewReader(string(input))) {
			if row.Err == nil {
				// What was read can be stored, and read again with nothing lost.
				encoded, err := configstore.EncodeStored(row.Client)
				require.NoError(t, err)
				again, err := configstore.DecodeStored(encoded)
				require.NoError(t, err)
				assert.True(t, slices.Equal(keys(row.Client), keys(again)), "%q", encoded)
			}
		}
	})
}

func keys(c configstore.Client) []string {
	var names []string
	for name := range c.Unknown {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
