package harness

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/internal/dynamodblocal"
)

// ClusterOptions say what a cluster is made of.
type ClusterOptions struct {
	// Edges is how many there are. Default: 3.
	Edges int
	// Bin is the folder of their binaries. Default: Raced for the first edge, Released
	// for the others.
	Bin string
	// Lease is how long an edge that has died is waited for. Default: 2 s.
	Lease time.Duration
	// Router are further lines of webordinary_router.
	Router string
	// ECS is what holds the containers.
	ECS ECSOptions
}

// Cluster is several edges on one set of tables, with their containers on one ECS.
type Cluster struct {
	t testing.TB
	// Edges are not started by New.
	Edges []*Edge
	// DynamoDB and ECS are the ways of each edge to them.
	DynamoDB, ToECS []*Gate
	ECS             *ECS

	sites string
	desk  *Edge // is never started: its commands know the tables alone
}

// NewCluster makes tables, an ECS and edges; Start starts the edges.
func NewCluster(t testing.TB, o ClusterOptions) *Cluster {
	t.Helper()
	if o.Edges == 0 {
		o.Edges = 3
	}
	if o.Lease == 0 {
		o.Lease = 2 * time.Second
	}
	db := dynamodblocal.Start(t)
	prefix := dynamodblocal.Prefix()
	c := &Cluster{t: t, ECS: NewECS(t, o.ECS), sites: t.TempDir()}
	for range o.Edges + 1 {
		tables, ecs := NewGate(t, db.URL), NewGate(t, c.ECS.URL)
		c.DynamoDB, c.ToECS = append(c.DynamoDB, tables), append(c.ToECS, ecs)
		bin := o.Bin
		switch {
		case bin != "":
		case len(c.Edges) == 0:
			bin = Raced(t)
		default:
			bin = Released(t)
		}
		on := fmt.Sprintf("dynamodb {\n\t\t\tendpoint %s\n\t\t\ttable_prefix %s\n\t\t}\n", tables.URL, prefix)
		global := fmt.Sprintf("\t\tlease %s\n\t\tconfig_store %s\t\tregistry %[2]s", o.Lease, on) + fmt.Sprintf(
			"\t\trunner ecs {\n\t\t\tcluster sessions\n\t\t\ttask_definition session\n\t\t\tsubnets subnet-1\n\t\t\tport %d\n\t\t\tendpoint %s\n\t\t}\n",
			c.ECS.Port, ecs.URL)
		c.Edges = append(c.Edges, New(t, Options{Bin: bin, Env: db.Environ(), Config: func(config string) string {
			for old, text := range map[string]string{
				"\t\timport runner_{$WEBORDINARY_RUNNER:process}\n": global,
				"\t\tnew_sessions open\n":                           "\t\tnew_sessions open\n" + o.Router,
			} {
				require.Equal(t, 1, strings.Count(config, old), "%q in the Caddyfile", old)
				config = strings.Replace(config, old, text, 1)
			}
			return config
		}}))
	}
	c.desk, c.Edges = c.Edges[o.Edges], c.Edges[:o.Edges]
	c.desk.CLI("tables", "create")
	return c
}

// NewAsleep makes a session which sleeps, whatever edges run. It is seen by the first.
func (c *Cluster) NewAsleep(s *Site) *Session {
	c.t.Helper()
	return c.desk.CreateSession(s).On(c.Edges[0])
}

// Start starts all edges.
func (c *Cluster) Start() {
	c.t.Helper()
	for _, e := range c.Edges {
		e.Start()
	}
}

// NewSite makes a repository and its client, which is effective on every edge that runs
// when NewSite returns.
func (c *Cluster) NewSite(id string, o SiteOptions) *Site {
	c.t.Helper()
	o.Folder = c.sites
	site := c.Edges[0].NewSite(id, o)
	for _, e := range c.Edges {
		if !e.Running() {
			continue
		}
		Eventually(c.t, Patience, "the edge knows client "+id, func() bool {
			a, err := e.Try(Request{Host: site.Host, Path: "/new", Header: DocumentHeader()})
			return err == nil && a.Status != 404
		})
	}
	return site
}
