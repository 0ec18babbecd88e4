package containerboot

import (
	"errors"
	"fmt"

	"github.com/webordinary/router/configstore"
	"github.com/webordinary/router/containerboot/bootapi"
)

// standaloneClaim makes the claim of a container that no edge will claim from
// CLIENT_ID and CLIENT_CONFIG. The site is served from the root.
func standaloneClaim(sessionID, id, config string) (*bootapi.Claim, error) {
	var faults []error
	if id == "" {
		faults = append(faults, fmt.Errorf("%s: must be set, as there is no %s", bootapi.EnvClientID, bootapi.EnvTokenHash))
	}
	if config == "" {
		faults = append(faults, fmt.Errorf("%s: must be set, or %s, as there is no %s", bootapi.EnvClientConfig, bootapi.EnvConfigTable, bootapi.EnvTokenHash))
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}

	c, err := configstore.DecodeClient([]byte(config))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", bootapi.EnvClientConfig, err)
	}
	if c.Repository.DeployKey.IsReference() {
		// Prepare would ask for an option that only an edge has.
		faults = append(faults, fmt.Errorf("%s: repository.deployKey: must be the key itself: references are resolved by an edge, or where the configuration is in a table", bootapi.EnvClientConfig))
		c.Repository.DeployKey = ""
	}
	if c, err = configstore.Prepare(c, configstore.Rules{AllowFile: true}); err != nil {
		return nil, errors.Join(append(faults, fmt.Errorf("%s: %w", bootapi.EnvClientConfig, err))...)
	}
	if c.ClientID != id {
		faults = append(faults, fmt.Errorf("%s: is for client %q, not for %q", bootapi.EnvClientConfig, c.ClientID, id))
	}
	if c.Disabled {
		faults = append(faults, fmt.Errorf("%s: the client is disabled", bootapi.EnvClientConfig))
	}
	claim := claimOf(c, sessionID)
	claim.Site.AllowFile = true // whoever sets the environment may read the machine's files
	if err := checkClaim(claim); err != nil {
		faults = append(faults, fmt.Errorf("%s: %w", bootapi.EnvClientConfig, err))
	}
	return claim, errors.Join(faults...)
}

// claimOf makes a claim of a client's configuration. The deploy key must be the key itself.
func claimOf(c configstore.Client, sessionID string) *bootapi.Claim {
	if sessionID == "" {
		sessionID = c.ClientID
	}
	claim := &bootapi.Claim{
		SessionID:  sessionID,
		ClientID:   c.ClientID,
		EditBranch: "edit/" + sessionID,
		EditHosts:  append([]string{c.Domains.Edit}, c.Domains.Aliases...),
		Site: bootapi.Site{
			RepositoryURL: c.Repository.URL,
			Branch:        c.Repository.Branch,
			Directory:     c.Repository.Directory,
			DeployKey:     bootapi.Secret(c.Repository.DeployKey),
		},
	}
	if b := c.Build; b != nil {
		claim.Site.Install, claim.Site.Command, claim.Site.Output = b.Install, b.Command, b.Output
		claim.Site.Mode, claim.Site.NodeVersion = string(b.Mode), b.NodeVersion
		claim.Site.Env, claim.Site.HealthPath = b.Env, b.HealthPath
	}
	return claim
}
