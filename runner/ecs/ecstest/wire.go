//go:build unix

package ecstest

import "time"

// The shapes of the API, as far as they matter here. Fields that are not named are
// refused, lest a test passes on something that this ECS does not heed.

type runTaskRequest struct {
	Cluster                  string                 `json:"cluster"`
	TaskDefinition           string                 `json:"taskDefinition"`
	Count                    *int                   `json:"count"`
	ClientToken              string                 `json:"clientToken"`
	StartedBy                string                 `json:"startedBy"`
	LaunchType               string                 `json:"launchType"`
	CapacityProviderStrategy []capacityProviderItem `json:"capacityProviderStrategy"`
	NetworkConfiguration     *networkConfiguration  `json:"networkConfiguration"`
	Overrides                taskOverride           `json:"overrides"`
	Tags                     []tag                  `json:"tags"`
	EnableECSManagedTags     bool                   `json:"enableECSManagedTags"`
	EnableExecuteCommand     bool                   `json:"enableExecuteCommand"`
	PropagateTags            string                 `json:"propagateTags"`
}

type capacityProviderItem struct {
	CapacityProvider string `json:"capacityProvider"`
	Weight           int    `json:"weight"`
	Base             int    `json:"base"`
}

type networkConfiguration struct {
	AwsvpcConfiguration struct {
		Subnets        []string `json:"subnets"`
		SecurityGroups []string `json:"securityGroups"`
		AssignPublicIP string   `json:"assignPublicIp"`
	} `json:"awsvpcConfiguration"`
}

type taskOverride struct {
	CPU                string              `json:"cpu,omitempty"`
	Memory             string              `json:"memory,omitempty"`
	ContainerOverrides []containerOverride `json:"containerOverrides,omitempty"`
}

type containerOverride struct {
	Name        string    `json:"name"`
	Environment []keyword `json:"environment,omitempty"`
}

type keyword struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

type tag struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

type describeTasksRequest struct {
	Cluster string   `json:"cluster"`
	Tasks   []string `json:"tasks"`
	Include []string `json:"include"`
}

type stopTaskRequest struct {
	Cluster string `json:"cluster"`
	Task    string `json:"task"`
	Reason  string `json:"reason"`
}

type listTasksRequest struct {
	Cluster       string `json:"cluster"`
	StartedBy     string `json:"startedBy"`
	Family        string `json:"family"`
	DesiredStatus string `json:"desiredStatus"`
	LaunchType    string `json:"launchType"`
	MaxResults    *int   `json:"maxResults"`
	NextToken     string `json:"nextToken"`
}

type wireTask struct {
	TaskARN           string          `json:"taskArn"`
	ClusterARN        string          `json:"clusterArn"`
	TaskDefinitionARN string          `json:"taskDefinitionArn"`
	StartedBy         string          `json:"startedBy,omitempty"`
	Group             string          `json:"group"`
	LaunchType        string          `json:"launchType,omitempty"`
	LastStatus        string          `json:"lastStatus"`
	DesiredStatus     string          `json:"desiredStatus"`
	StopCode          string          `json:"stopCode,omitempty"`
	StoppedReason     string          `json:"stoppedReason,omitempty"`
	CPU               string          `json:"cpu,omitempty"`
	Memory            string          `json:"memory,omitempty"`
	CreatedAt         float64         `json:"createdAt"`
	StartedAt         float64         `json:"startedAt,omitempty"`
	StoppedAt         float64         `json:"stoppedAt,omitempty"`
	Overrides         taskOverride    `json:"overrides"`
	Containers        []wireContainer `json:"containers"`
	Attachments       []attachment    `json:"attachments"`
	Tags              []tag           `json:"tags"`
	Version           int             `json:"version"`
}

type wireContainer struct {
	Name              string             `json:"name"`
	LastStatus        string             `json:"lastStatus"`
	ExitCode          *int               `json:"exitCode,omitempty"`
	Reason            string             `json:"reason,omitempty"`
	NetworkInterfaces []networkInterface `json:"networkInterfaces"`
}

type networkInterface struct {
	AttachmentID       string `json:"attachmentId"`
	PrivateIPv4Address string `json:"privateIpv4Address"`
}

type attachment struct {
	ID      string    `json:"id"`
	Type    string    `json:"type"`
	Status  string    `json:"status"`
	Details []keyword `json:"details"`
}

type failure struct {
	ARN    string `json:"arn,omitempty"`
	Reason string `json:"reason"`
	Detail string `json:"detail,omitempty"`
}

func stamp(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }
