package bulk

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"

	"github.com/webordinary/router/configstore"
)

// Outcome is what an import does with a client.
type Outcome string

// The outcomes.
const (
	// Create: it is not stored yet.
	Create Outcome = "create"
	// Upgrade: the row of the older tools is written anew, with a version and with
	// claims on its hosts.
	Upgrade Outcome = "upgrade"
	// Unchanged: it is stored as it is to be.
	Unchanged Outcome = "unchanged"
	// Conflict: a host is another client's, or what is stored is newer and differs.
	Conflict Outcome = "conflict"
	// Faulty: the row cannot be read, or its configuration is not valid.
	Faulty Outcome = "faulty"
)

// Planned is one client of an import.
type Planned struct {
	// ClientID is empty where a row names none.
	ClientID string `json:"clientId,omitempty"`
	// Place is where in the file the row stands; empty for a row of the store.
	Place   string  `json:"place,omitempty"`
	Outcome Outcome `json:"outcome"`
	// Reasons say why it is a conflict or faulty, with the paths of fields.
	Reasons []string `json:"reasons,omitempty"`
	// Changes are the fields that an upgrade changes.
	Changes []configstore.FieldChange `json:"changes,omitempty"`
	// Kept are fields that this version does not know and keeps as they are.
	Kept []string `json:"kept,omitempty"`
	// Left are attributes of a file's row, beside its configuration, that are not kept.
	Left []string `json:"left,omitempty"`

	comparison Comparison
	expect     int64
}

// Plan is what an import would do.
type Plan struct {
	// Rows are those to create, to upgrade, in conflict and faulty, by client.
	Rows []Planned `json:"rows"`
	// Unchanged is how many clients are stored already as they are to be.
	Unchanged int `json:"unchanged"`
}

// Count returns how many rows have an outcome.
func (p Plan) Count(o Outcome) int {
	n := 0
	for _, row := range p.Rows {
		if row.Outcome == o {
			n++
		}
	}
	return n
}

// Steps are the writes of the plan, and the index of the row of each.
func (p Plan) Steps() (steps []Step, rows []int, err error) {
	for i, row := range p.Rows {
		if row.Outcome != Create && row.Outcome != Upgrade {
			continue
		}
		step, err := row.comparison.Step(row.expect)
		if err != nil {
			return nil, nil, err
		}
		steps = append(steps, step)
		rows = append(rows, i)
	}
	return steps, rows, nil
}

// planner gathers what a plan is made of.
type planner struct {
	rules configstore.Rules
	// rows are the candidates, by client.
	rows map[string]*Planned
	// nameless are rows of a file that cannot be told to be anybody's.
	nameless  []Planned
	claimed   map[string]string // host → the client to whom it belongs
	unchanged int
}

func newPlanner(rules configstore.Rules) *planner {
	return &planner{rules: rules, rows: make(map[string]*Planned), claimed: make(map[string]string)}
}

// PlanUpgrade plans the upgrade of the store's own rows that older tools wrote. progress,
// which may be nil, is told how many clients were read so far.
func PlanUpgrade(ctx context.Context, store configstore.Store, rules configstore.Rules, progress func(read int)) (Plan, error) {
	p := newPlanner(rules)
	read := 0
	err := each(ctx, store, func(rec configstore.Record) error {
		if read++; progress != nil {
			progress(read)
		}
		switch {
		case rec.Broken != "":
			p.rows[rec.Client.ClientID] = &Planned{ClientID: rec.Client.ClientID, Outcome: Faulty, Reasons: strings.Split(rec.Broken, "; ")}
		case rec.Version > 0:
			p.unchanged++
			p.claim(rec)
		default:
			row := &Planned{ClientID: rec.Client.ClientID}
			p.rows[row.ClientID] = row
			if err := p.prepare(row, rec.Client, &rec); err != nil {
				return err
			}
			row.comparison.held = rec.Entry().Hosts
		}
		return nil
	})
	if err != nil {
		return Plan{}, err
	}
	return p.plan(), nil
}

// PlanImport plans the import of a file's rows. What is stored already and newer than
// the older tools is never overwritten.
func PlanImport(ctx context.Context, store configstore.Store, rows iter.Seq2[configstore.Place, Row], rules configstore.Rules, progress func(read int)) (Plan, error) {
	p := newPlanner(rules)
	clients := make(map[string]configstore.Client)
	for place, row := range rows {
		if ctx.Err() != nil {
			return Plan{}, ctx.Err()
		}
		planned := Planned{ClientID: row.Client.ClientID, Place: place.String(), Left: row.Beside}
		switch held, twice := p.rows[planned.ClientID]; {
		case row.Err != nil:
			planned.fail(row.Err)
		case twice:
			planned.fail(fmt.Errorf("clientId: stands already at %s", held.Place))
		case planned.ClientID != "":
			p.rows[planned.ClientID] = &planned
			clients[planned.ClientID] = row.Client
			continue
		default:
			planned.fail(errors.New("clientId: must not be empty"))
		}
		p.nameless = append(p.nameless, planned)
	}
	read := 0
	stored := make(map[string]configstore.Record)
	err := each(ctx, store, func(rec configstore.Record) error {
		if read++; progress != nil {
			progress(read)
		}
		if _, ok := clients[rec.Client.ClientID]; ok {
			stored[rec.Client.ClientID] = rec
		}
		if _, ok := clients[rec.Client.ClientID]; !ok || rec.Version > 0 {
			p.claim(rec)
		}
		return nil
	})
	if err != nil {
		return Plan{}, err
	}
	for id, client := range clients {
		var held *configstore.Record
		if rec, ok := stored[id]; ok {
			held = &rec
		}
		if err := p.prepare(p.rows[id], client, held); err != nil {
			return Plan{}, err
		}
	}
	return p.plan(), nil
}

func (row *Planned) fail(err error) {
	row.Outcome = Faulty
	row.Reasons = reasons(err)
}

// reasons are the faults of an error, each for itself.
func reasons(err error) []string {
	invalid, ok := errors.AsType[*configstore.ValidationError](err)
	if !ok {
		return []string{err.Error()}
	}
	texts := make([]string, len(invalid.Faults))
	for i, f := range invalid.Faults {
		texts[i] = f.String()
	}
	return texts
}

// claim notes to whom the hosts of a stored row belong.
func (p *planner) claim(rec configstore.Record) {
	for _, host := range rec.Entry().Hosts {
		if _, ok := p.claimed[host]; !ok || rec.Version > 0 {
			p.claimed[host] = rec.Client.ClientID
		}
	}
}

// prepare checks a row's configuration and compares it with what is stored; hosts are
// looked at later, when all are known.
func (p *planner) prepare(row *Planned, client configstore.Client, held *configstore.Record) error {
	unknown := client.Unknown
	row.Kept = slices.Sorted(maps.Keys(unknown))
	client.Unknown = nil
	client, err := configstore.Prepare(client, p.rules)
	if err != nil {
		row.fail(err)
		return nil
	}
	client.Unknown = unknown
	row.Outcome, row.expect = Create, configstore.NoVersion
	row.comparison = Comparison{Client: client, Stored: configstore.NoVersion}
	if held == nil {
		return nil
	}
	if row.comparison, err = compare(client, *held); err != nil {
		return err
	}
	row.expect = held.Version
	switch {
	case row.comparison.Unchanged():
		row.Outcome = Unchanged
	case held.Version > 0 && held.Broken == "":
		row.Outcome = Conflict
		row.Reasons = []string{fmt.Sprintf("is stored at version %d and differs, which `client put` would replace", held.Version)}
		for _, c := range row.comparison.Changes {
			row.Reasons = append(row.Reasons, c.String())
		}
	default:
		row.Outcome, row.Changes = Upgrade, row.comparison.Changes
	}
	return nil
}

// plan gives each host to the first client that names it, in the order in which edges
// route it, and finds the others in conflict.
func (p *planner) plan() Plan {
	plan := Plan{Rows: []Planned{}, Unchanged: p.unchanged}
	for _, id := range slices.Sorted(maps.Keys(p.rows)) {
		row := p.rows[id]
		switch row.Outcome {
		case Unchanged:
			plan.Unchanged++
			continue
		case Create, Upgrade:
			p.settle(row)
		case Conflict, Faulty:
			// A row that stays as it is goes on to be routed by the hosts that it names.
			for _, host := range row.comparison.held {
				if _, ok := p.claimed[host]; !ok {
					p.claimed[host] = row.ClientID
				}
			}
		}
		plan.Rows = append(plan.Rows, *row)
	}
	plan.Rows = append(plan.Rows, p.nameless...)
	return plan
}

// settle claims a row's hosts, all or none.
func (p *planner) settle(row *Planned) {
	hosts, err := row.comparison.Client.EditHosts()
	if err != nil {
		row.fail(err)
		return
	}
	for _, host := range hosts {
		if owner, ok := p.claimed[host]; ok && owner != row.ClientID {
			row.Outcome = Conflict
			row.Reasons = append(row.Reasons, fmt.Sprintf("host %q is claimed by %q too", host, owner))
		}
	}
	if row.Outcome == Conflict {
		return
	}
	for _, host := range hosts {
		p.claimed[host] = row.ClientID
	}
}
