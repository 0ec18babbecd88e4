package dynamodblocal

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/internal/leaktest"
)

// child makes the test binary a process that starts a server of its own and waits.
const child = "DYNAMODBLOCAL_TEST_CHILD"

func TestMain(m *testing.M) { leaktest.VerifyTestMain(m) }

func TestChild(t *testing.T) {
	if os.Getenv(child) == "" {
		return
	}
	fmt.Printf("url %s\n", Start(t).URL)
	_, err := io.Copy(io.Discard, os.Stdin)
	require.NoError(t, err)
}

func TestStart(t *testing.T) {
	one, two := Start(t), Start(t)
	assert.Equal(t, one, two, "one for all tests")
	assert.True(t, answers(t, one.URL))
	assert.NotEqual(t, Prefix(), Prefix())
	assert.Contains(t, one.Environ(), "AWS_ENDPOINT_URL_DYNAMODB="+one.URL)
}

// A test binary that is killed, as by go test's own time limit, leaves no server behind.
func TestEndsWithTheBinary(t *testing.T) {
	command := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestChild$")
	command.Env = append(os.Environ(), child+"=1")
	stdin, err := command.StdinPipe()
	require.NoError(t, err)
	defer stdin.Close()
	stdout, err := command.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, command.Start())

	line, err := bufio.NewReader(stdout).ReadString('\n')
	require.NoError(t, err)
	url, found := strings.CutPrefix(strings.TrimSpace(line), "url ")
	require.True(t, found, line)
	require.True(t, answers(t, url))
	require.NoError(t, command.Process.Kill())
	_ = command.Wait() // killed
	require.Eventually(t, func() bool { return !answers(t, url) }, time.Minute, 20*time.Millisecond)
}

func answers(t *testing.T, url string) bool {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Minute}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	require.NoError(t, err)
	response, err := client.Do(request)
	if err != nil {
		return false
	}
	return assert.NoError(t, response.Body.Close())
}
