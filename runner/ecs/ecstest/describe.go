//go:build unix

package ecstest

import "strings"

// Definition is the task definition.
type Definition struct {
	ARN                     string                `json:"taskDefinitionArn"`
	Family                  string                `json:"family"`
	Revision                int                   `json:"revision"`
	Status                  string                `json:"status"`
	NetworkMode             string                `json:"networkMode"`
	RequiresCompatibilities []string              `json:"requiresCompatibilities"`
	TaskRoleARN             string                `json:"taskRoleArn,omitempty"`
	ExecutionRoleARN        string                `json:"executionRoleArn,omitempty"`
	Containers              []ContainerDefinition `json:"containerDefinitions"`
}

// ContainerDefinition is one of its containers.
type ContainerDefinition struct {
	Name         string        `json:"name"`
	Image        string        `json:"image"`
	CPU          int           `json:"cpu"`
	Memory       int           `json:"memory,omitempty"`
	StopTimeout  int           `json:"stopTimeout,omitempty"`
	PortMappings []PortMapping `json:"portMappings"`
}

// PortMapping is a port of a container.
type PortMapping struct {
	ContainerPort int `json:"containerPort"`
}

type describeClustersRequest struct {
	Clusters []string `json:"clusters"`
}

func (s *Server) describeClusters(in describeClustersRequest) (any, *APIError) {
	clusters, failures := []map[string]any{}, []failure{}
	for _, name := range in.Clusters {
		if s.inCluster(name) != nil {
			failures = append(failures, failure{ARN: s.arn("cluster", name), Reason: "MISSING"})
			continue
		}
		clusters = append(clusters, map[string]any{
			"clusterArn": s.clusterARN(), "clusterName": s.options.Cluster, "status": s.options.ClusterStatus,
		})
	}
	return map[string]any{"clusters": clusters, "failures": failures}, nil
}

type describeTaskDefinitionRequest struct {
	TaskDefinition string `json:"taskDefinition"`
}

func (s *Server) describeTaskDefinition(in describeTaskDefinitionRequest) (any, *APIError) {
	family, _, _ := strings.Cut(strings.TrimPrefix(in.TaskDefinition, s.arn("task-definition", "")), ":")
	if family != s.options.TaskDefinition {
		return nil, refuse("ClientException", "Unable to describe task definition.")
	}
	d := Definition{
		ARN: s.arn("task-definition", family+":1"), Family: family, Revision: 1, Status: "ACTIVE", NetworkMode: "awsvpc",
		RequiresCompatibilities: []string{"FARGATE"}, ExecutionRoleARN: "arn:aws:iam::" + s.options.Account + ":role/execution",
		Containers: []ContainerDefinition{{
			Name: s.options.Container, Image: s.options.Account + ".dkr.ecr." + s.options.Region + ".amazonaws.com/session:1",
			StopTimeout: 60, PortMappings: []PortMapping{{ContainerPort: 8080}, {ContainerPort: s.addresses.port}},
		}},
	}
	if s.options.Define != nil {
		s.options.Define(&d)
	}
	return map[string]any{"taskDefinition": d, "tags": []tag{}}, nil
}
