package deploykey_test

import (
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/webordinary/router/configstore"
	"github.com/webordinary/router/configstore/deploykey"
)

// secretPart is in every test key, as are its encoded forms.
const secretPart = "very secret words"

var testKey = string(pem.EncodeToMemory(&pem.Block{
	Type: "OPENSSH PRIVATE KEY", Bytes: []byte("openssh-key-v1\x00\x00\x00\x00\x04none" + strings.Repeat(secretPart+" ", 20)),
}))

// keyed is a repository with a key for ssh.
func keyed(key configstore.DeployKey) configstore.Repository {
	return configstore.Repository{URL: "git@git.example.com:amelia.git", DeployKey: key}
}

func crlf(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }

func prefixes(t *testing.T, texts ...string) (list []configstore.KeyPrefix) {
	t.Helper()
	for _, text := range texts {
		p, err := configstore.ParseKeyPrefix(text)
		require.NoError(t, err)
		list = append(list, p)
	}
	return list
}

// showsNothing fails the test if a value, however it is printed, shows a part of the key.
func showsNothing(t *testing.T, v any, more ...string) {
	t.Helper()
	asJSON, err := json.Marshal(v)
	require.NoError(t, err)
	shown := []string{string(asJSON)}
	for _, format := range []string{"%s", "%v", "%+v", "%#v", "%q", "%x"} {
		shown = append(shown, fmt.Sprintf(format, v))
	}
	if err, ok := v.(error); ok {
		enc := zapcore.NewJSONEncoder(zapcore.EncoderConfig{})
		buf, e := enc.EncodeEntry(zapcore.Entry{}, []zapcore.Field{zap.Error(err), zap.Any("any", err), zap.Reflect("reflect", err)})
		require.NoError(t, e)
		shown = append(shown, buf.String())
		for u := err; u != nil; {
			next, ok := u.(interface{ Unwrap() error })
			if !ok {
				break
			}
			if u = next.Unwrap(); u != nil {
				showsNothing(t, fmt.Sprintf("%+v %#v", u, u), more...)
			}
		}
	}
	body := strings.Split(testKey, "\n")[1:]
	for _, s := range shown {
		for _, part := range append(more, secretPart, "PRIVATE KEY", base64.StdEncoding.EncodeToString([]byte(secretPart)), body[0], body[2]) {
			assert.NotContains(t, s, part)
			assert.NotContains(t, s, fmt.Sprintf("%x", part))
		}
	}
}

func TestWhatIsNoReference(t *testing.T) {
	r := deploykey.New(deploykey.Options{})
	for _, key := range []configstore.DeployKey{"", configstore.DeployKey(testKey), "KEY"} {
		got, err := r.Resolve(t.Context(), "amelia", keyed(key))
		require.NoError(t, err)
		assert.Equal(t, string(key), got)
	}
	showsNothing(t, r)
}

func TestEnv(t *testing.T) {
	t.Setenv("KEY_AMELIA", testKey)
	t.Setenv("KEY_BRAMBLE", crlf(testKey))
	t.Setenv("KEY_EMPTY", "")
	t.Setenv("KEY_WORD", "hunter2")
	t.Setenv("KEY_PUBLIC", strings.ReplaceAll(testKey, "PRIVATE", "PUBLIC"))
	t.Setenv("OTHER_KEY", testKey)
	all := prefixes(t, "env:KEY_", "file:/nowhere")
	own := prefixes(t, "env:KEY_{client}")
	for name, test := range map[string]struct {
		prefixes []configstore.KeyPrefix
		key      configstore.DeployKey
		err      error
		words    string
	}{
		"set":               {all, "env:KEY_AMELIA", nil, ""},
		"other line ends":   {all, "env:KEY_BRAMBLE", nil, ""},
		"its own":           {own, "env:KEY_AMELIA", nil, ""},
		"another's":         {own, "env:KEY_BRAMBLE", deploykey.ErrNotAllowed, "deploy_key_prefixes"},
		"outside":           {all, "env:OTHER_KEY", deploykey.ErrNotAllowed, "deploy_key_prefixes has no prefix that allows env:OTHER_KEY"},
		"nothing allowed":   {nil, "env:KEY_AMELIA", deploykey.ErrNotAllowed, "env:KEY_AMELIA"},
		"not set":           {all, "env:KEY_CEDAR", deploykey.ErrNotFound, "env:KEY_CEDAR"},
		"empty":             {all, "env:KEY_EMPTY", deploykey.ErrInvalid, "must be one private key"},
		"no key":            {all, "env:KEY_WORD", deploykey.ErrInvalid, "must be one private key"},
		"a public key":      {all, "env:KEY_PUBLIC", deploykey.ErrInvalid, "must be a private key"},
		"malformed":         {all, "env:KEY_AMELIA hunter2", deploykey.ErrNotAllowed, "must have the form env:NAME"},
		"malformed at once": {all, configstore.DeployKey("env:" + testKey), deploykey.ErrNotAllowed, "must have the form env:NAME"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := deploykey.New(deploykey.Options{Prefixes: test.prefixes}).Resolve(t.Context(), "amelia", keyed(test.key))
			if test.err == nil {
				require.NoError(t, err)
				assert.Equal(t, testKey, got)
				return
			}
			assert.Empty(t, got)
			require.ErrorIs(t, err, test.err)
			assert.Contains(t, err.Error(), test.words)
			require.NotErrorIs(t, err, configstore.ErrUnavailable)
			showsNothing(t, err, "hunter2")
		})
	}
}

func TestCredentialsForHTTPS(t *testing.T) {
	t.Setenv("KEY_TOKEN", "jo:hunter2\n")
	t.Setenv("KEY_LINES", "hunter2\nand more")
	t.Setenv("KEY_PEM", testKey)
	r := deploykey.New(deploykey.Options{Prefixes: prefixes(t, "env:KEY_")})
	resolve := func(name string) (string, error) {
		return r.Resolve(t.Context(), "amelia", configstore.Repository{URL: "https://git.example.com/x", DeployKey: configstore.DeployKey("env:KEY_" + name)})
	}
	got, err := resolve("TOKEN")
	require.NoError(t, err)
	assert.Equal(t, "jo:hunter2", got)
	for name, words := range map[string]string{"LINES": "must be one line", "PEM": "is a key for ssh"} {
		got, err := resolve(name)
		assert.Empty(t, got)
		require.ErrorIs(t, err, deploykey.ErrInvalid)
		assert.Contains(t, err.Error(), words)
		showsNothing(t, err, "hunter2")
	}
}

func TestFiles(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	keys, outside := filepath.Join(dir, "keys"), filepath.Join(dir, "keys-of-others")
	write := func(path, text string, mode os.FileMode) {
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		require.NoError(t, os.Chmod(path, mode)) // whatever the umask
	}
	link := func(target, path string) {
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.Symlink(target, path))
	}
	write(keys+"/amelia", testKey, 0o600)
	write(keys+"/readable", testKey, 0o444)
	write(keys+"/group", testKey, 0o660)
	write(keys+"/others", testKey, 0o602)
	write(keys+"/word", "hunter2", 0o600)
	write(keys+"/long", testKey+strings.Repeat(" ", 64<<10), 0o600)
	write(keys+"/clients/amelia/id", testKey, 0o400)
	write(keys+"/clients/bramble/id", testKey, 0o400)
	write(outside+"/id", testKey, 0o600)
	write(dir+"/alone", testKey, 0o600)
	require.NoError(t, syscall.Mkfifo(keys+"/pipe", 0o600))
	// As a volume of secrets in Kubernetes.
	write(keys+"/..2026/mounted", testKey, 0o400)
	link("..2026", keys+"/..data")
	link("..data/mounted", keys+"/mounted")
	link(keys+"/amelia", keys+"/absolute")
	link("../keys-of-others/id", keys+"/out")
	link(outside, keys+"/folder")
	link("circle", keys+"/circle")
	link("../bramble/id", keys+"/clients/amelia/other")
	link(keys, dir+"/linked")
	link(dir+"/alone", dir+"/lonely")

	in := prefixes(t, "file:"+keys+"/")
	own := prefixes(t, "file:"+keys+"/clients/{client}")
	for name, test := range map[string]struct {
		prefixes []configstore.KeyPrefix
		path     string
		err      error
		words    string
	}{
		"in the folder":                    {in, keys + "/amelia", nil, ""},
		"below":                            {in, keys + "/clients/bramble/id", nil, ""},
		"not clean":                        {in, keys + "//./clients/bramble/id", nil, ""},
		"readable by all":                  {in, keys + "/readable", nil, ""},
		"mounted":                          {in, keys + "/mounted", nil, ""},
		"an absolute link":                 {in, keys + "/absolute", nil, ""},
		"the folder is a link":             {prefixes(t, "file:"+dir+"/linked"), dir + "/linked/amelia", nil, ""},
		"the very file":                    {prefixes(t, "file:"+dir+"/alone"), dir + "/alone", nil, ""},
		"the very file is a link":          {prefixes(t, "file:"+dir+"/lonely"), dir + "/lonely", nil, ""},
		"the second prefix":                {append(prefixes(t, "file:"+keys+"/folder/x", "env:A"), in...), keys + "/amelia", nil, ""},
		"a link that a prefix allows":      {append(prefixes(t, "file:"+outside), in...), outside + "/id", nil, ""},
		"its own":                          {own, keys + "/clients/amelia/id", nil, ""},
		"another's":                        {own, keys + "/clients/bramble/id", deploykey.ErrNotAllowed, "deploy_key_prefixes"},
		"a link to another's":              {own, keys + "/clients/amelia/other", deploykey.ErrNotAllowed, "link leads out"},
		"a neighbour":                      {in, outside + "/id", deploykey.ErrNotAllowed, "deploy_key_prefixes"},
		"up and out":                       {in, keys + "/../keys-of-others/id", deploykey.ErrNotAllowed, `without ".."`},
		"a link out":                       {in, keys + "/out", deploykey.ErrNotAllowed, "link leads out"},
		"a folder that is a link out":      {in, keys + "/folder/id", deploykey.ErrNotAllowed, "link leads out"},
		"a folder of another spelling":     {in, dir + "/linked/amelia", deploykey.ErrNotAllowed, "deploy_key_prefixes"},
		"relative":                         {in, "keys/amelia", deploykey.ErrNotAllowed, "must have the form"},
		"not there":                        {in, keys + "/nothing", deploykey.ErrNotFound, "no such file"},
		"below a file":                     {in, keys + "/amelia/id", deploykey.ErrNotFound, "not a directory"},
		"links in a circle":                {in, keys + "/circle", deploykey.ErrUnavailable, "too many links"},
		"a folder":                         {in, keys + "/clients", deploykey.ErrInvalid, "not a regular file"},
		"the folder itself":                {in, keys, deploykey.ErrInvalid, "not a regular file"},
		"a pipe":                           {in, keys + "/pipe", deploykey.ErrInvalid, "not a regular file"},
		"a device":                         {prefixes(t, "file:/dev"), "/dev/zero", deploykey.ErrInvalid, "not a regular file"},
		"writable by the group":            {in, keys + "/group", deploykey.ErrInvalid, "mode 0660"},
		"writable by others":               {in, keys + "/others", deploykey.ErrInvalid, "mode 0602"},
		"no key":                           {in, keys + "/word", deploykey.ErrInvalid, "must be one private key"},
		"too long":                         {in, keys + "/long", deploykey.ErrInvalid, "at most 65536 bytes"},
		"with no prefix":                   {nil, keys + "/amelia", deploykey.ErrNotAllowed, "deploy_key_prefixes"},
		"of a client that is none":         {own, keys + "/clients/../amelia", deploykey.ErrNotAllowed, "must have the form"},
		"the text of another kind's value": {prefixes(t, "env:"+"A"), keys + "/amelia", deploykey.ErrNotAllowed, "deploy_key_prefixes"},
	} {
		t.Run(name, func(t *testing.T) {
			core, logs := observer.New(zap.DebugLevel)
			r := deploykey.New(deploykey.Options{Prefixes: test.prefixes, Logger: zap.New(core)})
			got, err := r.Resolve(t.Context(), "amelia", keyed(configstore.DeployKey("file:"+test.path)))
			for _, entry := range logs.All() {
				showsNothing(t, entry)
			}
			warned := logs.FilterMessage("deploy key's file can be read by everybody on this machine").Len()
			assert.Equal(t, test.path == keys+"/readable", warned == 1)
			if test.err == nil {
				require.NoError(t, err)
				assert.Equal(t, testKey, got)
				return
			}
			assert.Empty(t, got)
			require.ErrorIs(t, err, test.err)
			assert.Contains(t, err.Error(), test.words)
			showsNothing(t, err, "hunter2")
		})
	}
}
