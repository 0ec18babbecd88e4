//go:build unix

package main

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.VerifyTestMain(m) }

func TestRunsUntilItsInputEnds(t *testing.T) {
	stdin, parent, err := os.Pipe()
	require.NoError(t, err)
	defer stdin.Close()
	output, stdout := io.Pipe()
	ended := make(chan error)
	go func() {
		ended <- run([]string{"-dir", t.TempDir(), "-cluster", "mine", "-moods", `{"pull": "1h"}`, "--", "true"}, stdin, stdout)
	}()
	var where struct {
		Endpoint string
		Port     int
	}
	require.NoError(t, json.NewDecoder(output).Decode(&where))
	assert.NotZero(t, where.Port)
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Get(where.Endpoint + "/-/moods")
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	assert.JSONEq(t, `{"pull": "1h0m0s"}`, string(body))
	require.NoError(t, parent.Close())
	require.NoError(t, <-ended)
}

func TestRefuses(t *testing.T) {
	for want, args := range map[string][]string{
		"-moods":         {"-moods", "{"},
		"needs a folder": {"--", "true"},
		"not defined":    {"-nonsense"},
	} {
		assert.ErrorContains(t, run(args, os.Stdin, io.Discard), want)
	}
}
