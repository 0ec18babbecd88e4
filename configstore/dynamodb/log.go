package dynamodb

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/webordinary/router/configstore"
)

// The attributes of the table of config changes.
const (
	attrPart = "part"
	attrSeq  = "seq"

	// Of the head and of the log's items.
	attrLog     = "log"     // the random id of this log
	attrLast    = "last"    // the head: the number of the last item
	attrChanges = "changes" // an item: what the transaction changed, as loggedChange in JSON
	attrExpires = "expires" // an item: when it may be deleted, in Unix seconds

	// Of a client's item; and attrVersion.
	attrDeleted = "deleted"
)

const (
	// logPart is the partition of the log; the head lies above all of its items.
	logPart = "changes"
	headSeq = math.MaxInt64
	// latestPart begins the partition of a client's item.
	latestPart = "client#"
)

// head is the state of the log; the zero value is that of a table without one.
type head struct {
	log  string
	last int64
}

func headKey() item { return item{attrPart: text(logPart), attrSeq: number(headSeq)} }

func readHead(it item) (head, error) {
	if it == nil {
		return head{}, nil
	}
	last, ok := numberOf(it[attrLast])
	log := textOf(it[attrLog])
	if !ok || log == "" {
		return head{}, fmt.Errorf("the head of the change log is damaged: remove the item with %s %q and %s %d; the next write makes another",
			attrPart, logPart, attrSeq, int64(headSeq))
	}
	return head{log: log, last: last}, nil
}

// noLog is the id in positions taken before there was a log: all of any log lies after them.
const noLog = "none"

// position is the id of the log and a number in it: all up to that was seen.
func (h head) position(seq int64) configstore.Position {
	log := h.log
	if log == "" {
		log = noLog
	}
	return configstore.Position(log + ":" + strconv.FormatInt(seq, 10))
}

// readPosition is false for what no store of this kind gave out.
func readPosition(p configstore.Position) (log string, seq int64, ok bool) {
	log, digits, _ := strings.Cut(string(p), ":")
	seq, err := strconv.ParseInt(digits, 10, 64)
	return log, seq, err == nil && seq >= 0 && log != ""
}

// loggedChange is a configstore.Change in the log.
type loggedChange struct {
	ClientID string                `json:"clientId"`
	Version  int64                 `json:"version"`
	Deleted  bool                  `json:"deleted,omitempty"`
	Hosts    []string              `json:"hosts,omitempty"`
	Settings *configstore.Settings `json:"settings,omitempty"`
	Disabled bool                  `json:"disabled,omitempty"`
	Broken   string                `json:"broken,omitempty"`
}

func logged(c configstore.Change) loggedChange {
	if c.Deleted {
		return loggedChange{ClientID: c.ClientID, Version: c.Version, Deleted: true}
	}
	return loggedChange{
		ClientID: c.ClientID, Version: c.Version,
		Hosts: c.Entry.Hosts, Settings: &c.Entry.Settings, Disabled: c.Entry.Disabled, Broken: c.Entry.Broken,
	}
}

func (l loggedChange) change() configstore.Change {
	c := configstore.Change{ClientID: l.ClientID, Version: l.Version, Deleted: l.Deleted}
	if l.Deleted {
		return c
	}
	c.Entry = configstore.Entry{ClientID: l.ClientID, Hosts: l.Hosts, Version: l.Version, Disabled: l.Disabled, Broken: l.Broken}
	if l.Settings != nil {
		c.Entry.Settings = *l.Settings
	}
	return c
}

// logItem is the log's item of a transaction.
func logItem(log string, seq, expires int64, changes []configstore.Change) (item, error) {
	list := make([]loggedChange, len(changes))
	for i, c := range changes {
		list[i] = logged(c)
	}
	encoded, err := json.Marshal(list)
	if err != nil {
		return nil, err
	}
	return item{
		attrPart:    text(logPart),
		attrSeq:     number(seq),
		attrLog:     text(log),
		attrChanges: text(string(encoded)),
		attrExpires: number(expires),
	}, nil
}

func readLogItem(it item) ([]configstore.Change, error) {
	var list []loggedChange
	if err := json.Unmarshal([]byte(textOf(it[attrChanges])), &list); err != nil {
		return nil, err
	}
	changes := make([]configstore.Change, len(list))
	for i, l := range list {
		changes[i] = l.change()
	}
	return changes, nil
}

// latest is what is kept of a client for good, so that its versions rise whatever becomes of
// its row: it may be deleted, or the older tools may overwrite it with one that has none.
type latest struct {
	// exists is false where no tool of ours ever wrote the client.
	exists  bool
	version int64
}

func latestKey(id string) item { return item{attrPart: text(latestPart + id), attrSeq: number(0)} }

func readLatest(it item) latest {
	version, _ := numberOf(it[attrVersion])
	return latest{exists: it != nil, version: version}
}

func latestItem(id string, version int64, deleted bool) item {
	it := latestKey(id)
	it[attrVersion] = number(version)
	if deleted {
		it[attrDeleted] = &types.AttributeValueMemberBOOL{Value: true}
	}
	return it
}
