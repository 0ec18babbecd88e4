package ecs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsecs "github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"github.com/webordinary/router/sessions"
)

// Finding is one thing that was looked at.
type Finding struct {
	// Check names it: "ECS cluster", "ECS task definition", "ECS network", "ECS tasks".
	Check string
	OK    bool
	// Detail says what was found.
	Detail string
	// Remedy says what to do; empty where all is well, or where the detail says it.
	Remedy string
}

// leastStopTimeout is how long containerboot may take to end, in seconds.
const leastStopTimeout = 30

// Examine looks whether the cluster and the task definition are there and as session
// containers need them, and whether the edge may ask for tasks. It starts nothing, and
// calls what needs ecs:DescribeClusters and ecs:DescribeTaskDefinition, which a running
// edge does without: where these are not allowed, it says so.
func (r *Runner) Examine(ctx context.Context) []Finding {
	cluster, err := r.examineCluster(ctx)
	findings := []Finding{cluster}
	if errors.Is(err, sessions.ErrRunnerUnavailable) {
		return findings // without credentials or a way to ECS every other call says the same
	}
	findings = append(findings, r.examineDefinition(ctx)...)
	return append(findings, r.examineNetwork(), r.examineTasks(ctx))
}

// examineCluster returns the error of the call, too.
func (r *Runner) examineCluster(ctx context.Context) (Finding, error) {
	f := Finding{Check: "ECS cluster"}
	out, err := call(ctx, ctx, r, newAction("DescribeClusters", 1), r.timing.readPatience, func(ctx context.Context) (*awsecs.DescribeClustersOutput, error) {
		return r.client.DescribeClusters(ctx, &awsecs.DescribeClustersInput{Clusters: []string{r.cluster}})
	})
	if err != nil {
		f.Detail = err.Error() // says what to do
		return f, err
	}
	var status string
	for _, c := range out.Clusters {
		status = aws.ToString(c.Status)
	}
	switch status {
	case "ACTIVE":
		f.OK, f.Detail = true, fmt.Sprintf("%s in %s is active", r.clusterName(), r.region)
	case "":
		f.Detail, f.Remedy = fmt.Sprintf("there is no %s in %s", r.clusterName(), r.region), "create the cluster, or set `cluster` and `region`"
	default:
		f.Detail, f.Remedy = fmt.Sprintf("%s in %s is %s", r.clusterName(), r.region, strings.ToLower(status)), "create the cluster anew, or set `cluster`"
	}
	return f, nil
}

// examineNetwork says what containers are given: whether it exists only a start finds out.
func (r *Runner) examineNetwork() Finding {
	t := r.tunables.Load()
	groups := "the VPC's default security group, which must let the edges reach the port"
	if len(t.SecurityGroups) > 0 {
		groups = strings.Join(t.SecurityGroups, ", ")
	}
	return Finding{Check: "ECS network", OK: true, Detail: fmt.Sprintf("%s with %s", strings.Join(t.Subnets, ", "), groups)}
}

func (r *Runner) examineDefinition(ctx context.Context) []Finding {
	const check = "ECS task definition"
	t := r.tunables.Load()
	out, err := call(ctx, ctx, r, newAction("DescribeTaskDefinition", 1), r.timing.readPatience, func(ctx context.Context) (*awsecs.DescribeTaskDefinitionOutput, error) {
		return r.client.DescribeTaskDefinition(ctx, &awsecs.DescribeTaskDefinitionInput{TaskDefinition: aws.String(t.TaskDefinition)})
	})
	if err != nil {
		return []Finding{{Check: check, Detail: err.Error()}} // says what to do
	}
	if out.TaskDefinition == nil {
		return []Finding{{Check: check, Detail: "ECS answers without one"}}
	}
	name := fmt.Sprintf("%s:%d", aws.ToString(out.TaskDefinition.Family), out.TaskDefinition.Revision)
	var findings []Finding
	for _, fault := range t.faultsOf(out.TaskDefinition) {
		findings = append(findings, Finding{Check: check, Detail: name + " " + fault[0], Remedy: fault[1]})
	}
	if len(findings) == 0 {
		findings = append(findings, Finding{Check: check, OK: true, Detail: name + " has what a session needs"})
	}
	return findings
}

// faultsOf says what of a task definition does not fit session containers, and what to do.
func (t *Tunables) faultsOf(d *types.TaskDefinition) (faults [][2]string) {
	fault := func(what, remedy string) { faults = append(faults, [2]string{what, remedy}) }
	if d.Status != types.TaskDefinitionStatusActive {
		fault("is "+strings.ToLower(string(d.Status)), "register it again, or set `task_definition`")
	}
	if d.NetworkMode != types.NetworkModeAwsvpc {
		fault(fmt.Sprintf("has the network mode %q", d.NetworkMode), "set networkMode to awsvpc: every session needs an address of its own")
	}
	if t.onFargate() && !slices.Contains(d.RequiresCompatibilities, types.CompatibilityFargate) {
		fault("does not require Fargate", "add FARGATE to requiresCompatibilities, or set `capacity_provider`")
	}
	if d.TaskRoleArn != nil {
		fault("has the task role "+*d.TaskRoleArn, "remove taskRoleArn: the clients' code would have its rights")
	}
	var names []string
	for _, c := range d.ContainerDefinitions {
		if aws.ToString(c.Name) == t.Container {
			t.faultsOfContainer(d, c, fault)
			return faults
		}
		names = append(names, aws.ToString(c.Name))
	}
	fault(fmt.Sprintf("has no container %q: it has %s", t.Container, strings.Join(names, ", ")), "set `container` to one of these")
	return faults
}

func (t *Tunables) faultsOfContainer(d *types.TaskDefinition, c types.ContainerDefinition, fault func(what, remedy string)) {
	mapped := false
	for _, p := range c.PortMappings {
		mapped = mapped || int(aws.ToInt32(p.ContainerPort)) == t.Port
	}
	if !mapped {
		fault(fmt.Sprintf("does not map port %d", t.Port), "add it to portMappings, or set `port`")
	}
	// Without a number it is Fargate's default, or the machine's.
	if s := aws.ToInt32(c.StopTimeout); s <= leastStopTimeout {
		fault(fmt.Sprintf("gives containers %s to end", seconds(c.StopTimeout)), "set stopTimeout to 60: saving takes up to 30 s")
	}
	if c.Cpu != 0 || aws.ToInt32(c.Memory) != 0 {
		fault("limits the container beside the task", "remove cpu and memory from the container: the size of a session overrides the task's only")
	}
	if d.ExecutionRoleArn == nil && (c.LogConfiguration != nil && c.LogConfiguration.LogDriver == types.LogDriverAwslogs || strings.Contains(aws.ToString(c.Image), ".dkr.ecr.")) {
		fault("has no execution role", "set executionRoleArn: it fetches the image and writes the log")
	}
}

func seconds(n *int32) string {
	if n == nil {
		return "no time of its own"
	}
	return fmt.Sprintf("%d s", *n)
}

// examineTasks makes the call that a look-up of containers begins with.
func (r *Runner) examineTasks(ctx context.Context) Finding {
	f := Finding{Check: "ECS tasks"}
	list, err := r.List(ctx)
	if err != nil {
		f.Detail = err.Error() // says what to do
		return f
	}
	f.OK, f.Detail = true, fmt.Sprintf("%d of %s run", len(list), r.startedBy)
	return f
}
