//go:build unix

package ecs

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/runner/ecs/ecstest"
	"github.com/webordinary/router/sessions"
)

func TestWhyItEnded(t *testing.T) {
	for name, c := range map[string]struct {
		task types.Task
		want string
	}{
		"nothing said": {types.Task{StopCode: "UserInitiated"}, "ended UserInitiated"},
		"told":         {types.Task{StoppedReason: aws.String("idle"), Containers: []types.Container{{ExitCode: aws.Int32(0)}}}, "idle"},
		"exit": {
			types.Task{StoppedReason: aws.String("Essential container in task exited"), Containers: []types.Container{{ExitCode: aws.Int32(4)}}},
			"Essential container in task exited; exit status 4: its work could not be saved",
		},
		"memory": {
			types.Task{StoppedReason: aws.String("Essential container in task exited"), Containers: []types.Container{{
				ExitCode: aws.Int32(137), Reason: aws.String("OutOfMemoryError: Container killed due to memory usage"),
			}}},
			"Essential container in task exited; OutOfMemoryError: Container killed due to memory usage; exit status 137: it was killed: " +
				"it did not end in time (see stopTimeout), or ran out of memory (give the client a larger containerSize, or the size more memory)",
		},
		"image": {
			types.Task{StoppedReason: aws.String("CannotPullContainerError:\n\tpull access denied"), StopCode: "TaskFailedToStart"},
			"CannotPullContainerError: pull access denied (check the image's name, the execution role, and the way to the image registry (NAT, VPC endpoints or assign_public_ip))",
		},
		"spot": {
			types.Task{StoppedReason: aws.String("Your Spot Task was interrupted."), StopCode: "SpotInterruption"},
			"Your Spot Task was interrupted. (Fargate took the capacity back: do not use FARGATE_SPOT where that matters)",
		},
	} {
		assert.Equal(t, c.want, whyEnded(c.task), name)
	}
}

func TestContainersThatDie(t *testing.T) {
	fake := fakeECS(t, ecstest.Options{})
	r := runner(t, fake)
	c, err := r.Start(t.Context(), request("dies", 1))
	require.NoError(t, err)
	eventually(t, "it has ended", func() bool {
		d, err := r.Describe(t.Context(), c.Ref)
		return err == nil && !d.Running && d.Reason == "Essential container in task exited; exit status 4: its work could not be saved"
	})
	again, err := r.Start(t.Context(), request("dies", 1))
	require.NoError(t, err)
	assert.Equal(t, c.Ref, again.Ref)
	assert.False(t, again.Running)

	// One that cannot even start says why, too.
	fake.SetMoods(ecstest.Moods{Broken: "CannotPullContainerError: not found"})
	c, err = r.Start(t.Context(), request("broken", 1))
	require.NoError(t, err)
	ended(t, fake, c.Ref)
	d, err := r.Describe(t.Context(), c.Ref)
	require.NoError(t, err)
	assert.False(t, d.Running)
	assert.Contains(t, d.Reason, "check the image's name")
}

// Errors say what to do, and whether trying again may help.
func TestErrorsInWords(t *testing.T) {
	fake := madeUpECS(t, ecstest.Options{})
	r := runner(t, fake)
	r.timing.patience, r.timing.readPatience = 0, 0
	for _, c := range []struct {
		code, message string
		status        int
		sentinel      error
		want          string
	}{
		{"ClientException", "TaskDefinition not found.", 400, nil, "set `task_definition`"},
		{"ClientException", "TaskDefinition is inactive", 400, nil, "register it again"},
		{"ClusterNotFoundException", "Cluster not found.", 400, nil, "set `cluster` and `region` (cluster sessions, region us-east-1)"},
		{"InvalidParameterException", "Override for container named x is not a container in the TaskDefinition.", 400, nil, "set `container`"},
		{"ClientException", "No Fargate configuration exists for given values: 1 CPU, 1 memory.", 400, nil, "set `size`"},
		{"InvalidParameterException", "Error retrieving subnet information for [subnet-1]: The subnet ID does not exist", 400, nil, "set `subnets`"},
		{"InvalidParameterException", "Error retrieving security group information for [sg-1]", 400, nil, "set `security_groups`"},
		{"InvalidParameterException", "The specified capacity provider 'x' is not associated", 400, nil, "set `capacity_provider`"},
		{"ClientException", "You've reached the limit on the number of vCPUs you can run concurrently", 400, sessions.ErrCapacity, "quota"},
		{"ClientException", "Capacity is unavailable at this time. Please try again later or in a different availability zone", 400, sessions.ErrCapacity, "add subnets"},
		{"LimitExceededException", "the limit", 400, sessions.ErrCapacity, "quota"},
		{"AccessDeniedException", "User: arn:x is not authorized to perform: ecs:RunTask on resource: y", 400, nil, "docs/ecs.md"},
		{"UnrecognizedClientException", "The security token included in the request is invalid.", 400, sessions.ErrRunnerUnavailable, "credentials"},
		{"ExpiredTokenException", "The security token included in the request is expired", 400, sessions.ErrRunnerUnavailable, "expired"},
		{"InvalidSignatureException", "Signature expired: 1 is now earlier than 2", 400, sessions.ErrRunnerUnavailable, "clock"},
		{"ServerException", "Service Unavailable. Please try again later.", 500, sessions.ErrRunnerUnavailable, "ECS failed to answer RunTask"},
		{"ThrottlingException", "Rate exceeded", 400, sessions.ErrRunnerUnavailable, "throttles"},
		{"BlockedException", "Your AWS account has been blocked.", 400, nil, "support"},
		{"SomethingElse", "is\nwrong", 400, nil, "ECS refuses RunTask: SomethingElse: is wrong"},
	} {
		fake.SetMoods(ecstest.Moods{Errors: map[string]ecstest.APIError{
			"RunTask":       {Status: c.status, Code: c.code, Message: c.message},
			"DescribeTasks": {Status: c.status, Code: c.code, Message: c.message},
			"ListTasks":     {Status: c.status, Code: c.code, Message: c.message},
		}})
		_, err := r.Start(t.Context(), request("one", 1))
		require.Error(t, err, c.message)
		assert.ErrorContains(t, err, c.want)
		for _, sentinel := range []error{sessions.ErrCapacity, sessions.ErrRunnerUnavailable, sessions.ErrNoContainer} {
			assert.Equal(t, sentinel == c.sentinel, errors.Is(err, sentinel), "%v is %v", err, sentinel) //nolint:errorlint // the same value
		}
		// What cannot be asked is unknown, and never gone.
		_, err = r.List(t.Context())
		assert.ErrorIs(t, err, sessions.ErrRunnerUnavailable, c.message)
		if c.code != "InvalidParameterException" {
			_, err = r.Describe(t.Context(), "arn:aws:ecs:us-east-1:123456789012:task/sessions/"+strings.Repeat("0", 32))
			assert.ErrorIs(t, err, sessions.ErrRunnerUnavailable, c.message)
			assert.NotErrorIs(t, err, sessions.ErrNoContainer, c.message)
		}
	}
	assert.Empty(t, fake.Tasks())
}

func TestFailuresInWords(t *testing.T) {
	for reason, c := range map[string]struct {
		full bool
		want string
	}{
		"RESOURCE:CPU": {true, "enough cpu free"},
		"RESOURCE:ENI": {true, "network interface"},
		"AGENT":        {true, "no machine for it"},
		"Capacity is unavailable at this time. Please try again later or in a different availability zone": {true, "Fargate has no capacity"},
		"ATTRIBUTE": {false, "fits the task definition"},
		"anything":  {true, "ECS placed no task: anything"},
	} {
		err := explainFailure(types.Failure{Reason: aws.String(reason), Detail: aws.String("more")})
		assert.ErrorContains(t, err, c.want)
		assert.ErrorContains(t, err, reason+": more")
		assert.Equal(t, c.full, errors.Is(err, sessions.ErrCapacity), reason)
	}
}

func TestNobodyAnswers(t *testing.T) {
	fake := madeUpECS(t, ecstest.Options{})
	o := options(t, fake)
	client, err := NewClient(t.Context(), ClientOptions{Region: "us-east-1", Endpoint: "http://127.0.0.1:1"})
	require.NoError(t, err)
	o.Client = client
	r := newRunner(t, o)
	defer func() { assert.NoError(t, r.Close(t.Context())) }()
	r.timing.readPatience = 0
	_, err = r.Start(t.Context(), request("one", 1))
	require.ErrorIs(t, err, sessions.ErrRunnerUnavailable)
	assert.ErrorContains(t, err, "ECS does not answer RunTask")
}

func TestNoCredentials(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "")
	r := runner(t, madeUpECS(t, ecstest.Options{}))
	_, err := r.Start(t.Context(), request("one", 1))
	require.ErrorIs(t, err, sessions.ErrRunnerUnavailable)
	assert.ErrorContains(t, err, "the edge has no AWS credentials")
}

func TestNoRegion(t *testing.T) {
	_, err := NewClient(t.Context(), ClientOptions{})
	require.ErrorContains(t, err, "set `region`")
	t.Setenv("AWS_REGION", "eu-west-1")
	client, err := NewClient(t.Context(), ClientOptions{})
	require.NoError(t, err)
	assert.Equal(t, "eu-west-1", client.Options().Region)
	_, err = os.Stat(os.DevNull)
	require.NoError(t, err)
}

func TestTagValue(t *testing.T) {
	assert.Equal(t, "a_b ä.:/=+-@1_", tagValue("a#b ä.:/=+-@1%"))
	assert.Len(t, tagValue(strings.Repeat("ä", 200)), 256)
}
