package dynamodb

import "github.com/webordinary/router/sessions"

// Encode returns a record's item.
func Encode(rec sessions.Record) item {
	rec.Version = 1
	it := (&Registry{retention: DefaultRetention}).encode(rec, "test")
	it[attrSessionID] = text(rec.SessionID)
	return it
}
