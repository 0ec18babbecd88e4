package caddymodule

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/webordinary/router/configstore"
	"github.com/webordinary/router/configstore/bulk"
)

// eTag is the client's version, for If-Match.
func (i clientInfo) eTag() string { return strconv.Quote(strconv.FormatInt(i.Version, 10)) }

func adminListClients(r *http.Request, _ *App, live *running) (any, error) {
	q := r.URL.Query()
	limit := pageSize
	if text := q.Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > pageSize {
			return nil, fmt.Errorf("%w: limit must be between 1 and %d", errBadRequest, pageSize)
		}
		limit = n
	}
	records, err := live.store.List(r.Context(), q.Get("after"), limit)
	if err != nil {
		return nil, err
	}
	infos := make([]clientInfo, 0, len(records))
	for _, rec := range records {
		infos = append(infos, describeClient(rec))
	}
	return infos, nil
}

func adminGetClient(r *http.Request, _ *App, live *running) (any, error) {
	rec, err := live.store.Get(r.Context(), r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	return describeClient(rec), nil
}

// clientPut is the answer of PUT /webordinary/clients/{id}: the client as it is stored now.
type clientPut struct {
	clientInfo
	// Created: nothing was stored before.
	Created bool `json:"created"`
	// Unchanged: it was stored already as it should be, and was not written.
	Unchanged bool                      `json:"unchanged,omitempty"`
	Changes   []configstore.FieldChange `json:"changes,omitempty"`
}

func adminPutClient(r *http.Request, app *App, live *running) (any, error) {
	expect, err := expectedVersion(r)
	if err != nil {
		return nil, err
	}
	client, err := readClient(r, app.rules())
	if err != nil {
		return nil, err
	}
	found, err := bulk.Compare(r.Context(), live.store, []configstore.Client{client}, nil)
	if err != nil {
		return nil, err
	}
	was := found[0]
	answer := clientPut{Created: was.Stored == configstore.NoVersion, Unchanged: was.Unchanged(), Changes: was.Changes}
	var rec configstore.Record
	if answer.Unchanged && (expect == configstore.AnyVersion || expect == was.Stored) {
		rec, err = live.store.Get(r.Context(), client.ClientID)
	} else {
		answer.Unchanged = false
		rec, err = live.store.Put(r.Context(), client, expect)
	}
	if err != nil {
		return nil, preconditioned(r, err)
	}
	answer.clientInfo = describeClient(rec)
	return answer, nil
}

// readClient reads and checks the one configuration of a body.
func readClient(r *http.Request, rules configstore.Rules) (configstore.Client, error) {
	body, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, configstore.MaxConfigBytes+1))
	if err != nil {
		return configstore.Client{}, fmt.Errorf("%w: reading body: %w", errBadRequest, err)
	}
	var decoded configstore.Decoded
	decoded.Client, decoded.Err = configstore.DecodeClient(body)
	client, err := decoded.Prepare(rules)
	if err == nil && client.ClientID != r.PathValue("id") {
		err = &configstore.ValidationError{Faults: []configstore.Fault{{Path: "clientId", Message: "is not that of the path"}}}
	}
	return client, err
}

func adminDeleteClient(r *http.Request, _ *App, live *running) (any, error) {
	expect, err := expectedVersion(r)
	if err != nil {
		return nil, err
	}
	if expect == configstore.NoVersion {
		return nil, fmt.Errorf("%w: If-None-Match has no meaning here", errBadRequest)
	}
	id := r.PathValue("id")
	if err := live.store.Delete(r.Context(), id, expect); err != nil {
		return nil, preconditioned(r, err)
	}
	return map[string]string{"deleted": id}, nil
}

// expectedVersion returns the version that a request expects to be stored, by
// If-Match: "3", by ?ifVersion=3, or by If-None-Match: * that there is none.
func expectedVersion(r *http.Request) (int64, error) {
	match, none, query := r.Header.Get("If-Match"), r.Header.Get("If-None-Match"), r.URL.Query().Get("ifVersion")
	given := 0
	for _, v := range []string{match, none, query} {
		if v != "" {
			given++
		}
	}
	switch {
	case given == 0:
		return configstore.AnyVersion, nil
	case given > 1:
		return 0, fmt.Errorf("%w: more than one of If-Match, If-None-Match and ifVersion", errBadRequest)
	case none == "*":
		return configstore.NoVersion, nil
	case none != "":
		return 0, fmt.Errorf("%w: If-None-Match must be *", errBadRequest)
	}
	version, err := strconv.ParseInt(strings.Trim(match+query, `"`), 10, 64)
	if err != nil || version < 0 {
		return 0, fmt.Errorf(`%w: the expected version must be a number, as in If-Match: "3" or ?ifVersion=3`, errBadRequest)
	}
	return version, nil
}

// errPrecondition: what a header of the request expects is not so.
var errPrecondition = errors.New("precondition failed")

// preconditioned marks a conflict that a header asked for.
func preconditioned(r *http.Request, err error) error {
	if r.Header.Get("If-Match") == "" && r.Header.Get("If-None-Match") == "" {
		return err
	}
	if errors.Is(err, configstore.ErrConflict) || errors.Is(err, configstore.ErrExists) {
		return fmt.Errorf("%w: %w", errPrecondition, err)
	}
	return err
}
