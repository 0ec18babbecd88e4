package caddymodule

import (
	"context"
	"encoding/pem"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/configstore"
)

// sshServes puts an ssh on PATH which runs git's command on this machine and leaves the
// key that it was given in the returned file.
func sshServes(t *testing.T) (key string) {
	t.Helper()
	dir := t.TempDir()
	key = filepath.Join(dir, "key")
	script := `#!/bin/sh
cp "$(echo "$*" | sed -n 's/.*IdentityFile="\([^"]*\)".*/\1/p')" ` + key + `
for command; do :; done
eval "$command"
`
	require.NoError(t, os.WriteFile(filepath.Join(dir, "ssh"), []byte(script), 0o755))
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	return key
}

// TestKeyReferencesFollowTheConfigurationInForce: a row that refers to a key which the
// operator does not allow is routed all the same, and only its sessions cannot wake.
func TestKeyReferencesFollowTheConfigurationInForce(t *testing.T) {
	seen := sshServes(t)
	key := string(pem.EncodeToMemory(&pem.Block{Type: "OPENSSH PRIVATE KEY", Bytes: []byte("openssh-key-v1\x00\x00\x00\x00\x04none and more")}))
	t.Setenv("ACME_KEY", key)
	e := startEdge(t)
	config := fmt.Sprintf(`{
		"clientId": "acme",
		"domains": {"production": "acme.example", "edit": "edit.acme.test", "aliases": ["by-ssh.acme.test"]},
		"repository": {"url": "ssh://git@git.example.com%s/acme.git", "branch": "main", "deployKey": "env:ACME_KEY"},
		"settings": {"containerSize": "small", "idleTimeoutMinutes": 10, "maxConcurrentSessions": 2}
	}`, e.data)
	_, err := decodeClients(strings.NewReader(config), e.app().rules(), func(int) {})
	require.ErrorContains(t, err, "repository.deployKey: must be allowed by the operator: the option deploy_key_prefixes")

	// Something else than our tools writes it.
	c, err := configstore.DecodeStored([]byte(config))
	require.NoError(t, err)
	_, err = e.live().store.Put(context.Background(), c, configstore.AnyVersion)
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		_, ok := e.live().table.Lookup("by-ssh.acme.test")
		return ok
	}, patience, 10*time.Millisecond, "the client is routed")

	created := e.do(http.MethodPost, "edit.acme.test", "/new", http.Header{"Sec-Fetch-Site": {"same-origin"}, "Sec-Fetch-Mode": {"navigate"}})
	require.Equal(t, http.StatusSeeOther, created.status, created.body)
	path := created.header.Get("Location")
	var page answer
	require.Eventually(t, func() bool {
		page = e.get(path)
		return page.status != http.StatusAccepted
	}, patience, 20*time.Millisecond)
	assert.Equal(t, http.StatusServiceUnavailable, page.status, page.body)
	assert.Contains(t, page.body, "The client&#39;s deploy key cannot be read.")
	assert.NotContains(t, page.body, "ACME_KEY", "what the operator must do is for the operator")
	id := strings.Split(path, "/")[2]
	rec, err := e.live().service.Get(context.Background(), id)
	require.NoError(t, err)
	assert.Contains(t, rec.Failure.Detail, "deploy_key_prefixes has no prefix that allows env:ACME_KEY")
	assert.False(t, rec.Failure.Retryable)
	assert.NoFileExists(t, seen)

	live := e.live()
	require.Error(t, e.load("", "deploy_key_prefixes ACME_"))
	require.NoError(t, e.load("", "deploy_key_prefixes env:ACME_"))
	assert.Same(t, live, e.live(), "what is allowed is no part of the state's identity")
	retried := e.do(http.MethodPost, "edit.acme.test", "/.webordinary/sessions/"+id+"/wake", http.Header{"Sec-Fetch-Site": {"same-origin"}})
	require.Equal(t, http.StatusNoContent, retried.status, retried.body)
	got := e.do(http.MethodGet, "edit.acme.test", path, http.Header{"Prefer": {"wait=30"}})
	require.Equal(t, http.StatusOK, got.status, got.body)
	assert.Contains(t, got.body, "It works.")
	given, err := os.ReadFile(seen)
	require.NoError(t, err)
	assert.Equal(t, key, string(given))
}
