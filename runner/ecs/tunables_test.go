//go:build unix

package ecs

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestTunablesReportEveryFault(t *testing.T) {
	err := Tunables{
		Subnets:           []string{"sg-1"},
		SecurityGroups:    []string{"sg-1", "sg-2", "sg-3", "sg-4", "sg-5", "subnet-6"},
		CapacityProviders: []CapacityProvider{{Name: "FARGATE"}, {Name: "", Weight: -1}},
		Sizes:             map[string]Size{"small": {CPU: 300, Memory: 512}, "huge": {CPU: 256, Memory: 512}, "large": {}},
		Port:              70000,
	}.Check()
	for _, want := range []string{
		"task_definition must be set", `subnets: an id begins with "subnet-", got "sg-1"`, "security_groups must be at most 5, got 6",
		`security_groups: an id begins with "sg-", got "subnet-6"`, `capacity_provider "": weight must be`,
		`size "huge": must be small, medium or large`, "size large: cpu and memory must be above 0", "port must be 1 to 65535, got 70000",
	} {
		assert.ErrorContains(t, err, want)
	}
	valid := Tunables{TaskDefinition: "session", Subnets: []string{"subnet-1"}}
	require.NoError(t, valid.Check())

	for _, c := range []struct {
		size  Size
		valid bool
	}{
		{Size{256, 512}, true},
		{Size{256, 1024}, true},
		{Size{256, 1536}, false},
		{Size{256, 2048}, true},
		{Size{256, 3072}, false},
		{Size{512, 512}, false},
		{Size{512, 1024}, true},
		{Size{1024, 8192}, true},
		{Size{1024, 9216}, false},
		{Size{2048, 16384}, true},
		{Size{4096, 30720}, true},
		{Size{8192, 20480}, true},
		{Size{8192, 17408}, false},
		{Size{16384, 122880}, true},
		{Size{300, 1024}, false},
	} {
		some := valid
		some.Sizes = map[string]Size{"small": c.size}
		assert.Equal(t, c.valid, some.Check() == nil, "%v", c.size)
		some.CapacityProviders = []CapacityProvider{{Name: "machines", Weight: 1}}
		assert.NoError(t, some.Check(), "machines of one's own have any size")
	}
	some := valid
	some.Sizes = map[string]Size{"small": {CPU: 512, Memory: 512}}
	assert.ErrorContains(t, some.Check(), "size small: Fargate has no 512 CPU units with 512 MiB: with 512 it has 1024 to 4096 MiB in steps of 1024")
	for name, size := range DefaultSizes() {
		assert.True(t, size.fargate(), name)
	}
}

func TestNewRefuses(t *testing.T) {
	client, err := NewClient(t.Context(), ClientOptions{Region: "us-east-1"})
	require.NoError(t, err)
	good := Options{Client: client, Cluster: "c", StartedBy: "s", Tunables: Tunables{TaskDefinition: "t", Subnets: []string{"subnet-1"}}}
	for want, change := range map[string]func(*Options){
		"client must be set":  func(o *Options) { o.Client = nil },
		"cluster must be set": func(o *Options) { o.Cluster = "" },
		"1 to 36 letters":     func(o *Options) { o.StartedBy = strings.Repeat("a", 37) },
		`got "a b"`:           func(o *Options) { o.StartedBy = "a b" },
		"task_definition":     func(o *Options) { o.Tunables.TaskDefinition = "" },
	} {
		o := good
		change(&o)
		_, err := New(o)
		assert.ErrorContains(t, err, want)
	}
	r, err := New(good)
	require.NoError(t, err)
	require.NoError(t, r.Close(t.Context()))
	good.Cluster = "arn:aws:ecs:us-east-1:123456789012:cluster/mine"
	r, err = New(good)
	require.NoError(t, err)
	assert.True(t, r.isOurs("arn:aws:ecs:us-east-1:123456789012:task/mine/"+strings.Repeat("a", 32)))
	require.NoError(t, r.Close(t.Context()))
}
