package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"go.uber.org/zap"

	"github.com/webordinary/router/runner/ecs"
	"github.com/webordinary/router/sessions"
)

func init() {
	caddy.RegisterModule(ECSRunner{})
}

// ECSRunner runs each session's container as a task of Amazon ECS. Any number of edges
// with the same region, cluster and name share its containers.
type ECSRunner struct {
	// The name or ARN of the cluster. Required.
	Cluster string `json:"cluster,omitempty"`

	// The task definition: its family, for the newest revision, or family:revision, or
	// an ARN. Required.
	TaskDefinition string `json:"task_definition,omitempty"`

	// The name of containerboot's container in the task definition. Default: session.
	Container string `json:"container,omitempty"`

	// The AWS region. Default: that of AWS_REGION or of AWS's shared configuration.
	Region string `json:"region,omitempty"`

	// The URL of another ECS than the region's, a VPC endpoint for example.
	Endpoint string `json:"endpoint,omitempty"`

	// The ids of the subnets in which containers get their network interface, better in
	// more than one availability zone. Required.
	Subnets []string `json:"subnets,omitempty"`

	// The ids of the security groups of the network interface. They must let the edges
	// reach the port. Default: that of the VPC.
	SecurityGroups []string `json:"security_groups,omitempty"`

	// Gives containers a public address beside the private one, which they need to fetch
	// their image where subnets have neither NAT nor VPC endpoints. Default: false.
	AssignPublicIP bool `json:"assign_public_ip,omitempty"`

	// Names the deployment: containers which were started by this name are its own.
	// At most 36 letters, digits, '-', '_' and '/'. Default: webordinary.
	StartedBy string `json:"started_by,omitempty"`

	// Where containers run: FARGATE, FARGATE_SPOT, or the cluster's own capacity
	// providers. Default: Fargate, on demand.
	CapacityProviders []ecs.CapacityProvider `json:"capacity_providers,omitempty"`

	// What the container sizes small, medium and large mean. Default: 512 CPU units
	// with 2048 MiB, 1024 with 4096, 2048 with 8192.
	Sizes map[string]ecs.Size `json:"sizes,omitempty"`

	// The port on which containers listen. Default: 8080.
	Port int `json:"port,omitempty"`
}

// defaultStartedBy is the default of ECSRunner.StartedBy.
const defaultStartedBy = "webordinary"

// CaddyModule returns the Caddy module information.
func (ECSRunner) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  namespaceRunners + ".ecs",
		New: func() caddy.Module { return new(ECSRunner) },
	}
}

// Identity is region, cluster and the name in started_by, and where ECS is found.
// What containers are started with may change.
func (r *ECSRunner) Identity(string) string {
	identity := "ecs:" + r.Region + "/" + r.Cluster + "/" + r.startedBy()
	if r.Endpoint != "" {
		identity += "@" + r.Endpoint
	}
	return identity
}

func (r *ECSRunner) startedBy() string {
	if r.StartedBy == "" {
		return defaultStartedBy
	}
	return r.StartedBy
}

// Local is false: all edges share a cluster's tasks.
func (*ECSRunner) Local() bool { return false }

// OpenRunner opens the runner. It starts nothing, and calls nothing.
func (r *ECSRunner) OpenRunner(_ string, logger *zap.Logger) (sessions.Runner, error) {
	client, err := ecs.NewClient(context.Background(), ecs.ClientOptions{Region: r.Region, Endpoint: r.Endpoint})
	if err != nil {
		return nil, err
	}
	runner, err := ecs.New(ecs.Options{
		Client: client, Cluster: r.Cluster, StartedBy: r.startedBy(), Tunables: r.tunables(), Logger: logger,
	})
	if err != nil {
		return nil, err
	}
	return runner, nil
}

// Examine implements Examiner: it asks ECS for what containers are started with.
func (r *ECSRunner) Examine(ctx context.Context, _ string) []Finding {
	client, err := ecs.NewClient(ctx, ecs.ClientOptions{Region: r.Region, Endpoint: r.Endpoint})
	if err != nil {
		return []Finding{failing("ECS cluster", err.Error(), "see to the AWS configuration of the edge's user")}
	}
	runner, err := ecs.New(ecs.Options{Client: client, Cluster: r.Cluster, StartedBy: r.startedBy(), Tunables: r.tunables()})
	if err != nil {
		return []Finding{{Check: "ECS cluster", Detail: err.Error()}} // says what to do
	}
	findings := findingsOf(runner.Examine(ctx))
	if err := runner.Close(ctx); err != nil {
		return append(findings, Finding{Check: "ECS tasks", Detail: err.Error()})
	}
	return findings
}

// Reconfigure has the next containers started with this configuration's settings.
func (r *ECSRunner) Reconfigure(runner sessions.Runner) error {
	e, ok := runner.(*ecs.Runner)
	if !ok {
		return fmt.Errorf("reconfiguring %T: it is no ECS runner", runner)
	}
	return e.SetTunables(r.tunables())
}

func (r *ECSRunner) tunables() ecs.Tunables {
	return ecs.Tunables{
		TaskDefinition: r.TaskDefinition, Container: r.Container,
		Subnets: r.Subnets, SecurityGroups: r.SecurityGroups, AssignPublicIP: r.AssignPublicIP,
		CapacityProviders: r.CapacityProviders, Sizes: r.Sizes, Port: r.Port,
	}
}

// Validate checks the settings.
func (r *ECSRunner) Validate() error {
	if r.Cluster == "" {
		return errors.New("runner ecs: cluster must be set")
	}
	if err := ecs.CheckStartedBy(r.startedBy()); err != nil {
		return fmt.Errorf("runner ecs: started_by: %w", err)
	}
	if r.Endpoint != "" {
		if u, err := url.Parse(r.Endpoint); err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") || u.User != nil {
			return errors.New("runner ecs: endpoint must be a URL, http:// or https://, without credentials")
		}
	}
	if err := r.tunables().Check(); err != nil {
		return fmt.Errorf("runner ecs: %w", err)
	}
	return nil
}

// UnmarshalCaddyfile implements caddyfile.Unmarshaler. Syntax:
//
//	runner ecs {
//		cluster           <name>
//		task_definition   <family[:revision]>
//		container         <name>
//		region            <region>
//		endpoint          <url>
//		subnets           <id>...
//		security_groups   <id>...
//		assign_public_ip
//		started_by        <name>
//		capacity_provider <name> [<weight> [<base>]]
//		size              small|medium|large <cpu> <memory>
//		port              <port>
//	}
//
// size and capacity_provider may be given once for each size and provider; the weight
// of a provider is 1 unless it is given. CPU is in units of 1/1024 of a core, memory in MiB.
func (r *ECSRunner) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	return unmarshalRunner(d, r.unmarshalOption, r.Validate)
}

func (r *ECSRunner) unmarshalOption(d *caddyfile.Dispenser) error {
	option := d.Val()
	texts := map[string]*string{
		"cluster": &r.Cluster, "task_definition": &r.TaskDefinition, "container": &r.Container,
		"region": &r.Region, "endpoint": &r.Endpoint, "started_by": &r.StartedBy,
	}
	lists := map[string]*[]string{"subnets": &r.Subnets, "security_groups": &r.SecurityGroups}
	switch {
	case texts[option] != nil:
		if *texts[option] != "" {
			return d.Errf("%s is given twice", option)
		}
		if !d.AllArgs(texts[option]) {
			return d.ArgErr()
		}
	case lists[option] != nil:
		if *lists[option] != nil {
			return d.Errf("%s is given twice", option)
		}
		if *lists[option] = d.RemainingArgs(); len(*lists[option]) == 0 {
			return d.ArgErr()
		}
	case option == "assign_public_ip":
		if d.NextArg() {
			return d.ArgErr()
		}
		r.AssignPublicIP = true
	case option == "port":
		if r.Port != 0 {
			return d.Errf("%s is given twice", option)
		}
		args := d.RemainingArgs()
		if len(args) != 1 {
			return d.ArgErr()
		}
		port, err := numbers(args)
		if err != nil || port[0] < 1 {
			return d.Errf("port must be 1 to 65535, got %q", args[0])
		}
		r.Port = port[0]
	case option == "capacity_provider":
		return r.unmarshalCapacityProvider(d)
	case option == "size":
		return r.unmarshalSize(d)
	default:
		return d.Errf("unrecognized option %q of runner ecs", option)
	}
	return nil
}

func (r *ECSRunner) unmarshalCapacityProvider(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	if len(args) < 1 || len(args) > 3 {
		return d.ArgErr()
	}
	p := ecs.CapacityProvider{Name: args[0], Weight: 1}
	for _, other := range r.CapacityProviders {
		if other.Name == p.Name {
			return d.Errf("capacity_provider %s is given twice", p.Name)
		}
	}
	values, err := numbers(args[1:])
	if err != nil {
		return d.Errf("capacity_provider %s: weight and base must be numbers: %v", p.Name, err)
	}
	if len(values) > 0 {
		p.Weight = values[0]
	}
	if len(values) > 1 {
		p.Base = values[1]
	}
	r.CapacityProviders = append(r.CapacityProviders, p)
	return nil
}

func (r *ECSRunner) unmarshalSize(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	if len(args) != 3 {
		return d.ArgErr()
	}
	if _, ok := r.Sizes[args[0]]; ok {
		return d.Errf("size %s is given twice", args[0])
	}
	values, err := numbers(args[1:])
	if err != nil {
		return d.Errf("size %s: cpu and memory must be numbers: %v", args[0], err)
	}
	if r.Sizes == nil {
		r.Sizes = map[string]ecs.Size{}
	}
	r.Sizes[args[0]] = ecs.Size{CPU: values[0], Memory: values[1]}
	return nil
}

// numbers reads whole numbers.
func numbers(texts []string) ([]int, error) {
	values := make([]int, len(texts))
	for i, text := range texts {
		n, err := strconv.Atoi(text)
		if err != nil {
			return nil, fmt.Errorf("%q is none", text)
		}
		values[i] = n
	}
	return values, nil
}

// Interface guards
var (
	_ Runner                = (*ECSRunner)(nil)
	_ Examiner              = (*ECSRunner)(nil)
	_ caddy.Validator       = (*ECSRunner)(nil)
	_ caddyfile.Unmarshaler = (*ECSRunner)(nil)
)
