package deploykey_test

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// secretsManager speaks as much of the wire protocol of Secrets Manager (JSON 1.1 with
// signed requests) as the tests need: no real one can be had on one's own machine.
type secretsManager struct {
	t *testing.T

	mu      sync.Mutex
	secrets map[string]*secret // by ARN
	calls   []string           // operation and region, in order
	faults  []fault            // what the next requests get instead of an answer
}

// secret is one secret with its tags; binary takes the place of text where it is set.
type secret struct {
	tags    map[string]string
	text    string
	binary  []byte
	deleted bool
	// valueARN is the ARN that a value comes with. Default: the secret's own.
	valueARN string
}

// fault is an error as Secrets Manager sends it. Without a code the answer is no JSON.
type fault struct {
	status        int
	code, message string
}

// newSecretsManager starts one, and points AWS's default chain at it.
func newSecretsManager(t *testing.T, secrets map[string]*secret) *secretsManager {
	t.Helper()
	m := &secretsManager{t: t, secrets: secrets}
	server := httptest.NewServer(m)
	t.Cleanup(server.Close)
	awsEnvironment(t, server.URL)
	return m
}

// awsEnvironment makes the default chain find an endpoint, credentials and nothing else.
func awsEnvironment(t *testing.T, endpoint string) {
	t.Helper()
	nowhere := filepath.Join(t.TempDir(), "none")
	for name, value := range map[string]string{
		"AWS_ENDPOINT_URL_SECRETS_MANAGER": endpoint,
		"AWS_ACCESS_KEY_ID":                "AKIDEXAMPLE",
		"AWS_SECRET_ACCESS_KEY":            "example",
		"AWS_SESSION_TOKEN":                "",
		"AWS_REGION":                       "",
		"AWS_PROFILE":                      "",
		"AWS_CONFIG_FILE":                  nowhere,
		"AWS_SHARED_CREDENTIALS_FILE":      nowhere,
		"AWS_EC2_METADATA_DISABLED":        "true",
	} {
		t.Setenv(name, value)
	}
}

var credentialScope = regexp.MustCompile(`Credential=AKIDEXAMPLE/\d{8}/([a-z0-9-]+)/secretsmanager/aws4_request`)

func (m *secretsManager) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m.mu.Lock()
	defer m.mu.Unlock()
	operation := strings.TrimPrefix(r.Header.Get("X-Amz-Target"), "secretsmanager.")
	scope := credentialScope.FindStringSubmatch(r.Header.Get("Authorization"))
	if !assert.Len(m.t, scope, 2, "the request is signed") {
		return
	}
	region := scope[1]
	m.calls = append(m.calls, operation+" "+region)
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	if len(m.faults) > 0 {
		f := m.faults[0]
		m.faults = m.faults[1:]
		m.refuse(w, f)
		return
	}
	var in struct{ SecretId string }
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		m.refuse(w, fault{http.StatusBadRequest, "SerializationException", err.Error()})
		return
	}
	arn, s := m.find(in.SecretId)
	switch {
	case s == nil || strings.Split(arn, ":")[3] != region:
		m.refuse(w, fault{http.StatusBadRequest, "ResourceNotFoundException", "Secrets Manager can't find the specified secret."})
	case operation == "DescribeSecret":
		m.describe(w, arn, s)
	case s.deleted:
		m.refuse(w, fault{http.StatusBadRequest, "InvalidRequestException", "You can't perform this operation on the secret because it was marked for deletion."})
	case operation == "GetSecretValue":
		m.value(w, arn, s)
	default:
		m.refuse(w, fault{http.StatusBadRequest, "UnknownOperationException", operation})
	}
}

// find is by the whole ARN or by one without the suffix.
func (m *secretsManager) find(id string) (string, *secret) {
	for arn, s := range m.secrets {
		if arn == id || len(arn) > 7 && arn[:len(arn)-7] == id {
			return arn, s
		}
	}
	return id, nil
}

func (m *secretsManager) describe(w http.ResponseWriter, arn string, s *secret) {
	out := map[string]any{"ARN": arn, "Name": arn[strings.LastIndexByte(arn, ':')+1 : len(arn)-7]}
	var tags []map[string]string
	for k, v := range s.tags {
		tags = append(tags, map[string]string{"Key": k, "Value": v})
	}
	out["Tags"] = tags
	if s.deleted {
		out["DeletedDate"] = 1760000000.5
	}
	m.answer(w, out)
}

func (m *secretsManager) value(w http.ResponseWriter, arn string, s *secret) {
	out := map[string]any{"ARN": arn, "VersionId": "b4f0a1d2-0000-4000-8000-000000000000"}
	if s.valueARN != "" {
		out["ARN"] = s.valueARN
	}
	if s.binary != nil {
		out["SecretBinary"] = base64.StdEncoding.EncodeToString(s.binary)
	} else {
		out["SecretString"] = s.text
	}
	m.answer(w, out)
}

func (m *secretsManager) answer(w http.ResponseWriter, out any) {
	assert.NoError(m.t, json.NewEncoder(w).Encode(out))
}

func (m *secretsManager) refuse(w http.ResponseWriter, f fault) {
	w.WriteHeader(f.status)
	if f.code == "" {
		_, _ = w.Write([]byte(f.message))
		return
	}
	m.answer(w, map[string]string{"__type": f.code, "message": f.message})
}

// fail makes the next requests fail.
func (m *secretsManager) fail(faults ...fault) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.faults = faults
}

// called returns the operations since the last time it was asked, with their regions.
func (m *secretsManager) called() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	calls := m.calls
	m.calls = nil
	require.NotContains(m.t, strings.Join(calls, " "), "ListSecrets")
	return calls
}
