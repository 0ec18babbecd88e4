package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/e2e/harness"
)

// A load of very many clients that is interrupted says how far it is, and the same
// command goes on from there.
func TestPutOfVeryManyIsInterrupted(t *testing.T) {
	parallel(t)
	store := harness.NewStore(t)
	store.CreateTables()
	e := harness.New(t, store.Edge(nil, harness.Options{}))
	const n = 8_000
	var all strings.Builder
	for i := range n {
		all.WriteString(configured(t, fmt.Sprintf("c%05d", i), fmt.Sprintf("edit.c%05d.example", i), false) + "\n")
	}
	require.NoError(t, os.WriteFile(filepath.Join(filepath.Dir(e.Config), "clients.jsonl"), []byte(all.String()), 0o600))

	r := e.Shell(`caddy webordinary client put - <clients.jsonl 2>errors & pid=$!
		until grep -q 'clients written' errors || ! kill -0 $pid; do sleep 0.1; done
		kill -INT $pid
		wait $pid; echo "code $?"; cat errors`)
	assert.Contains(t, r.Out, "code 1\n")
	assert.Regexp(t, `(?m)^\d+ of 8000 clients written \(\d+ %\), \d+/s, \w+ left$`, r.Out)
	m := regexp.MustCompile(`interrupted: (\d+) of 8000 clients are written; the same command again goes on`).FindStringSubmatch(r.Out)
	require.NotNil(t, m, r.Out)
	written, err := strconv.Atoi(m[1])
	require.NoError(t, err)
	assert.Equal(t, written, strings.Count(e.CLI("client", "list", "--links"), "\n"), "as many as it says")

	r = e.RunWithin(5*harness.Patience, nil, "webordinary", "client", "put", filepath.Join(filepath.Dir(e.Config), "clients.jsonl"))
	require.Zero(t, r.Code, r.Err)
	assert.Equal(t, fmt.Sprintf("%d clients: %d created, 0 changed, %d unchanged\n", n, n-written, written), r.Out)
}
