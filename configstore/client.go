// Package configstore holds the configuration of every client: its types, their
// validation, the Store contract that backends implement, and the routing table
// which each edge keeps in memory so that no request costs a look-up.
package configstore

import (
	"encoding/json"
	"time"
)

// Client is the configuration of one client, in the JSON shape that operators
// write and that the DynamoDB table holds as its `config` attribute.
type Client struct {
	// ClientID is one lower-case DNS label and never changes.
	ClientID string `json:"clientId"`

	Domains        Domains         `json:"domains"`
	Repository     Repository      `json:"repository"`
	Infrastructure *Infrastructure `json:"infrastructure,omitempty"`
	Settings       Settings        `json:"settings"`
	Build          *Build          `json:"build,omitempty"`

	// Disabled clients answer 403 on all their hosts and start no container.
	Disabled bool `json:"disabled,omitempty"`

	// Unknown keeps the top-level and nested fields that this version does not
	// know, as they were stored, so that an update never drops them. It is only
	// filled from stored rows; such fields are refused on the way in. The key is
	// the field's path ("settings.newThing").
	Unknown map[string]json.RawMessage `json:"-"`
}

// Domains are the hosts of a client.
type Domains struct {
	// Production is the host of the published site. It is not routed by the edge.
	Production string `json:"production"`
	// Edit is the host of the client's edit sessions; it makes the preview URL.
	Edit string `json:"edit"`
	// Aliases are further edit hosts.
	Aliases []string `json:"aliases,omitempty"`
}

// Repository says where a client's site comes from.
type Repository struct {
	// URL is https, ssh (both forms), or file where the operator allows it.
	URL string `json:"url"`
	// Branch is what edit branches are made from.
	Branch string `json:"branch"`
	// DeployKey is a PEM private key for ssh, a token or user:token for https, or a
	// reference to one (arn:aws:secretsmanager:…, env:NAME, file:PATH). It is a secret:
	// String, logs and the CLI show it redacted.
	DeployKey DeployKey `json:"deployKey,omitempty"`
	// Directory is where the site lies in the repository. Default: its root.
	Directory string `json:"directory,omitempty"`
}

// Infrastructure is kept from the load balancer for the migration; nothing reads it.
type Infrastructure struct {
	TargetGroupARN string `json:"targetGroupArn,omitempty"`
	CertificateARN string `json:"certificateArn,omitempty"`
	HostedZoneID   string `json:"hostedZoneId,omitempty"`
}

// Settings are a client's limits.
type Settings struct {
	ContainerSize ContainerSize `json:"containerSize"`
	// IdleTimeoutMinutes is how long a session may be idle before it sleeps, 1 to 1440.
	IdleTimeoutMinutes int `json:"idleTimeoutMinutes"`
	// MaxConcurrentSessions is how many sessions may hold a container at once, 1 to 1000.
	MaxConcurrentSessions int `json:"maxConcurrentSessions"`
	// MaxLifetimeMinutes ends a session whatever happens. Zero: no limit.
	MaxLifetimeMinutes int `json:"maxLifetimeMinutes,omitempty"`
	// WakeOn says which requests wake a sleeping session. Default: WakeOnNavigation.
	WakeOn WakeOn `json:"wakeOn,omitempty"`
}

// ContainerSize is how much memory and CPU a session's container has.
type ContainerSize string

// The container sizes.
const (
	SizeSmall  ContainerSize = "small"
	SizeMedium ContainerSize = "medium"
	SizeLarge  ContainerSize = "large"
)

// WakeOn says which requests wake a sleeping session.
type WakeOn string

// The values of WakeOn; the empty value means WakeOnNavigation.
const (
	WakeOnNavigation WakeOn = "navigation"
	WakeOnAny        WakeOn = "any"
)

// BuildMode is how a built site is served.
type BuildMode string

// The build modes; the empty value means ModeStatic.
const (
	ModeStatic BuildMode = "static"
	ModeServer BuildMode = "server"
	ModeDev    BuildMode = "dev"
)

// Build overrides how a client's site is installed, built and served.
type Build struct {
	Install     string            `json:"install,omitempty"`     // shell command; default: by lock file
	Command     string            `json:"command,omitempty"`     // shell command; default: the site's build script
	Output      string            `json:"output,omitempty"`      // folder below the site; default: dist
	Mode        BuildMode         `json:"mode,omitempty"`        // default: static
	NodeVersion string            `json:"nodeVersion,omitempty"` // default: what the repository asks for
	Env         map[string]string `json:"env,omitempty"`         // added to install and build
	HealthPath  string            `json:"healthPath,omitempty"`  // what must answer 2xx before the site counts as ready
}

// Redacted returns a copy that may be shown: without the deploy key's text.
func (c Client) Redacted() Client {
	c.Repository.DeployKey = DeployKey(c.Repository.DeployKey.String())
	return c
}

// DeployKey is what opens a repository or a reference to it. Its String and
// GoString never show the key.
type DeployKey string

// redactedKey stands for a key wherever one is shown.
const redactedKey = "[redacted]"

// String returns "" for no key, the reference for a well-formed reference, and
// "[redacted]" for anything else.
func (k DeployKey) String() string {
	if k == "" {
		return ""
	}
	if _, err := k.Reference(); err != nil {
		return redactedKey
	}
	return string(k)
}

// GoString is String, so that %#v is safe too.
func (k DeployKey) GoString() string { return k.String() }

// Record is a client's configuration as a store holds it.
type Record struct {
	Client Client
	// Version counts writes and serves as the optimistic lock. A row of the
	// older tools, which knew no versions, is version 0.
	Version   int64
	CreatedAt time.Time
	UpdatedAt time.Time
	// Broken says why the stored row cannot be read; Client then has its id only.
	// Empty for a good row.
	Broken string
}
