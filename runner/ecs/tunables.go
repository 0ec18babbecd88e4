package ecs

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Tunables are the settings of a Runner which may change while it runs.
type Tunables struct {
	// TaskDefinition is its family, which stands for the newest revision, or
	// family:revision, or an ARN.
	TaskDefinition string
	// Container is the name of containerboot's container in it. Default: DefaultContainer.
	Container string
	// Subnets are where tasks get their network interface: 1 to 16, better in more
	// than one availability zone, as capacity is by zone.
	Subnets []string
	// SecurityGroups are those of the network interface, at most 5. Default: the VPC's.
	SecurityGroups []string
	// AssignPublicIP gives tasks a public address beside the private one. In a subnet
	// without NAT or VPC endpoints they need it to fetch their image.
	AssignPublicIP bool
	// CapacityProviders are where tasks run. Default: Fargate, on demand.
	CapacityProviders []CapacityProvider
	// Sizes are what a client's container sizes mean. Default, for each of them: see
	// DefaultSizes.
	Sizes map[string]Size
	// Port is on which containers listen. Default: DefaultPort.
	Port int
}

// Defaults of Tunables.
const (
	DefaultContainer = "session"
	DefaultPort      = 8080
)

// CapacityProvider is a part of a capacity provider strategy.
type CapacityProvider struct {
	Name string `json:"name"`
	// Weight is its share of the tasks; Base how many it gets before the others do.
	Weight int `json:"weight,omitempty"`
	Base   int `json:"base,omitempty"`
}

// Size is what a container gets.
type Size struct {
	// CPU is in units of 1/1024 of a core, Memory in MiB.
	CPU    int `json:"cpu"`
	Memory int `json:"memory"`
}

// DefaultSizes returns what small, medium and large mean by default: what Fargate has,
// with memory enough for the build of an Astro site.
func DefaultSizes() map[string]Size {
	return map[string]Size{
		"small":  {CPU: 512, Memory: 2048},
		"medium": {CPU: 1024, Memory: 4096},
		"large":  {CPU: 2048, Memory: 8192},
	}
}

// Check reports every fault of the settings, each by the name that it has in a Caddyfile.
func (t Tunables) Check() error {
	var faults []string
	fault := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	if t.TaskDefinition == "" {
		fault("task_definition must be set")
	}
	if n := len(t.Subnets); n < 1 || n > 16 {
		fault("subnets must be 1 to 16, got %d", n)
	}
	if n := len(t.SecurityGroups); n > 5 {
		fault("security_groups must be at most 5, got %d", n)
	}
	for option, ids := range map[string][]string{"subnets": t.Subnets, "security_groups": t.SecurityGroups} {
		prefix := map[string]string{"subnets": "subnet-", "security_groups": "sg-"}[option]
		for _, id := range ids {
			if !strings.HasPrefix(id, prefix) {
				fault("%s: an id begins with %q, got %q", option, prefix, id)
			}
		}
	}
	if n := len(t.CapacityProviders); n > 20 {
		fault("capacity_provider: at most 20, got %d", n)
	}
	weights := 0
	for _, p := range t.CapacityProviders {
		if p.Name == "" || p.Weight < 0 || p.Weight > 1000 || p.Base < 0 || p.Base > 100_000 {
			fault("capacity_provider %q: weight must be 0 to 1000, base 0 to 100000", p.Name)
		}
		weights += p.Weight
	}
	if len(t.CapacityProviders) > 0 && weights == 0 {
		fault("capacity_provider: one must have a weight above 0")
	}
	for _, name := range slices.Sorted(maps.Keys(t.Sizes)) {
		switch size := t.Sizes[name]; {
		case DefaultSizes()[name] == Size{}:
			fault("size %q: must be small, medium or large", name)
		case size.CPU <= 0 || size.Memory <= 0:
			fault("size %s: cpu and memory must be above 0", name)
		case t.onFargate() && !size.fargate():
			fault("size %s: Fargate has no %d CPU units with %d MiB: %s", name, size.CPU, size.Memory, fargateHint(size.CPU))
		}
	}
	if t.Port < 0 || t.Port > 65535 {
		fault("port must be 1 to 65535, got %d", t.Port)
	}
	if len(faults) > 0 {
		return errors.New(strings.Join(faults, "; "))
	}
	return nil
}

// onFargate reports whether all tasks run on Fargate.
func (t Tunables) onFargate() bool {
	return !slices.ContainsFunc(t.CapacityProviders, func(p CapacityProvider) bool {
		return p.Name != "FARGATE" && p.Name != "FARGATE_SPOT"
	})
}

// fargateSizes are what Fargate has: https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-cpu-memory-error.html
var fargateSizes = []struct{ cpu, least, most, step int }{
	{256, 512, 2048, 1024}, // and 512
	{512, 1024, 4096, 1024},
	{1024, 2048, 8192, 1024},
	{2048, 4096, 16384, 1024},
	{4096, 8192, 30720, 1024},
	{8192, 16384, 61440, 4096},
	{16384, 32768, 122880, 8192},
}

func (s Size) fargate() bool {
	for _, f := range fargateSizes {
		if s.CPU == f.cpu {
			return s.Memory >= f.least && s.Memory <= f.most && (s.Memory%f.step == 0 || s.Memory == 512)
		}
	}
	return false
}

func fargateHint(cpu int) string {
	var all []string
	for _, f := range fargateSizes {
		if cpu == f.cpu {
			if f.cpu == 256 {
				return "with 256 it has 512, 1024 or 2048 MiB"
			}
			return fmt.Sprintf("with %d it has %d to %d MiB in steps of %d", cpu, f.least, f.most, f.step)
		}
		all = append(all, strconv.Itoa(f.cpu))
	}
	return "it has " + strings.Join(all, ", ")
}

// SetTunables changes what the next container is started with; those that run keep what
// they have. If a setting is not valid it returns an error, and changes nothing.
func (r *Runner) SetTunables(t Tunables) error {
	if err := t.Check(); err != nil {
		return fmt.Errorf("ecs runner: %w", err)
	}
	if t.Container == "" {
		t.Container = DefaultContainer
	}
	if t.Port == 0 {
		t.Port = DefaultPort
	}
	sizes := DefaultSizes()
	maps.Copy(sizes, t.Sizes)
	t.Sizes = sizes
	r.tunables.Store(&t)
	return nil
}
