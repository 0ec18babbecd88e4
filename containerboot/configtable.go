package containerboot

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/webordinary/router/configstore"
	"github.com/webordinary/router/configstore/deploykey"
	"github.com/webordinary/router/configstore/dynamodb"
	"github.com/webordinary/router/containerboot/bootapi"
	"github.com/webordinary/router/internal/dynamo"
)

const (
	// defaultKeyPrefix allows secrets, which say by a tag whose they are.
	defaultKeyPrefix = "arn:aws:secretsmanager"
	// tableTimeout bounds the reading of the configuration and of the key.
	tableTimeout = time.Minute
)

// configTable is where a standalone container finds its client's configuration.
type configTable struct {
	name, clientID, sessionID string
	prefixes                  []configstore.KeyPrefix
	allowFile                 bool
}

// newConfigTable reads settings; the error names every fault.
func newConfigTable(name, clientID, sessionID, prefixes string) (*configTable, error) {
	var faults []error
	if !configstore.ValidClientID(clientID) {
		faults = append(faults, fmt.Errorf("%s: must be a client's id, one lower-case DNS label, got %q", bootapi.EnvClientID, clientID))
	}
	t := &configTable{name: name, clientID: clientID, sessionID: sessionID}
	if prefixes == "" {
		prefixes = defaultKeyPrefix
	}
	for s := range strings.FieldsSeq(prefixes) {
		p, err := configstore.ParseKeyPrefix(s)
		if err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", bootapi.EnvKeyPrefixes, err))
		}
		t.prefixes = append(t.prefixes, p)
	}
	return t, errors.Join(faults...)
}

// claim reads the configuration, with the process's own AWS credentials, and makes the claim
// of a container that no edge will claim. No error has a secret in it.
func (t *configTable) claim(ctx context.Context, log *zap.Logger) (*bootapi.Claim, error) {
	ctx, cancel := context.WithTimeout(ctx, tableTimeout)
	defer cancel()
	client, err := dynamo.NewClient(ctx, dynamo.ClientOptions{})
	if err != nil {
		return nil, err
	}
	tables := dynamodb.TableNames("")
	tables.ClientConfigs = t.name // the only one that is read
	store, err := dynamodb.Open(dynamodb.Options{Client: client, Tables: tables, Logger: log})
	if err != nil {
		return nil, err
	}
	defer store.Close()
	record, err := store.Get(ctx, t.clientID)
	if err != nil {
		return nil, fmt.Errorf("table %s: %w", t.name, err)
	}
	c := record.Client
	if c.Disabled {
		return nil, fmt.Errorf("table %s: client %q is disabled", t.name, t.clientID)
	}
	key, err := deploykey.New(deploykey.Options{Prefixes: t.prefixes, Logger: log}).Resolve(ctx, c.ClientID, c.Repository)
	if err != nil {
		return nil, fmt.Errorf("client %q: %w (%s has what is allowed)", t.clientID, err, bootapi.EnvKeyPrefixes)
	}
	c.Repository.DeployKey = configstore.DeployKey(key)
	claim := claimOf(c, t.sessionID)
	claim.Site.AllowFile = t.allowFile
	if err := checkClaim(claim); err != nil {
		return nil, fmt.Errorf("table %s: client %q: %w", t.name, t.clientID, err)
	}
	return claim, nil
}
