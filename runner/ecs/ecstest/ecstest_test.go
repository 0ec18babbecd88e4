//go:build unix

package ecstest

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.VerifyTestMain(m) }

// ask makes one call and returns the answer, "" for none.
func ask(t *testing.T, s *Server, action string, body map[string]any) (answer map[string]any, code string) {
	t.Helper()
	data, err := json.Marshal(body)
	require.NoError(t, err)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.Endpoint(), bytes.NewReader(data))
	require.NoError(t, err)
	req.Header.Set("X-Amz-Target", target+action)
	req.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=x/20260101/us-east-1/ecs/aws4_request, …")
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		return nil, "lost"
	}
	defer resp.Body.Close()
	require.NoError(t, json.NewDecoder(resp.Body).Decode(&answer))
	code, _ = answer["__type"].(string)
	return answer, code
}

func runTask(changes map[string]any) map[string]any {
	body := map[string]any{
		"cluster": "sessions", "taskDefinition": "session", "launchType": "FARGATE", "startedBy": "tests", "clientToken": "one",
		"networkConfiguration": map[string]any{"awsvpcConfiguration": map[string]any{"subnets": []string{"subnet-1"}}},
		"overrides":            map[string]any{"cpu": "256", "memory": "512"},
	}
	maps.Copy(body, changes)
	return body
}

func arnOf(answer map[string]any) string {
	return answer["tasks"].([]any)[0].(map[string]any)["taskArn"].(string)
}

func TestClientTokens(t *testing.T) {
	s := Start(t, Options{})
	first, code := ask(t, s, "RunTask", runTask(nil))
	require.Empty(t, code)
	again, code := ask(t, s, "RunTask", runTask(nil))
	require.Empty(t, code)
	assert.Equal(t, arnOf(first), arnOf(again))

	other, code := ask(t, s, "RunTask", runTask(map[string]any{"startedBy": "others"}))
	assert.Equal(t, "ConflictException", code)
	assert.Equal(t, []any{arnOf(first)}, other["resourceIds"])
	another, code := ask(t, s, "RunTask", runTask(map[string]any{"clientToken": "two"}))
	require.Empty(t, code)
	assert.NotEqual(t, arnOf(first), arnOf(another))

	// The same token gives the same task when that has stopped, too.
	_, code = ask(t, s, "StopTask", map[string]any{"cluster": "sessions", "task": arnOf(first)})
	require.Empty(t, code)
	require.Eventually(t, func() bool {
		again, _ = ask(t, s, "RunTask", runTask(nil))
		return arnOf(again) == arnOf(first) && again["tasks"].([]any)[0].(map[string]any)["lastStatus"] == "STOPPED"
	}, 30*time.Second, 10*time.Millisecond)
	assert.Len(t, s.Tasks(), 2)
}

func TestCallsAreChecked(t *testing.T) {
	s := Start(t, Options{})
	for want, changes := range map[string]map[string]any{
		"ClusterNotFoundException":  {"cluster": "x"},
		"ClientException":           {"taskDefinition": "x"},
		"InvalidParameterException": {"overrides": map[string]any{"cpu": "256", "memory": "512", "containerOverrides": []any{map[string]any{"name": "x"}}}},
		"SerializationException":    {"nobodyKnows": 1},
	} {
		_, code := ask(t, s, "RunTask", runTask(changes))
		assert.Equal(t, want, code)
	}
	_, code := ask(t, s, "RunTask", runTask(map[string]any{"overrides": map[string]any{"cpu": "256", "memory": "4096"}}))
	assert.Equal(t, "ClientException", code, "no such Fargate")
	for _, changes := range []map[string]any{
		{"clientToken": "a b"},
		{"startedBy": "a b"},
		{"networkConfiguration": nil},
		{"capacityProviderStrategy": []any{map[string]any{"capacityProvider": "x"}}},
		{"tags": []any{map[string]any{"key": "a", "value": "#"}}},
	} {
		_, code := ask(t, s, "RunTask", runTask(changes))
		assert.Equal(t, "InvalidParameterException", code, "%v", changes)
	}
	for action, body := range map[string]map[string]any{
		"DescribeTasks": {"cluster": "sessions", "tasks": []string{"x"}},
		"StopTask":      {"cluster": "sessions", "task": "arn:aws:ecs:us-east-1:1:task/x/y"},
		"ListTasks":     {"cluster": "sessions", "maxResults": 101},
	} {
		_, code := ask(t, s, action, body)
		assert.Equal(t, "InvalidParameterException", code, action)
	}
	_, code = ask(t, s, "DeleteCluster", map[string]any{})
	assert.Equal(t, "UnknownOperationException", code)
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Post(s.Endpoint(), "application/x-amz-json-1.1", bytes.NewReader(nil))
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	assert.Equal(t, http.StatusBadRequest, resp.StatusCode, "not signed")
	assert.Empty(t, s.Tasks())
}

func TestStatesOfATask(t *testing.T) {
	phase := Duration(150 * time.Millisecond)
	s := Start(t, Options{Moods: Moods{Provision: phase, Pull: phase, Deprovision: phase}})
	run, _ := ask(t, s, "RunTask", runTask(nil))
	arn := arnOf(run)
	var states []string
	look := func() string {
		answer, _ := ask(t, s, "DescribeTasks", map[string]any{"cluster": "sessions", "tasks": []string{arn}})
		state := answer["tasks"].([]any)[0].(map[string]any)["lastStatus"].(string)
		if len(states) == 0 || states[len(states)-1] != state {
			states = append(states, state)
		}
		return state
	}
	require.Eventually(t, func() bool { return look() == "RUNNING" }, 30*time.Second, 5*time.Millisecond)
	require.NoError(t, s.End(arn, "TerminationNotice", "for tests"))
	require.Eventually(t, func() bool { return look() == "STOPPED" }, 30*time.Second, 5*time.Millisecond)
	assert.Subset(t, []string{"PROVISIONING", "PENDING", "RUNNING", "DEPROVISIONING", "STOPPED"}, states)
	assert.Equal(t, "STOPPED", states[len(states)-1])
	require.ErrorIs(t, s.End(arn, "", ""), ErrNoTask)
}

func TestMoodsOverTheWire(t *testing.T) {
	s := Start(t, Options{})
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	control := func(method, path, body string) (int, string) {
		req, err := http.NewRequestWithContext(t.Context(), method, s.Endpoint()+path, bytes.NewReader([]byte(body)))
		require.NoError(t, err)
		resp, err := client.Do(req)
		require.NoError(t, err)
		defer resp.Body.Close()
		data, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		return resp.StatusCode, string(data)
	}
	status, _ := control(http.MethodPut, "/-/moods", `{"lag": "1.5s", "throttle": 3, "errors": {"StopTask": {"code": "X", "message": "y"}}}`)
	assert.Equal(t, http.StatusOK, status)
	assert.Equal(t, Moods{Lag: Duration(1500 * time.Millisecond), Throttle: 3, Errors: map[string]APIError{"StopTask": {Code: "X", Message: "y"}}}, s.Moods())
	status, _ = control(http.MethodPut, "/-/moods", `{"lagg": "1s"}`)
	assert.Equal(t, http.StatusBadRequest, status)
	_, body := control(http.MethodGet, "/-/moods", "")
	assert.JSONEq(t, `{"lag":"1.5s","throttle":3,"errors":{"StopTask":{"code":"X","message":"y"}}}`, body)

	s.SetMoods(Moods{LoseReplies: 1})
	_, code := ask(t, s, "RunTask", runTask(nil))
	assert.Equal(t, "lost", code)
	require.Len(t, s.Tasks(), 1)
	_, body = control(http.MethodGet, "/-/tasks", "")
	var tasks []TaskInfo
	require.NoError(t, json.Unmarshal([]byte(body), &tasks))
	require.Len(t, tasks, 1)
	_, body = control(http.MethodGet, "/-/calls", "")
	assert.JSONEq(t, `{"RunTask": 1}`, body)
	_, body = control(http.MethodGet, "/-/doubles", "")
	assert.JSONEq(t, `[]`, body)

	require.Eventually(t, func() bool {
		status, _ := control(http.MethodPost, "/-/kill?task="+tasks[0].ARN, "")
		return status == http.StatusOK
	}, 30*time.Second, 5*time.Millisecond)
	status, _ = control(http.MethodPost, "/-/pause?task=nobody", "")
	assert.Equal(t, http.StatusNotFound, status)
}

// Two of them never get in each other's way, though their containers have the same port.
func TestTwoAtOnce(t *testing.T) {
	one := Start(t, Options{})
	two := Start(t, Options{Port: one.Port()})
	assert.Equal(t, one.Port(), two.Port())
	assert.NotEqual(t, one.addresses.block, two.addresses.block)
}

func TestAddresses(t *testing.T) {
	a := &addresses{block: 7}
	assert.Equal(t, "127.7.1.2", a.take(false))
	seen := map[string]bool{}
	for range 1000 {
		seen[a.take(false)] = true
	}
	assert.Len(t, seen, 1000)
	a.free("127.7.3.4")
	assert.NotEqual(t, "127.7.3.4", a.take(false))
	assert.Equal(t, "127.7.3.4", a.take(true))
}

func TestNeedsAFolder(t *testing.T) {
	_, err := New(Options{Command: []string{os.Args[0]}})
	require.ErrorContains(t, err, "needs a folder")
}
