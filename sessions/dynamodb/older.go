package dynamodb

import (
	"cmp"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/webordinary/router/sessions"
)

// The older tools wrote several shapes of a session; testdata/older has one of each.
// Their ids are "client#user#thread" or UUIDs. What a row does not say otherwise, its
// id does. None of their attributes but these is looked at, and all others are kept.
var (
	olderThread  = []string{attrThreadID, "chatThreadId"}
	olderBranch  = []string{attrEditBranch, "branch"}
	olderUsed    = []string{attrLastActivity, "lastActivityAt", "startedAt", attrCreatedAt}
	olderCreated = []string{attrCreatedAt, "startedAt"}
	olderTask    = []string{attrTask, "fargateTaskArn"}
)

// olderNames are names of the older tools for what we call otherwise; an item that is
// written gives them up, so that there is one truth.
var olderNames = []string{"chatThreadId", "branch", "lastActivityAt", "startedAt", "fargateTaskArn"}

// decodeOlder reads a session that the older tools wrote. Its version is 0, and it is
// inactive whatever they called it ("active", "running", "idle", "expired", "error"): it
// has no container that this system has started, and could prove to be the right one.
func decodeOlder(it item) (sessions.Record, error) {
	d := &decoder{id: textOf(it[attrSessionID])}
	client, user, thread := splitOlderID(d.id)
	rec := sessions.Record{
		SessionID:    d.id,
		ClientID:     cmp.Or(d.text(it, attrClientID), client),
		UserID:       cmp.Or(d.text(it, attrUserID), user),
		ThreadID:     cmp.Or(d.firstText(it, olderThread), thread),
		PreviewURL:   d.text(it, attrPreviewURL),
		Status:       sessions.StatusInactive,
		CreatedAt:    d.moment(it, d.first(it, olderCreated)),
		LastActivity: d.moment(it, d.first(it, olderUsed)),
	}
	rec.EditBranch = cmp.Or(d.firstText(it, olderBranch), rec.ThreadID)
	d.text(it, attrStatus) // must not be anything else
	if rec.ClientID == "" {
		d.fault(attrClientID, "is missing, and the session's id does not name the client")
	}
	if rec.ThreadID == "" {
		d.fault(attrThreadID, "is missing, and the session's id does not name the thread")
	}
	if d.broken != nil {
		return sessions.Record{}, d.broken
	}
	return rec, nil
}

// splitOlderID takes an id of the form client#user#thread apart. A user may hold a "#".
func splitOlderID(id string) (client, user, thread string) {
	client, rest, ok := strings.Cut(id, "#")
	if !ok {
		return "", "", ""
	}
	i := strings.LastIndexByte(rest, '#')
	if i < 0 {
		return "", "", ""
	}
	return client, rest[:i], rest[i+1:]
}

// olderTaskOf returns the task that an older tool started for the session, "" for none.
func olderTaskOf(it item) string {
	for _, attr := range olderTask {
		if task := textOf(it[attr]); task != "" {
			return task
		}
	}
	return ""
}

// first returns the first of the attributes that is there.
func (d *decoder) first(it item, attrs []string) string {
	for _, attr := range attrs {
		if !missing(it[attr]) && !isEmpty(it[attr]) {
			return attr
		}
	}
	return attrs[0]
}

func (d *decoder) firstText(it item, attrs []string) string { return d.text(it, d.first(it, attrs)) }

func isEmpty(v types.AttributeValue) bool {
	s, ok := v.(*types.AttributeValueMemberS)
	return ok && s.Value == ""
}
