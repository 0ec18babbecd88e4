package dynamodb

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/webordinary/router/configstore"
	"github.com/webordinary/router/internal/dynamo"
)

// TableChange is one thing that CreateTables did, or would do.
type TableChange = dynamo.TableChange

// specs are what the tables must be like.
func specs(tables Tables) []dynamo.Table {
	const s, n = types.ScalarAttributeTypeS, types.ScalarAttributeTypeN
	return []dynamo.Table{
		{Name: tables.ClientConfigs, Keys: []dynamo.Key{{Name: attrClientID, Kind: s}}},
		{Name: tables.EditHosts, Keys: []dynamo.Key{{Name: attrHost, Kind: s}}},
		{Name: tables.ConfigChanges, Keys: []dynamo.Key{{Name: attrPart, Kind: s}, {Name: attrSeq, Kind: n}}, Expires: attrExpires},
	}
}

// CreateTables makes what is missing of the tables: billed on demand, encrypted with the
// account's key for DynamoDB, with point-in-time recovery, and the change log's expiry. A
// table that exists, as that of the older tools does, keeps its items and gets what it
// lacks. It returns what it did, or with dryRun would do, in order; nothing where all is as
// it should be. It may be repeated at any time. The error says what could not be done,
// beside what was; a table with another key is refused.
func CreateTables(ctx context.Context, client *dynamodb.Client, tables Tables, dryRun bool) ([]TableChange, error) {
	s, err := Open(Options{Client: client, Tables: tables})
	if err != nil {
		return nil, err
	}
	var all []TableChange
	for _, spec := range specs(s.tables) {
		done, err := spec.Make(ctx, client, configstore.ErrUnavailable, dryRun)
		all = append(all, done...)
		if err != nil {
			return all, err
		}
	}
	return all, nil
}
