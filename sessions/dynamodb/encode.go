package dynamodb

import (
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/webordinary/router/sessions"
)

// written are the attributes that a record's item may have, beside its key.
var written = []string{
	attrClientID, attrUserID, attrThreadID, attrEditBranch, attrPreviewURL, attrInstruction,
	attrStatus, attrCreatedAt, attrLastActivity, attrTTL, attrEpoch, attrVersion, attrLease,
	attrStart, attrTask, attrIP, attrPort, attrFailure, attrAskAt, attrAwake, attrSleepWanted, attrWriteID, attrQueue, attrQueueAt,
}

// encode returns a record's attributes, without its key. What is empty has none.
func (r *Registry) encode(rec sessions.Record, writeID string) item {
	it := item{
		attrClientID: text(rec.ClientID),
		attrStatus:   text(string(rec.Status)),
		attrEpoch:    number(rec.Epoch),
		attrVersion:  number(rec.Version),
		attrWriteID:  text(writeID),
	}
	for attr, s := range map[string]string{
		attrUserID: rec.UserID, attrThreadID: rec.ThreadID, attrEditBranch: rec.EditBranch,
		attrPreviewURL: rec.PreviewURL, attrInstruction: rec.Instruction,
		attrTask: rec.Container, attrIP: rec.ContainerIP,
	} {
		if s != "" {
			it[attr] = text(s)
		}
	}
	for attr, t := range map[string]time.Time{attrLastActivity: rec.LastActivity, attrAskAt: rec.AskAt} {
		if !t.IsZero() {
			it[attr] = millis(t)
		}
	}
	if !rec.CreatedAt.IsZero() {
		it[attrCreatedAt] = moment(rec.CreatedAt)
	}
	if rec.ContainerPort != 0 {
		it[attrPort] = number(int64(rec.ContainerPort))
	}
	if l := rec.Lease; l != nil {
		it[attrLease] = leaseOf(*l)
	}
	if s := rec.Start; s != nil {
		it[attrStart] = &types.AttributeValueMemberM{Value: item{
			"token": text(string(s.Token)), "size": text(s.Size), "at": moment(s.At),
		}}
	}
	if f := rec.Failure; f != nil {
		it[attrFailure] = &types.AttributeValueMemberM{Value: item{
			"phase": text(string(f.Phase)), "cause": text(f.Cause), "detail": text(f.Detail),
			"retryable": &types.AttributeValueMemberBOOL{Value: f.Retryable},
			"at":        moment(f.At), "attempts": number(int64(f.Attempts)),
		}}
	}
	if a := rec.Awake; a != nil {
		it[attrAwake] = &types.AttributeValueMemberM{Value: item{
			"at": moment(a.At), "activity": text(a.Activity), "reason": text(a.Reason),
			"busy":       &types.AttributeValueMemberBOOL{Value: a.Busy},
			"saveFailed": &types.AttributeValueMemberBOOL{Value: a.SaveFailed},
			"unanswered": number(int64(a.Unanswered)),
		}}
	}
	if rec.SleepWanted {
		it[attrSleepWanted] = &types.AttributeValueMemberBOOL{Value: true}
	}
	if ttl, expires := r.expiry(rec); expires {
		it[attrTTL] = number(ttl)
	}
	if queue := queueOf(rec); queue != "" {
		at := rec.LastActivity
		if rec.Status == sessions.StatusActive {
			at = rec.AskAt
		}
		it[attrQueue], it[attrQueueAt] = text(queue), millis(at)
	}
	return it
}

// expiry returns when a record that is written now may be removed, in seconds since 1970.
// One that holds a slot never may: it has a container.
func (r *Registry) expiry(rec sessions.Record) (seconds int64, expires bool) {
	if r.retention < 0 || rec.HoldsSlot() {
		return 0, false
	}
	return time.Now().Add(r.retention).Unix(), true
}

// leaseOf is a lease as a map.
func leaseOf(l sessions.Lease) types.AttributeValue {
	return &types.AttributeValueMemberM{Value: item{"holder": text(l.Holder), "beat": number(l.Beat)}}
}
