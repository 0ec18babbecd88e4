package dynamodb

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/webordinary/router/containerboot/bootapi"
	"github.com/webordinary/router/internal/dynamo"
	"github.com/webordinary/router/sessions"
)

// BrokenError names what is wrong with a record that somebody wrote by other means. It is
// sessions.ErrUnavailable: that one session cannot be used until the record is mended.
type BrokenError struct{ SessionID, Attribute, Problem string }

// Error names the session, the attribute and the problem.
func (e *BrokenError) Error() string {
	return fmt.Sprintf("record of session %q is broken: %s: %s", e.SessionID, e.Attribute, e.Problem)
}

// Is reports whether target is sessions.ErrUnavailable.
func (e *BrokenError) Is(target error) bool { return target == sessions.ErrUnavailable }

// decode reads a session's item. The error is a *BrokenError.
func decode(it item) (sessions.Record, error) {
	if _, ours := it[attrVersion]; !ours {
		return decodeOlder(it)
	}
	d := &decoder{id: textOf(it[attrSessionID])}
	rec := sessions.Record{
		SessionID:     d.id,
		ClientID:      d.text(it, attrClientID),
		UserID:        d.text(it, attrUserID),
		ThreadID:      d.text(it, attrThreadID),
		EditBranch:    d.text(it, attrEditBranch),
		PreviewURL:    d.text(it, attrPreviewURL),
		Instruction:   d.text(it, attrInstruction),
		Status:        sessions.Status(d.text(it, attrStatus)),
		CreatedAt:     d.moment(it, attrCreatedAt),
		LastActivity:  d.moment(it, attrLastActivity),
		Epoch:         d.number(it, attrEpoch),
		Version:       d.number(it, attrVersion),
		Container:     d.text(it, attrTask),
		ContainerIP:   d.text(it, attrIP),
		ContainerPort: d.port(it, attrPort),
		AskAt:         d.moment(it, attrAskAt),
		SleepWanted:   d.boolean(it, attrSleepWanted),
	}
	if m := d.members(it, attrAwake); m != nil {
		rec.Awake = &sessions.Awake{
			At: d.moment(m, "at"), Activity: d.text(m, "activity"), Reason: d.text(m, "reason"),
			Busy: d.boolean(m, "busy"), SaveFailed: d.boolean(m, "saveFailed"), Unanswered: int(d.number(m, "unanswered")),
		}
	}
	if m := d.members(it, attrLease); m != nil {
		rec.Lease = &sessions.Lease{Holder: d.text(m, "holder"), Beat: d.number(m, "beat")}
	}
	if m := d.members(it, attrStart); m != nil {
		rec.Start = &sessions.Start{Token: sessions.Token(d.text(m, "token")), Size: d.text(m, "size"), At: d.moment(m, "at")}
	}
	if m := d.members(it, attrFailure); m != nil {
		rec.Failure = &sessions.Failure{
			Failure: bootapi.Failure{
				Phase: bootapi.Phase(d.text(m, "phase")), Cause: d.text(m, "cause"),
				Detail: d.text(m, "detail"), Retryable: d.boolean(m, "retryable"),
			},
			At: d.moment(m, "at"), Attempts: int(d.number(m, "attempts")),
		}
	}
	d.check(rec)
	if d.broken != nil {
		return sessions.Record{}, d.broken
	}
	return rec, nil
}

// decoder reads attributes and keeps the first fault. An attribute that is missing, or
// null, is the zero value.
type decoder struct {
	id     string
	broken *BrokenError
}

func (d *decoder) fault(attr, problem string, args ...any) {
	if d.broken == nil {
		d.broken = &BrokenError{SessionID: d.id, Attribute: attr, Problem: fmt.Sprintf(problem, args...)}
	}
}

// check finds faults between attributes which the state machine relies on never to see.
func (d *decoder) check(rec sessions.Record) {
	if rec.ClientID == "" {
		d.fault(attrClientID, "must be set")
	}
	switch rec.Status {
	case sessions.StatusInitializing, sessions.StatusActive, sessions.StatusDraining:
		if rec.Start == nil {
			d.fault(attrStart, "must be set in a session that is %s", rec.Status)
		}
	case sessions.StatusInactive:
		if rec.Start != nil {
			d.fault(attrStart, "must not be set in a session that is %s", rec.Status)
		}
	case sessions.StatusFailed:
	default:
		d.fault(attrStatus, "%q is no state of a session", rec.Status)
	}
	if rec.Start != nil && rec.Start.Token == "" {
		d.fault(attrStart, "has no token")
	}
	if rec.Version < 1 {
		d.fault(attrVersion, "must be a number above 0")
	}
}

func missing(v types.AttributeValue) bool {
	_, null := v.(*types.AttributeValueMemberNULL)
	return v == nil || null
}

func (d *decoder) text(it item, attr string) string {
	v := it[attr]
	s, ok := v.(*types.AttributeValueMemberS)
	if !ok {
		if !missing(v) {
			d.fault(attr, "must be a string, is %s", dynamo.TypeName(v))
		}
		return ""
	}
	return s.Value
}

// number reads a whole number.
func (d *decoder) number(it item, attr string) int64 {
	v := it[attr]
	n, ok := v.(*types.AttributeValueMemberN)
	if !ok {
		if !missing(v) {
			d.fault(attr, "must be a number, is %s", dynamo.TypeName(v))
		}
		return 0
	}
	i, err := strconv.ParseInt(n.Value, 10, 64)
	if err != nil {
		d.fault(attr, "must be a whole number, is %s", n.Value)
	}
	return i
}

func (d *decoder) port(it item, attr string) int {
	n := d.number(it, attr)
	if n < 0 || n > math.MaxUint16 {
		d.fault(attr, "must be a port, is %d", n)
	}
	return int(n)
}

func (d *decoder) boolean(it item, attr string) bool {
	v := it[attr]
	b, ok := v.(*types.AttributeValueMemberBOOL)
	if !ok {
		if !missing(v) {
			d.fault(attr, "must be a boolean, is %s", dynamo.TypeName(v))
		}
		return false
	}
	return b.Value
}

// members returns a map's members, nil where there is none.
func (d *decoder) members(it item, attr string) item {
	v := it[attr]
	m, ok := v.(*types.AttributeValueMemberM)
	if !ok {
		if !missing(v) {
			d.fault(attr, "must be a map, is %s", dynamo.TypeName(v))
		}
		return nil
	}
	return m.Value
}

// moment reads a time as any tool writes it: RFC 3339, or a number of milliseconds or
// seconds since 1970, which may be in a string.
func (d *decoder) moment(it item, attr string) time.Time {
	var s string
	switch v := it[attr].(type) {
	case *types.AttributeValueMemberS:
		s = v.Value
	case *types.AttributeValueMemberN:
		s = v.Value
	default:
		if !missing(v) {
			d.fault(attr, "must be a time, is %s", dynamo.TypeName(v))
		}
		return time.Time{}
	}
	if s == "" {
		return time.Time{}
	}
	t, err := parseMoment(s)
	if err != nil {
		d.fault(attr, "must be a time, is %q", s)
	}
	return t
}
