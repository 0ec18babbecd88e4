package ecs

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/runner/ecs/ecstest"
)

func TestExamine(t *testing.T) {
	denied := map[string]ecstest.APIError{}
	for _, action := range []string{"DescribeClusters", "DescribeTaskDefinition", "ListTasks"} {
		denied[action] = ecstest.APIError{Code: "AccessDeniedException", Message: "User is not authorized to perform ecs:" + action}
	}
	first := func(change func(*ecstest.ContainerDefinition)) func(*ecstest.Definition) {
		return func(d *ecstest.Definition) { change(&d.Containers[0]) }
	}
	const definition = "FAIL ECS task definition: session:1 "
	tests := map[string]struct {
		fake   ecstest.Options
		change func(*Options)
		want   []string // what fails; of the rest nothing may
	}{
		"all is well": {},
		"no cluster": {change: func(o *Options) { o.Cluster = "other" }, want: []string{
			"FAIL ECS cluster: there is no other in us-east-1: create the cluster, or set `cluster` and `region`", "FAIL ECS tasks: ",
		}},
		"cluster deleted": {fake: ecstest.Options{ClusterStatus: "INACTIVE"}, want: []string{
			"FAIL ECS cluster: sessions in us-east-1 is inactive: create the cluster anew, or set `cluster`",
		}},
		"no task definition": {change: func(o *Options) { o.Tunables.TaskDefinition = "other" }, want: []string{
			"FAIL ECS task definition: register the task definition, or set `task_definition` (cluster sessions, region us-east-1)",
		}},
		"deregistered": {fake: ecstest.Options{Define: func(d *ecstest.Definition) { d.Status = "INACTIVE" }}, want: []string{
			definition + "is inactive: register it again, or set `task_definition`",
		}},
		"bridge": {fake: ecstest.Options{Define: func(d *ecstest.Definition) { d.NetworkMode = "bridge" }}, want: []string{
			definition + `has the network mode "bridge": set networkMode to awsvpc`,
		}},
		"for machines": {fake: ecstest.Options{Define: func(d *ecstest.Definition) { d.RequiresCompatibilities = []string{"EC2"} }}, want: []string{
			definition + "does not require Fargate: ",
		}},
		"rights for clients": {fake: ecstest.Options{Define: func(d *ecstest.Definition) { d.TaskRoleARN = "arn:aws:iam::1:role/x" }}, want: []string{
			definition + "has the task role arn:aws:iam::1:role/x: remove taskRoleArn",
		}},
		"no execution role": {fake: ecstest.Options{Define: func(d *ecstest.Definition) { d.ExecutionRoleARN = "" }}, want: []string{
			definition + "has no execution role: set executionRoleArn",
		}},
		"no container": {change: func(o *Options) { o.Tunables.Container = "web" }, want: []string{
			definition + `has no container "web": it has session: set ` + "`container`",
		}},
		"another port": {fake: ecstest.Options{Define: first(func(c *ecstest.ContainerDefinition) { c.PortMappings = nil })}, want: []string{
			definition + "does not map port ",
		}},
		"no time to save": {fake: ecstest.Options{Define: first(func(c *ecstest.ContainerDefinition) { c.StopTimeout = 0 })}, want: []string{
			definition + "gives containers no time of its own to end: set stopTimeout to 60",
		}},
		"limits of its own": {fake: ecstest.Options{Define: first(func(c *ecstest.ContainerDefinition) { c.Memory = 512 })}, want: []string{
			definition + "limits the container beside the task: ",
		}},
		"denied": {fake: ecstest.Options{Moods: ecstest.Moods{Errors: denied}}, want: []string{
			"FAIL ECS cluster: the edge's AWS role does not allow ecs:DescribeClusters",
			"FAIL ECS task definition: the edge's AWS role does not allow ecs:DescribeTaskDefinition",
			"FAIL ECS tasks: ",
		}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fake := fakeECS(t, tt.fake)
			change := tt.change
			if change == nil {
				change = func(*Options) {}
			}
			var failed []string
			findings := runner(t, fake, change).Examine(t.Context())
			for _, f := range findings {
				if !f.OK {
					failed = append(failed, fmt.Sprintf("FAIL %s: %s: %s", f.Check, f.Detail, f.Remedy))
				}
			}
			require.Len(t, failed, len(tt.want), "%q", failed)
			for i, want := range tt.want {
				assert.Contains(t, failed[i], want)
			}
			assert.Len(t, findings, 4)
			assert.Empty(t, fake.Tasks(), "it starts nothing")
		})
	}
}

func TestExamineWithoutCredentials(t *testing.T) {
	fake := fakeECS(t, ecstest.Options{})
	o := options(t, fake)
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} {
		t.Setenv(name, "")
	}
	client, err := NewClient(t.Context(), ClientOptions{Region: fake.Region(), Endpoint: fake.Endpoint()})
	require.NoError(t, err)
	o.Client = client
	findings := runner(t, fake, func(to *Options) { *to = o }).Examine(t.Context())
	require.Len(t, findings, 1)
	assert.Contains(t, findings[0].Detail, "the edge has no AWS credentials: give it a role, or set AWS_PROFILE")
}
