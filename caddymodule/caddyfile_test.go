package caddymodule

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/standard"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the golden files anew")

// separator stands between a Caddyfile and the JSON it adapts to, or the error it gives.
const separator = "\n----------\n"

// testGuests takes the guests of this package's tests from a message: they are registered, too.
var testGuests = strings.NewReplacer("counting, ", "", ", counting", "", "remote, ", "", ", remote", "", ", stage", "")

func TestCaddyfileGoldens(t *testing.T) {
	files, err := filepath.Glob("testdata/caddyfile/*.txt")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	adapter := caddyconfig.GetAdapter("caddyfile")
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			content, err := os.ReadFile(file)
			require.NoError(t, err)
			input, want, _ := strings.Cut(string(content), separator)

			var got string
			out, _, err := adapter.Adapt([]byte(input), map[string]any{"filename": "Caddyfile"})
			if err != nil {
				got = testGuests.Replace(err.Error())
			} else {
				var b bytes.Buffer
				require.NoError(t, json.Indent(&b, out, "", "\t"))
				got = b.String()
			}
			if *update {
				require.NoError(t, os.WriteFile(file, []byte(input+separator+got+"\n"), 0o644))
				return
			}
			assert.Equal(t, strings.TrimSpace(want), strings.TrimSpace(got))
		})
	}
}
