package deploykey_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/configstore"
	"github.com/webordinary/router/configstore/deploykey"
)

const (
	account   = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:"
	ameliaARN = account + "webordinary/amelia-AbC123"
	frankfurt = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:webordinary/amelia-XyZ789"
)

var tagged = map[string]string{"webordinary:client": "amelia", "team": "studio"}

func TestSecrets(t *testing.T) {
	read := []string{"DescribeSecret eu-west-1", "GetSecretValue eu-west-1"}
	described := read[:1]
	tests := map[string]struct {
		key    configstore.DeployKey
		secret secret
		faults []fault
		// err, and words of the error's text, where the key is not got.
		err   error
		words []string
		calls []string
	}{
		"the client's":        {secret: secret{tags: tagged, text: testKey}, calls: read},
		"without the suffix":  {key: account + "webordinary/amelia", secret: secret{tags: tagged, text: testKey}, calls: read},
		"binary":              {secret: secret{tags: tagged, binary: []byte(testKey)}, calls: read},
		"with other line end": {secret: secret{tags: tagged, text: "\r\n" + crlf(testKey)}, calls: read},
		"another client's": {
			secret: secret{tags: map[string]string{"webordinary:client": "bramble"}, text: testKey},
			err:    deploykey.ErrNotAllowed, words: []string{ameliaARN, "does not have the tag webordinary:client=amelia"}, calls: described,
		},
		"nobody's": {
			secret: secret{text: testKey},
			err:    deploykey.ErrNotAllowed, words: []string{ameliaARN, "does not have the tag webordinary:client=amelia"}, calls: described,
		},
		"tagged in another case": {
			secret: secret{tags: map[string]string{"Webordinary:Client": "amelia", "webordinary:client": "Amelia"}, text: testKey},
			err:    deploykey.ErrNotAllowed, words: []string{"webordinary:client=amelia"}, calls: described,
		},
		"no key": {
			secret: secret{tags: tagged, text: `{"username":"amelia","password":"hunter2"}`},
			err:    deploykey.ErrInvalid, words: []string{"must be one private key in PEM form"}, calls: read,
		},
		"empty": {secret: secret{tags: tagged}, err: deploykey.ErrInvalid, calls: read},
		"being deleted": {
			secret: secret{tags: tagged, text: testKey, deleted: true},
			err:    deploykey.ErrNotFound, words: []string{"scheduled for deletion"}, calls: described,
		},
		"the value of another": {
			secret: secret{tags: tagged, text: testKey, valueARN: account + "webordinary/amelia-ZZZ999"},
			err:    deploykey.ErrNotAllowed, words: []string{"another secret"}, calls: read,
		},
		"not there": {
			key: account + "webordinary/nothing-AbC123",
			err: deploykey.ErrNotFound, words: []string{"webordinary/nothing-AbC123", "can't find"}, calls: described,
		},
		"denied": {
			secret: secret{tags: tagged, text: testKey},
			faults: []fault{{http.StatusBadRequest, "AccessDeniedException", "User: arn:aws:sts::1:assumed-role/edge is not authorized to perform: secretsmanager:DescribeSecret"}},
			err:    deploykey.ErrDenied, words: []string{"secretsmanager:DescribeSecret"}, calls: described,
		},
		"a clock that is off": {
			secret: secret{tags: tagged, text: testKey},
			faults: []fault{{http.StatusBadRequest, "InvalidSignatureException", "Signature expired: 20260101T000000Z is now earlier than 20260101T001000Z"}},
			err:    deploykey.ErrDenied, words: []string{"Signature expired"}, calls: described,
		},
		"throttled at first": {
			secret: secret{tags: tagged, text: testKey},
			faults: []fault{{http.StatusBadRequest, "ThrottlingException", "Rate exceeded"}, {http.StatusInternalServerError, "InternalServiceError", "oh"}},
			calls:  []string{read[0], read[0], read[0], read[1]},
		},
		"throttled for long": {
			secret: secret{tags: tagged, text: testKey},
			faults: []fault{
				{http.StatusBadRequest, "ThrottlingException", "Rate exceeded"},
				{http.StatusBadRequest, "ThrottlingException", "Rate exceeded"},
				{http.StatusBadRequest, "ThrottlingException", "Rate exceeded"},
				{http.StatusBadRequest, "ThrottlingException", "Rate exceeded"},
			},
			err: deploykey.ErrUnavailable, words: []string{"ThrottlingException", "Rate exceeded"},
			calls: []string{read[0], read[0], read[0], read[0]},
		},
		"a page of a proxy": {
			secret: secret{tags: tagged, text: testKey},
			faults: []fault{{http.StatusOK, "", "<html>"}},
			err:    deploykey.ErrUnavailable, words: []string{"answer could not be read"}, calls: described,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			m := newSecretsManager(t, map[string]*secret{ameliaARN: &test.secret})
			m.fail(test.faults...)
			r := deploykey.New(deploykey.Options{Prefixes: prefixes(t, account+"webordinary/")})
			if test.key == "" {
				test.key = ameliaARN
			}
			got, err := r.Resolve(t.Context(), "amelia", keyed(test.key))
			assert.Equal(t, test.calls, m.called())
			if test.err == nil {
				require.NoError(t, err)
				assert.Equal(t, testKey, got)
				return
			}
			assert.Empty(t, got)
			require.ErrorIs(t, err, test.err)
			for _, word := range test.words {
				assert.Contains(t, err.Error(), word)
			}
			assert.Equal(t, errors.Is(test.err, deploykey.ErrUnavailable), errors.Is(err, configstore.ErrUnavailable))
			showsNothing(t, err, "hunter2")
		})
	}
}

func TestSecretsOfOtherRegionsAndAccounts(t *testing.T) {
	m := newSecretsManager(t, map[string]*secret{
		ameliaARN: {tags: tagged, text: testKey},
		frankfurt: {tags: tagged, text: testKey},
	})
	r := deploykey.New(deploykey.Options{Prefixes: prefixes(t, "arn:aws:secretsmanager:")})
	for _, arn := range []configstore.DeployKey{frankfurt, ameliaARN} {
		got, err := r.Resolve(t.Context(), "amelia", keyed(arn))
		require.NoError(t, err)
		assert.Equal(t, testKey, got)
	}
	assert.Equal(t, []string{
		"DescribeSecret eu-central-1", "GetSecretValue eu-central-1", "DescribeSecret eu-west-1", "GetSecretValue eu-west-1",
	}, m.called(), "each in the region of its ARN")

	narrow := deploykey.New(deploykey.Options{Prefixes: prefixes(t, account+"webordinary/")})
	for _, arn := range []configstore.DeployKey{frankfurt, "arn:aws:secretsmanager:eu-west-1:223456789012:secret:webordinary/amelia-AbC123", account + "other"} {
		_, err := narrow.Resolve(t.Context(), "amelia", keyed(arn))
		require.ErrorIs(t, err, deploykey.ErrNotAllowed)
	}
	assert.Empty(t, m.called(), "what is not allowed is not asked for")
}

// TestValueThatCannotBeRead: what the SDK could not decode may be the key, and the SDK's
// error carries it.
func TestValueThatCannotBeRead(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Amz-Target") == "secretsmanager.DescribeSecret" {
			fmt.Fprintf(w, `{"ARN":%q,"Tags":[{"Key":"webordinary:client","Value":"amelia"}]}`, ameliaARN)
			return
		}
		text, _ := json.Marshal(testKey)
		fmt.Fprintf(w, `{"ARN":%q,"SecretString":%s,"VersionStages":"SECRET"`, ameliaARN, text)
	}))
	defer server.Close()
	awsEnvironment(t, server.URL)
	r := deploykey.New(deploykey.Options{Prefixes: prefixes(t, account)})
	_, err := r.Resolve(t.Context(), "amelia", keyed(ameliaARN))
	require.ErrorIs(t, err, deploykey.ErrUnavailable)
	showsNothing(t, err, "SECRET")
}

func TestSecretsManagerThatDoesNotAnswer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	awsEnvironment(t, "http://"+l.Addr().String())
	r := deploykey.New(deploykey.Options{Prefixes: prefixes(t, account), Timeout: 200 * time.Millisecond})
	_, err = r.Resolve(t.Context(), "amelia", keyed(ameliaARN))
	require.ErrorIs(t, err, deploykey.ErrUnavailable)
	assert.Contains(t, err.Error(), "did not answer within 200ms")
	require.NotErrorIs(t, err, context.DeadlineExceeded, "it is not the caller's time that is over")

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = r.Resolve(ctx, "amelia", keyed(ameliaARN))
	require.ErrorIs(t, err, context.Canceled)

	require.NoError(t, l.Close())
	long := deploykey.New(deploykey.Options{Prefixes: prefixes(t, account)})
	_, err = long.Resolve(t.Context(), "amelia", keyed(ameliaARN))
	require.ErrorIs(t, err, deploykey.ErrUnavailable)
	assert.Contains(t, err.Error(), "refused")
}

func TestNoCredentials(t *testing.T) {
	m := newSecretsManager(t, nil)
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "")
	r := deploykey.New(deploykey.Options{Prefixes: prefixes(t, account)})
	_, err := r.Resolve(t.Context(), "amelia", keyed(ameliaARN))
	require.ErrorIs(t, err, deploykey.ErrUnavailable)
	assert.Contains(t, err.Error(), "credentials")
	assert.Empty(t, m.called())
}
