package dynamodb

import (
	"strconv"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/webordinary/router/configstore"
)

// quickEntry reads what routing needs of a row as our tools write it, at a fifth of the
// garbage that the way through JSON makes of it. It is false for whatever looks otherwise;
// that way then says what it is.
func quickEntry(it item) (configstore.Entry, bool) {
	q := quick{ok: true}
	id := q.text(it, attrClientID)
	version := q.number(it, attrVersion)
	config := q.fields(it, attrConfig)
	domains, settings := q.fields(config, "domains"), q.fields(config, "settings")
	client := configstore.Client{
		ClientID: id,
		Domains:  configstore.Domains{Edit: q.text(domains, "edit"), Aliases: q.texts(domains, "aliases")},
		Settings: configstore.Settings{
			ContainerSize:         configstore.ContainerSize(q.text(settings, "containerSize")),
			IdleTimeoutMinutes:    q.number(settings, "idleTimeoutMinutes"),
			MaxConcurrentSessions: q.number(settings, "maxConcurrentSessions"),
			MaxLifetimeMinutes:    q.number(settings, "maxLifetimeMinutes"),
			WakeOn:                configstore.WakeOn(q.text(settings, "wakeOn")),
		},
		Disabled: q.boolean(config, "disabled"),
	}
	if _, named := config[attrClientID]; named && q.text(config, attrClientID) != id {
		q.ok = false
	}
	q.text(domains, "production") // of its right type only
	if !q.ok || version < 0 {
		return configstore.Entry{}, false
	}
	return configstore.Record{Client: client, Version: int64(version)}.Entry(), true
}

// quick reads attributes; one that is absent is zero, one of another type makes it not ok.
type quick struct{ ok bool }

func (q *quick) text(it item, name string) string {
	switch v := it[name].(type) {
	case *types.AttributeValueMemberS:
		return v.Value
	case nil:
	default:
		q.ok = false
	}
	return ""
}

func (q *quick) number(it item, name string) int {
	switch v := it[name].(type) {
	case *types.AttributeValueMemberN:
		n, err := strconv.Atoi(v.Value)
		q.ok = q.ok && err == nil
		return n
	case nil:
	default:
		q.ok = false
	}
	return 0
}

func (q *quick) boolean(it item, name string) bool {
	switch v := it[name].(type) {
	case *types.AttributeValueMemberBOOL:
		return v.Value
	case nil:
	default:
		q.ok = false
	}
	return false
}

func (q *quick) fields(it item, name string) item {
	switch v := it[name].(type) {
	case *types.AttributeValueMemberM:
		return v.Value
	case nil:
	default:
		q.ok = false
	}
	return nil
}

func (q *quick) texts(it item, name string) []string {
	switch v := it[name].(type) {
	case *types.AttributeValueMemberL:
		list := make([]string, len(v.Value))
		for i, element := range v.Value {
			s, isText := element.(*types.AttributeValueMemberS)
			if !isText {
				q.ok = false
				return nil
			}
			list[i] = s.Value
		}
		return list
	case nil:
	default:
		q.ok = false
	}
	return nil
}
