package containerboot_test

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/configstore"
	"github.com/webordinary/router/configstore/dynamodb"
	"github.com/webordinary/router/containerboot/bootapi"
	"github.com/webordinary/router/internal/dynamo"
	"github.com/webordinary/router/internal/dynamodblocal"
	"github.com/webordinary/router/internal/freeport"
	"github.com/webordinary/router/internal/gitserver"
)

// standalone runs a container that no edge claims.
func (w *world) standalone(env ...string) *container {
	w.t.Helper()
	ports, err := freeport.Find(1)
	require.NoError(w.t, err)
	c := &container{t: w.t, url: fmt.Sprintf("http://127.0.0.1:%d", ports[0]), exit: make(chan int, 1)}
	c.cmd = exec.Command(binary)
	c.cmd.Stderr = c
	c.cmd.Env = append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), fmt.Sprintf("PORT=%d", ports[0]),
		"WORKSPACE_PATH=" + w.workspace("amelia"), "CACHE_PATH=" + w.dir + "/cache", "CLIENT_ID=amelia",
	}, env...)
	require.NoError(w.t, os.MkdirAll(filepath.Dir(w.workspace("amelia")), 0o755))
	require.NoError(w.t, c.cmd.Start())
	go func() {
		_ = c.cmd.Wait()
		c.exit <- c.cmd.ProcessState.ExitCode()
		close(c.exit)
	}()
	w.t.Cleanup(func() {
		_ = c.cmd.Process.Kill()
		<-c.exit
		if w.t.Failed() {
			w.t.Logf("log:\n%s", c.logged())
		}
	})
	return c
}

func TestConfigurationInATable(t *testing.T) {
	endpoint := dynamodblocal.Start(t)
	endpoint.Setenv(t)
	client, err := dynamo.NewClient(t.Context(), dynamo.ClientOptions{})
	require.NoError(t, err)
	tables := dynamodb.TableNames(dynamodblocal.Prefix())
	_, err = dynamodb.CreateTables(t.Context(), client, tables, false)
	require.NoError(t, err)
	store, err := dynamodb.Open(dynamodb.Options{Client: client, Tables: tables})
	require.NoError(t, err)
	defer store.Close()

	const password = "s3cret-token"
	w := newWorld(t, with(plainSite, map[string]string{
		"build.mjs": plainSite["build.mjs"] + `console.log("environment", JSON.stringify(process.env));` + "\n",
	}))
	server := gitserver.NewHTTPS(t, w.dir, "token", password, nil)
	put := func(id string, change func(*configstore.Client)) {
		c := configstore.Client{
			ClientID: id, Domains: configstore.Domains{Production: id + ".example", Edit: "edit." + id + ".example"},
			Repository: configstore.Repository{URL: server.URL + "/remote.git", Branch: "main", DeployKey: "env:KEY_AMELIA"},
			Settings:   configstore.Settings{ContainerSize: "small", IdleTimeoutMinutes: 10, MaxConcurrentSessions: 2},
		}
		if change != nil {
			change(&c)
		}
		_, err := store.Put(t.Context(), c, configstore.AnyVersion)
		require.NoError(t, err)
	}
	put("amelia", nil)
	put("off", func(c *configstore.Client) { c.Disabled = true })
	put("file", func(c *configstore.Client) {
		c.Repository.URL, c.Repository.DeployKey = "file://"+w.remote, ""
	})
	env := append(endpoint.Environ(), "CLIENT_CONFIG_TABLE="+tables.ClientConfigs, "KEY_AMELIA=token:"+password,
		"SSL_CERT_FILE="+server.CA, "GIT_SSL_CAINFO="+server.CA)

	// Its server is at the loopback address.
	c := w.standalone(append(env, "DEPLOY_KEY_PREFIXES=env:KEY_{client}", "ALLOW_FILE_REPOSITORIES=on")...)
	c.await(func() bool {
		resp, err := http.Get(c.url + bootapi.PathHealth)
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	code, body := c.get("/")
	assert.Equal(t, http.StatusOK, code)
	assert.Equal(t, "<h1>hello</h1>", body)
	printed := fmt.Sprint(c.status().Log)
	assert.Contains(t, printed, "environment {")
	for _, secret := range []string{"AWS_", "KEY_AMELIA", password} {
		assert.NotContains(t, printed, secret)
	}
	write(t, w.workspace("amelia")+"/text.txt", "edited")
	assert.Zero(t, c.stop())
	assert.Equal(t, "edited", w.git(w.remote, "show", "edit/amelia:text.txt"))
	assert.NotContains(t, c.logged(), password)

	for name, tc := range map[string]struct {
		env  []string
		want string
	}{
		"no such table":       {[]string{"CLIENT_CONFIG_TABLE=nowhere"}, "table nowhere does not exist"},
		"no such client":      {[]string{"CLIENT_ID=nobody"}, `getting client \"nobody\"`},
		"a key not allowed":   {nil, "not allowed"},
		"no such key":         {[]string{"DEPLOY_KEY_PREFIXES=env:KEY_{client}", "KEY_AMELIA="}, "KEY_AMELIA"},
		"a disabled client":   {[]string{"CLIENT_ID=off"}, "is disabled"},
		"a file as a remote":  {[]string{"CLIENT_ID=file"}, "file: repositories are not allowed"},
		"no DynamoDB there":   {[]string{"AWS_ENDPOINT_URL_DYNAMODB=http://127.0.0.1:1"}, "does not answer"},
		"no region":           {[]string{"AWS_REGION="}, "no AWS region"},
		"a key that is wrong": {[]string{"DEPLOY_KEY_PREFIXES=env:KEY_{client}", "KEY_AMELIA=" + password + "\nx"}, "no usable key"},
	} {
		t.Run(name, func(t *testing.T) {
			c := w.standalone(append(append([]string{}, env...), tc.env...)...)
			assert.Equal(t, 6, c.exited())
			assert.Contains(t, c.logged(), "loading the client's configuration failed")
			assert.Contains(t, c.logged(), tc.want)
			assert.NotContains(t, c.logged(), password)
		})
	}
}
