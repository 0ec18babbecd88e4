package configstore

import (
	"fmt"
	"path"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	testARN  = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:webordinary/amelia-AbC123"
	otherARN = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:"
)

func TestKeyReferences(t *testing.T) {
	good := map[DeployKey]KeyReference{
		testARN: {Kind: KeyInSecretsManager, Partition: "aws", Region: "eu-west-1", Account: "123456789012", Name: "webordinary/amelia-AbC123"},
		"arn:aws-us-gov:secretsmanager:us-gov-west-1:123456789012:secret:a": {
			Kind: KeyInSecretsManager, Partition: "aws-us-gov", Region: "us-gov-west-1", Account: "123456789012", Name: "a",
		},
		"env:DEPLOY_KEY_1":         {Kind: KeyInEnv, Name: "DEPLOY_KEY_1"},
		"file:/etc/keys/a b.pem":   {Kind: KeyInFile, Name: "/etc/keys/a b.pem"},
		"file:/etc//keys/./a..pem": {Kind: KeyInFile, Name: "/etc/keys/a..pem"},
	}
	for key, want := range good {
		ref, err := key.Reference()
		require.NoError(t, err, "%s", key)
		assert.Equal(t, want, ref)
		assert.True(t, key.IsReference())
		again, err := DeployKey(ref.String()).Reference()
		require.NoError(t, err)
		assert.Equal(t, ref, again)
		assert.Equal(t, string(key), key.String(), "a reference is no secret")
	}
	for _, key := range []DeployKey{
		"arn:", "arn:aws:secretsmanager:", "arn:aws:s3:eu-west-1:123456789012:secret:SECRET",
		"arn:aws:secretsmanager:eu-west-1:1234:secret:SECRET", "arn:aws:secretsmanager:eu-west-1:12345678901x:secret:SECRET",
		"arn:aws:secretsmanager:EU-WEST-1:123456789012:secret:SECRET", "arn:aws:secretsmanager:evil.example/:123456789012:secret:SECRET",
		"arn:aws:secretsmanager::123456789012:secret:SECRET", "arn:aws:secretsmanager:eu-west-1::secret:SECRET",
		"arn:evil:secretsmanager:eu-west-1:123456789012:secret:SECRET", "arn:aws.evil:secretsmanager:eu-west-1:123456789012:secret:SECRET",
		"arn:aws:secretsmanager:eu-west-1:123456789012:secrets:SECRET", "arn:aws:secretsmanager:eu-west-1:123456789012:secret:",
		testARN + ":SECRET", testARN + ":", otherARN + "SECRET name", otherARN + "SECRET\n", otherARN + DeployKey(strings.Repeat("SECRET", 100)),
		"env:", "env:A-SECRET", "env:SECRET=1", "env:1SECRET", "env: SECRET", "env:SECRET\x00", "env:SECRÉT", DeployKey("env:" + strings.Repeat("A", 300)),
		"env:-----BEGIN SECRET-----",
		"file:", "file:SECRET", "file:./SECRET", "file:../SECRET", "file:/", "file://", "file:/..", "file:/etc/../SECRET", "file:/SECRET/..",
		"file:/SECRET\x00", "file:/SECRET\n", "file:/\xff", DeployKey("file:/" + strings.Repeat("a", 5000)),
	} {
		_, err := key.Reference()
		require.Error(t, err, "%q", string(key))
		assert.NotContains(t, err.Error(), "SECRET")
		assert.True(t, key.IsReference(), "%q", string(key))
		assert.Equal(t, redactedKey, key.String(), "what is malformed may be a key")
	}
	for _, key := range []DeployKey{"", "x", "ENV:A", "https://x", "-----BEGIN PRIVATE KEY-----", "environment", "file"} {
		assert.False(t, key.IsReference(), "%q", string(key))
		_, err := key.Reference()
		assert.Error(t, err)
	}
}

func keyPrefixes(t *testing.T, texts ...string) (prefixes []KeyPrefix) {
	t.Helper()
	for _, text := range texts {
		p, err := ParseKeyPrefix(text)
		require.NoError(t, err)
		prefixes = append(prefixes, p)
	}
	return prefixes
}

func TestKeyPrefixes(t *testing.T) {
	tests := []struct {
		prefix          string
		allows, refuses []DeployKey
	}{
		{
			"env:KEY_",
			[]DeployKey{"env:KEY_", "env:KEY_A"},
			[]DeployKey{"env:KEY", "env:key_a", "env:AKEY_A", "file:/KEY_A"},
		},
		{
			"env:KEY_{client}",
			[]DeployKey{"env:KEY_AMELIA_B"},
			[]DeployKey{"env:KEY_AMELIA", "env:KEY_AMELIA_B_C", "env:KEY_amelia_b", "env:KEY_"},
		},
		{
			"file:/etc/keys",
			[]DeployKey{"file:/etc/keys", "file:/etc/keys/a", "file:/etc//keys/a/b.pem"},
			[]DeployKey{"file:/etc/keys2/a", "file:/etc/keysecret", "file:/etc", "file:/etc/KEYS/a", "file:/x/etc/keys/a", "env:A"},
		},
		{"file:/etc/keys/", []DeployKey{"file:/etc/keys/a"}, []DeployKey{"file:/etc/keys-of-others/a"}},
		{
			"file:/keys/{client}",
			[]DeployKey{"file:/keys/amelia-b", "file:/keys/amelia-b/id"},
			[]DeployKey{"file:/keys/amelia", "file:/keys/amelia-bc/id", "file:/keys/{client}/id"},
		},
		{"file:/keys/{client}.pem", []DeployKey{"file:/keys/amelia-b.pem"}, []DeployKey{"file:/keys/amelia.pem"}},
		{
			"arn:aws:secretsmanager:eu-west-1:123456789012:secret:webordinary/",
			[]DeployKey{testARN, otherARN + "webordinary/x"},
			[]DeployKey{
				otherARN + "webordinary", otherARN + "other/webordinary/", "env:A",
				"arn:aws:secretsmanager:eu-west-2:123456789012:secret:webordinary/x",
				"arn:aws:secretsmanager:eu-west-1:123456789013:secret:webordinary/x",
				"arn:aws-cn:secretsmanager:eu-west-1:123456789012:secret:webordinary/x",
			},
		},
		{
			"arn:aws:secretsmanager:eu-west-1:123456789012:secret:",
			[]DeployKey{testARN},
			[]DeployKey{"arn:aws:secretsmanager:eu-west-1:223456789012:secret:a"},
		},
		{
			"arn:aws:secretsmanager:eu-west-1:123456789012",
			[]DeployKey{testARN},
			[]DeployKey{"arn:aws:secretsmanager:eu-west-1:223456789012:secret:a"},
		},
		{
			"arn:aws:secretsmanager:eu-west-1:",
			[]DeployKey{testARN},
			[]DeployKey{"arn:aws:secretsmanager:eu-west-12:123456789012:secret:a"},
		},
		{"arn:aws:secretsmanager:", []DeployKey{testARN}, []DeployKey{"arn:aws-cn:secretsmanager:cn-north-1:123456789012:secret:a"}},
	}
	for _, test := range tests {
		prefixes := keyPrefixes(t, test.prefix)
		again := keyPrefixes(t, prefixes[0].String())
		assert.Equal(t, prefixes, again)
		for want, keys := range map[bool][]DeployKey{true: test.allows, false: test.refuses} {
			for _, key := range keys {
				ref, err := key.Reference()
				require.NoError(t, err, "%s", string(key))
				assert.Equal(t, want, prefixes[0].Allows("amelia-b", ref), "%s, %s", test.prefix, string(key))
				assert.False(t, KeyPrefix{}.Allows("amelia-b", ref))
				assert.False(t, prefixes[0].Allows("", ref))
				assert.False(t, prefixes[0].Allows("../x", ref))
			}
		}
	}

	for _, text := range []string{
		"", "KEY_", "/etc/keys", "https://x", "arn:", "arn:aws:", "arn:aws:s3:", "arn:aws:secretsmanager:eu-west-1:1234",
		"arn:aws:secretsmanager:eu-west-1:123456789012:secret:a:", "arn:aws:secretsmanager:eu-west-1:123456789012:secret:a:b",
		"arn:aws:secretsmanager::123456789012:", "arn:aws:secretsmanager:eu-west-1:123456789012:secret:{client}/",
		"arn:aws:secretsmanager:eu-west-1:123456789012:secret::",
		"env:", "env:A-", "env:{client}{client}", "env: ", "env:*",
		"file:", "file:/", "file:keys", "file:/keys/../etc", "file:/{client}/{client}", "file:~/keys",
	} {
		_, err := ParseKeyPrefix(text)
		assert.Error(t, err, "%q", text)
	}
}

func TestReferencesAreValidated(t *testing.T) {
	rules := Rules{KeyPrefixes: keyPrefixes(t, "env:KEY_", "file:/etc/keys/{client}/"), AllowFile: true}
	const refused = "repository.deployKey: must be allowed by the operator: the option deploy_key_prefixes has no prefix that allows %s to this client"
	for key, want := range map[DeployKey]string{
		"env:KEY_A":                  "",
		"file:/etc/keys/amelia/id":   "",
		"env:OTHER":                  fmt.Sprintf(refused, "env:OTHER"),
		"file:/etc/keys/bramble/id":  fmt.Sprintf(refused, "file:/etc/keys/bramble/id"),
		testARN:                      fmt.Sprintf(refused, testARN),
		"env:NO-NAME":                "repository.deployKey: " + errKeyEnv.Error(),
		"arn:aws:s3:::bucket":        "repository.deployKey: " + errKeyARN.Error(),
		"file:/etc/keys/amelia/../b": "repository.deployKey: " + errKeyFile.Error(),
	} {
		c := validClient()
		c.Repository.URL = "git@a.example:x"
		c.Repository.DeployKey = key
		_, err := Prepare(c, rules)
		if want == "" {
			assert.NoError(t, err)
		} else {
			assert.Equal(t, []string{want}, faultStrings(t, err))
		}
		assert.Error(t, Validate(c, Rules{}), "nothing is allowed unless the operator says so")
	}

	c := validClient()
	c.Repository.DeployKey = "env:KEY_A"
	require.NoError(t, Validate(c, rules), "for https too")
	c.Repository.URL = "file:///srv/site.git"
	assert.Equal(t, []string{"repository.deployKey: has no effect on a file repository"}, faultStrings(t, Validate(c, rules)))
}

func TestParseKey(t *testing.T) {
	key := pemKey("OPENSSH PRIVATE KEY", opensshMagic+"\x04none")
	ssh, https := Repository{URL: "git@a.example:x"}, Repository{URL: "https://a.example/x"}
	got, err := ssh.ParseKey("\n" + strings.ReplaceAll(string(key), "\n", "\r\n") + " ")
	require.NoError(t, err)
	assert.Equal(t, string(key), got)
	for _, text := range []string{
		"", "SECRET", `{"key":"SECRET"}`, string(key + key), string(pemKey("CERTIFICATE", "SECRET")),
		string(pemKey("ENCRYPTED PRIVATE KEY", "SECRET")), "-----BEGIN PRIVATE KEY-----\nSECRET",
		string(pemKey("PRIVATE KEY", strings.Repeat("SECRET", 10_000))),
	} {
		_, err := ssh.ParseKey(text)
		require.Error(t, err)
		assert.NotContains(t, err.Error(), "SECRET")
		assert.NotContains(t, err.Error(), "U0VDUkVU")
	}
	for _, text := range []string{"jo:SECRET", "jo:SECRET\n", "jo:SECRET\r\n"} {
		got, err := https.ParseKey(text)
		require.NoError(t, err)
		assert.Equal(t, "jo:SECRET", got)
	}
	for _, text := range []string{"", "\n", "SECRET\nmore", string(key), strings.Repeat("SECRET", 20_000)} {
		_, err := https.ParseKey(text)
		require.Error(t, err)
		assert.NotContains(t, err.Error(), "SECRET")
	}
}

// FuzzKeyReference: whatever is allowed below a prefix is below it.
func FuzzKeyReference(f *testing.F) {
	for _, s := range []string{testARN, "env:KEY_A", "file:/etc/keys/a", "file:/etc//keys/../keys/./a", "file:/etc/keys\x00/a", "arn:aws:secretsmanager::::"} {
		f.Add(s)
	}
	var prefixes []KeyPrefix
	for _, s := range []string{"env:KEY_", "file:/etc/keys", "file:/keys/{client}", otherARN + "webordinary/"} {
		p, err := ParseKeyPrefix(s)
		if err != nil {
			f.Fatal(err)
		}
		prefixes = append(prefixes, p)
	}
	f.Fuzz(func(t *testing.T, s string) {
		key := DeployKey(s)
		ref, err := key.Reference()
		if err != nil {
			assert.Contains(t, []string{"", redactedKey}, key.String())
			return
		}
		again, err := DeployKey(ref.String()).Reference()
		require.NoError(t, err)
		require.Equal(t, ref, again)
		if AllowKey(prefixes, "amelia", ref) != nil {
			return
		}
		switch name := ref.Name; ref.Kind {
		case KeyInFile:
			require.Equal(t, path.Clean(name), name)
			require.Regexp(t, `^(/etc/keys|/keys/amelia)(/|$)`, name)
			require.NotContains(t, name, "/../")
		case KeyInEnv:
			require.Regexp(t, `^KEY_[A-Za-z0-9_]*$`, name)
		case KeyInSecretsManager:
			require.True(t, strings.HasPrefix(s, otherARN+"webordinary/"))
		}
	})
}
