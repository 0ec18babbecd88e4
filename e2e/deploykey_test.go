package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/e2e/harness"
	"github.com/webordinary/router/internal/gitserver"
)

const secretARN = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:webordinary/cedar-AbC123"

// TestDeployKeyReferences wakes a client of each kind of reference, with a real ssh server,
// and looks for the keys wherever they could be seen.
func TestDeployKeyReferences(t *testing.T) {
	parallel(t)
	sshd := gitserver.NewSSHD(t)
	keys := map[string]string{} // a client's id → its key
	files := map[string]string{}
	for _, id := range []string{"amelia", "bramble", "cedar"} {
		files[id] = sshd.Allow(id)
		text, err := os.ReadFile(files[id])
		require.NoError(t, err)
		keys[id] = string(text)
	}
	secrets := httptest.NewServer(secretsManager(t, secretARN, "cedar", keys["cedar"]))
	defer secrets.Close()
	e := harness.New(t, harness.Options{
		Config: func(c string) string {
			return strings.Replace(c, "webordinary {", "webordinary {\n\t\tdeploy_key_prefixes file:"+filepath.Dir(files["amelia"])+
				"/{client} env:DEPLOY_KEY_{client} arn:aws:secretsmanager:eu-west-1:123456789012:secret:webordinary/", 1)
		},
		Env: []string{
			"DEPLOY_KEY_BRAMBLE=" + keys["bramble"],
			"AWS_ENDPOINT_URL_SECRETS_MANAGER=" + secrets.URL, "AWS_ACCESS_KEY_ID=example", "AWS_SECRET_ACCESS_KEY=example",
			"AWS_CONFIG_FILE=/dev/null", "AWS_SHARED_CREDENTIALS_FILE=/dev/null",
		},
	})
	sites := map[string]*harness.Site{}
	for id, reference := range map[string]string{
		"amelia": "file:" + files["amelia"], "bramble": "env:DEPLOY_KEY_BRAMBLE", "cedar": secretARN,
	} {
		sites[id] = e.NewSite(id, harness.SiteOptions{Client: func(c map[string]any) {
			repository := section(c, "repository")
			repository["url"] = sshd.URL(strings.TrimPrefix(repository["url"].(string), "file://"))
			repository["deployKey"] = reference
		}})
	}
	// Another's key is out of reach, whatever it is called.
	for _, reference := range []string{"file:" + files["amelia"], "env:DEPLOY_KEY_AMELIA", "env:PATH"} {
		r := e.Run(config(t, "bramble", func(c map[string]any) {
			section(c, "repository")["url"] = "git@git.example:bramble.git"
			section(c, "repository")["deployKey"] = reference
		}), "webordinary", "client", "put", "-")
		assert.Equal(t, 1, r.Code)
		assert.Contains(t, r.Err, "repository.deployKey: must be allowed by the operator: the option deploy_key_prefixes")
	}
	assert.Contains(t, e.CLI("client", "get", "amelia"), "file:"+files["amelia"], "a reference is no secret")

	e.Start()
	sshd.Hold()
	created := map[string]*harness.Session{}
	for id, site := range sites {
		created[id] = e.CreateSession(site)
		e.Do(created[id].Document("/"))
	}
	harness.EventuallyEvery(t, harness.Patience, 100*time.Millisecond, "all are at the ssh server, each with its own key", func() bool {
		return len(sshd.Used()) == 3
	})
	assert.Len(t, keyFiles(t, e, keys), 3, "ssh reads a key from a file")
	noKeyInProcesses(t, e, keys)

	sshd.Release()
	for id, s := range created {
		assert.Contains(t, s.Open().Body, "content of "+id)
	}
	// There is another fetch, behind the site that answers already.
	harness.Eventually(t, harness.Patience, "the files are gone once git has spoken to the remote", func() bool {
		return len(keyFiles(t, e, keys)) == 0
	})
	noKeyInProcesses(t, e, keys)
	shown := e.Log.String() + e.CLI("client", "list", "--json") + e.CLI("session", "list", "--json")
	for _, s := range created {
		shown += e.CLI("session", "get", s.SessionID, "--json") + e.CLI("client", "get", s.ClientID)
	}
	for id := range keys {
		assert.Empty(t, holds([]byte(shown), keys), "what is shown of %s", id)
	}

	// What cannot be read any more fails the next wake, and says so.
	e.CLI("session", "sleep", created["amelia"].SessionID)
	require.NoError(t, os.Remove(files["amelia"]))
	var page harness.Answer
	harness.EventuallyEvery(t, harness.Patience, 50*time.Millisecond, "the failure is shown", func() bool {
		page = e.Do(created["amelia"].Document("/"))
		return page.Status != http.StatusAccepted
	})
	assert.Equal(t, http.StatusServiceUnavailable, page.Status, page.Body)
	assert.Contains(t, page.Body, "The client&#39;s deploy key cannot be read.")
	assert.NotContains(t, page.Body, files["amelia"])
	harness.Eventually(t, harness.Patience, "the log has the detail", func() bool {
		return strings.Contains(e.Log.String(), "deploy key file:"+files["amelia"]+": not found")
	})
}

// secretsManager answers as AWS Secrets Manager does for one tagged secret.
func secretsManager(t *testing.T, arn, client, key string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		out := map[string]any{"ARN": arn}
		switch operation := r.Header.Get("X-Amz-Target"); operation {
		case "secretsmanager.DescribeSecret":
			out["Tags"] = []map[string]string{{"Key": "webordinary:client", "Value": client}}
		case "secretsmanager.GetSecretValue":
			out["SecretString"] = key
		default:
			assert.Fail(t, "not to be asked for", operation)
		}
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		assert.NoError(t, json.NewEncoder(w).Encode(out))
	}
}

// holds returns the clients whose key, or a line of it, is in a text.
func holds(text []byte, keys map[string]string) (ids []string) {
	for id, key := range keys {
		lines := strings.Split(strings.TrimSpace(key), "\n")
		for _, line := range lines[2 : len(lines)-1] { // the first line is the same in all keys
			if len(line) > 16 && bytes.Contains(text, []byte(line)) {
				ids = append(ids, id)
				break
			}
		}
	}
	return ids
}

// keyFiles returns the edge's files that hold a key, and fails the test where anybody
// else may read one.
func keyFiles(t *testing.T, e *harness.Edge, keys map[string]string) (found []string) {
	t.Helper()
	err := filepath.WalkDir(filepath.Dir(e.Config), func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // it is gone again
		}
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || len(holds(text, keys)) == 0 {
			return err
		}
		found = append(found, path)
		info, err := d.Info()
		if err == nil {
			assert.Equal(t, fs.FileMode(0o600), info.Mode().Perm(), path)
		}
		return nil
	})
	require.NoError(t, err)
	return found
}

// noKeyInProcesses looks at every process of the machine. Bramble's key is a variable of
// the edge, and must be of no other process.
func noKeyInProcesses(t *testing.T, e *harness.Edge, keys map[string]string) {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	require.NoError(t, err)
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		for _, name := range []string{"environ", "cmdline"} {
			text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, name))
			if err != nil {
				continue // it has ended, or is another user's
			}
			if pid == e.PID() && name == "environ" {
				assert.Equal(t, []string{"bramble"}, holds(text, keys))
				continue
			}
			assert.Empty(t, holds(text, keys), "%s of process %d", name, pid)
		}
	}
}
