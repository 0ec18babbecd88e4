package dynamodb

import (
	"errors"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/webordinary/router/configstore"
	"github.com/webordinary/router/internal/dynamo"
)

// The attributes of a client's row. Those of the older tools are clientId, config and,
// mostly, createdAt and updatedAt; they and others may add further ones.
const (
	attrClientID  = "clientId" // also in the table of edit hosts
	attrConfig    = "config"
	attrVersion   = "version"
	attrCreatedAt = "createdAt"
	attrUpdatedAt = "updatedAt"
)

// row is an item of the table of client configs; nil where there is none.
type row item

func (r row) id() string { return textOf(r[attrClientID]) }

// version is 0 for a row that the older tools wrote.
func (r row) version() int64 {
	n, _ := numberOf(r[attrVersion])
	return n
}

// record reads the row; one that cannot be read is a broken record.
func (r row) record() configstore.Record {
	record := configstore.Record{
		Version:   r.version(),
		CreatedAt: timeOf(r[attrCreatedAt]),
		UpdatedAt: timeOf(r[attrUpdatedAt]),
	}
	client, err := r.decode()
	if err != nil {
		record.Client.ClientID = r.id()
		record.Broken = err.Error()
		return record
	}
	record.Client = client
	return record
}

// decode reads the configuration. The error names the field, never its value.
func (r row) decode() (configstore.Client, error) {
	if v, ok := r[attrVersion]; ok {
		if n, ok := numberOf(v); !ok || n < 0 {
			return configstore.Client{}, errors.New("version: must be a whole number, got " + dynamo.TypeName(v))
		}
	}
	v, ok := r[attrConfig]
	if !ok {
		return configstore.Client{}, errors.New("config: is missing")
	}
	config, ok := v.(*types.AttributeValueMemberM)
	if !ok {
		return configstore.Client{}, errors.New("config: must be a map, got " + dynamo.TypeName(v))
	}
	client, err := configstore.DecodeStored(appendJSON(nil, config))
	if err != nil {
		return configstore.Client{}, err
	}
	if _, named := config.Value[attrClientID]; named && client.ClientID != r.id() {
		return configstore.Client{}, errors.New("clientId: is not that of the row")
	}
	client.ClientID = r.id()
	return client, nil
}

// hosts are the edit hosts that the row names.
func (r row) hosts() ([]string, error) {
	client, err := r.decode()
	if err != nil {
		return nil, err
	}
	return client.EditHosts()
}

// timeOf reads a time as JavaScript and Go write it; zero where there is none. Nothing
// depends on it, so that a faulty one does not make a row unusable.
func timeOf(v types.AttributeValue) time.Time {
	t, err := time.Parse(time.RFC3339Nano, textOf(v))
	if err != nil {
		return time.Time{}
	}
	return t.UTC()
}

func formatTime(t time.Time) types.AttributeValue { return text(t.Format(time.RFC3339Nano)) }

// encodeConfig returns the config attribute of a client that replaces what a row holds.
func encodeConfig(c configstore.Client, held row) (types.AttributeValue, error) {
	encoded, err := configstore.EncodeStored(c)
	if err != nil {
		return nil, err
	}
	config, err := fromJSON(encoded)
	if err != nil {
		return nil, err
	}
	if old, ok := held[attrConfig].(*types.AttributeValueMemberM); ok {
		keepTypes(config.(*types.AttributeValueMemberM).Value, old.Value, "", c)
	}
	return config, nil
}

// keepTypes puts unknown fields, which went through JSON, back as they were stored: JSON
// knows neither sets nor binary data. One that the client brought anew stays as it is.
func keepTypes(config, held item, parent string, c configstore.Client) {
	for name, old := range held {
		if unknown, ok := c.Unknown[configstore.UnknownPath(parent, name)]; ok {
			if string(unknown) == string(appendJSON(nil, old)) {
				config[name] = old
			}
			continue
		}
		inner, isMap := config[name].(*types.AttributeValueMemberM)
		oldInner, wasMap := old.(*types.AttributeValueMemberM)
		if parent == "" && isMap && wasMap {
			keepTypes(inner.Value, oldInner.Value, name, c)
		}
	}
}
