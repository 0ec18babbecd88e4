package dynamodb

import (
	"fmt"
	"hash/fnv"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/webordinary/router/sessions"
)

// item is an item, or a map within one.
type item = map[string]types.AttributeValue

// The attributes of a session.
const (
	attrSessionID    = "sessionId"
	attrClientID     = "clientId"
	attrUserID       = "userId"
	attrThreadID     = "threadId"
	attrEditBranch   = "editBranch"
	attrPreviewURL   = "previewUrl"
	attrInstruction  = "instruction"
	attrStatus       = "status"
	attrCreatedAt    = "createdAt"    // RFC 3339
	attrLastActivity = "lastActivity" // milliseconds since 1970, with a fraction
	attrTTL          = "ttl"          // seconds since 1970; DynamoDB removes the item some time after
	attrEpoch        = "epoch"
	attrVersion      = "version"
	attrLease        = "lease"
	attrStart        = "start"
	attrTask         = "taskArn"
	attrIP           = "containerIp"
	attrPort         = "containerPort"
	attrFailure      = "failure"
	attrAskAt        = "askAt" // milliseconds since 1970, with a fraction
	attrAwake        = "awake"
	attrSleepWanted  = "sleepWanted"
	// attrWriteID names the last write, so that one whose answer was lost is recognised.
	attrWriteID = "writeId"
	// attrQueue and attrQueueAt are the session's place in indexQueue.
	attrQueue   = "queue"
	attrQueueAt = "queueAt"
)

// The attributes of the other items.
const (
	attrKind    = "kind"    // kindSlots, kindThread or kindDuty; a session has none
	attrRunning = "running" // of slots: the ids of the sessions that hold one
	attrSession = "session" // of a thread: its session's id
)

const (
	kindSlots  = "slots"
	kindThread = "thread"
	kindDuty   = "duty"
)

// The indexes. See the package comment.
const (
	indexClient = "by-client"
	indexQueue  = "by-queue"
)

// queues is how many queues of each kind there are. More can be added while edges of
// both releases run; with fewer, sessions in the last ones would be forgotten.
const queues = 4

const (
	queueDue       = "due"
	queueUnsettled = "unsettled"
)

func dutyKey() item { return key("duty") }

func slotsKey(clientID string) item { return key("slots#" + clientID) }

func threadKey(clientID, threadID string) item { return key("thread#" + clientID + "#" + threadID) }

func key(id string) item { return item{attrSessionID: text(id)} }

// queueName is the n-th queue of a kind.
func queueName(kind string, n int) string { return fmt.Sprintf("%s#%d", kind, n) }

// queueOf returns the queue that a record is in, "" for none.
func queueOf(rec sessions.Record) string {
	var kind string
	switch {
	case isUnsettled(rec):
		kind = queueUnsettled
	case rec.Status == sessions.StatusActive && !rec.AskAt.IsZero():
		kind = queueDue
	default:
		return ""
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(rec.SessionID)) // never fails
	return queueName(kind, int(h.Sum32()%queues))
}

// isUnsettled reports whether a record is one of Unsettled.
func isUnsettled(rec sessions.Record) bool {
	return rec.HoldsSlot() && (rec.Status != sessions.StatusActive || rec.Lease != nil)
}

// isSession reports whether an item is a session's. Threads, slots and the duty lie in the
// same table, and their keys could be asked for as a session's id.
func isSession(it item) bool {
	switch textOf(it[attrKind]) {
	case kindSlots, kindThread, kindDuty:
		return false
	default:
		return true
	}
}
