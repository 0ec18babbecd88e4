package configstore

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// MaxConfigBytes bounds one client's configuration in JSON.
const MaxConfigBytes = 256 << 10

// DecodeClient reads a configuration as an operator writes it. Unknown fields, repeated
// fields, values of the wrong type and trailing data are all reported, each with its
// path, in one ValidationError; what could be read is returned beside it. The values
// themselves are not checked: see Prepare.
func DecodeClient(data []byte) (Client, error) {
	d := decoder{strict: true}
	c := d.client(data)
	return c, d.faults.err()
}

// DecodeStored reads a configuration as a store holds it. Fields that this version does
// not know are kept in Client.Unknown; null counts as absent. It fails, with a
// ValidationError, only where a field has another type than it should.
func DecodeStored(data []byte) (Client, error) {
	d := decoder{}
	c := d.client(data)
	if err := d.faults.err(); err != nil {
		return Client{}, err
	}
	return c, nil
}

// decoder reads the JSON shape of a Client. encoding/json alone would match names in
// any case, let a repeated field win silently and stop at the first fault.
type decoder struct {
	// before are the lines of a stream before the document.
	before int
	// strict: refuse what is unknown, repeated or null; otherwise keep, take the last, skip.
	strict  bool
	faults  faults
	unknown map[string]json.RawMessage
}

// field reads one value into its place.
type field func(path string, raw json.RawMessage)

func (d *decoder) client(data []byte) Client {
	var c Client
	if !d.wellFormed(data) {
		return c
	}
	d.object("", data, map[string]field{
		"clientId":       d.text(&c.ClientID),
		"domains":        func(path string, raw json.RawMessage) { d.domains(path, raw, &c.Domains) },
		"repository":     func(path string, raw json.RawMessage) { d.repository(path, raw, &c.Repository) },
		"infrastructure": func(path string, raw json.RawMessage) { c.Infrastructure = d.infrastructure(path, raw) },
		"settings":       func(path string, raw json.RawMessage) { d.settings(path, raw, &c.Settings) },
		"build":          func(path string, raw json.RawMessage) { c.Build = d.build(path, raw) },
		"disabled":       d.boolean(&c.Disabled),
	})
	c.Unknown = d.unknown
	return c
}

func (d *decoder) domains(path string, raw json.RawMessage, v *Domains) {
	d.object(path, raw, map[string]field{
		"production": d.text(&v.Production),
		"edit":       d.text(&v.Edit),
		"aliases":    d.texts(&v.Aliases),
	})
}

func (d *decoder) repository(path string, raw json.RawMessage, v *Repository) {
	d.object(path, raw, map[string]field{
		"url":       d.text(&v.URL),
		"branch":    d.text(&v.Branch),
		"deployKey": d.text((*string)(&v.DeployKey)),
		"directory": d.text(&v.Directory),
	})
}

func (d *decoder) infrastructure(path string, raw json.RawMessage) *Infrastructure {
	v := new(Infrastructure)
	d.object(path, raw, map[string]field{
		"targetGroupArn": d.text(&v.TargetGroupARN),
		"certificateArn": d.text(&v.CertificateARN),
		"hostedZoneId":   d.text(&v.HostedZoneID),
	})
	return v
}

func (d *decoder) settings(path string, raw json.RawMessage, v *Settings) {
	d.object(path, raw, map[string]field{
		"containerSize":         d.text((*string)(&v.ContainerSize)),
		"idleTimeoutMinutes":    d.integer(&v.IdleTimeoutMinutes),
		"maxConcurrentSessions": d.integer(&v.MaxConcurrentSessions),
		"maxLifetimeMinutes":    d.integer(&v.MaxLifetimeMinutes),
		"wakeOn":                d.text((*string)(&v.WakeOn)),
	})
}

func (d *decoder) build(path string, raw json.RawMessage) *Build {
	v := new(Build)
	d.object(path, raw, map[string]field{
		"install":     d.text(&v.Install),
		"command":     d.text(&v.Command),
		"output":      d.text(&v.Output),
		"mode":        d.text((*string)(&v.Mode)),
		"nodeVersion": d.text(&v.NodeVersion),
		"env":         func(path string, raw json.RawMessage) { d.environment(path, raw, &v.Env) },
		"healthPath":  d.text(&v.HealthPath),
	})
	return v
}

// wellFormed checks the document as a whole, so that what follows meets valid JSON only.
func (d *decoder) wellFormed(data []byte) bool {
	if len(data) > MaxConfigBytes {
		d.faults.add("", fmt.Sprintf("must be at most %d bytes, got %d", MaxConfigBytes, len(data)))
		return false
	}
	if len(bytes.TrimSpace(data)) == 0 {
		d.faults.add("", "must not be empty")
		return false
	}
	if !utf8.Valid(data) {
		d.faults.add("", "must be UTF-8")
		return false
	}
	var raw json.RawMessage
	err := json.Unmarshal(data, &raw)
	if err == nil {
		return true
	}
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		line, column := position(data, syntax.Offset)
		d.faults.add("", fmt.Sprintf("invalid JSON at line %d, column %d: %s", d.before+line, column, syntax.Error()))
	} else {
		d.faults.add("", "invalid JSON: "+err.Error())
	}
	return false
}

// position turns the offset of a syntax error, which counts the offending byte, into
// line and column, both from 1.
func position(data []byte, offset int64) (line, column int) {
	before := data[:max(0, min(int(offset)-1, len(data)))]
	return 1 + bytes.Count(before, []byte("\n")), len(before) - bytes.LastIndexByte(before, '\n')
}

// object hands each member of a JSON object to its field.
func (d *decoder) object(path string, raw json.RawMessage, fields map[string]field) {
	d.members(path, raw, func(name string, value json.RawMessage) {
		read, ok := fields[name]
		switch {
		case ok:
			read(joinPath(path, name), value)
		case d.strict:
			d.faults.add(joinPath(path, name), "unknown field")
		default:
			d.keep(path, name, value)
		}
	})
}

// members calls fn for each member of a JSON object, in its order.
func (d *decoder) members(path string, raw json.RawMessage, fn func(name string, value json.RawMessage)) {
	if d.skip(raw) {
		return
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	if start, err := dec.Token(); err != nil || start != json.Delim('{') {
		d.mismatch(path, "an object", raw)
		return
	}
	seen := make(map[string]bool)
	for dec.More() {
		name, value, err := member(dec)
		if err != nil {
			d.faults.add(path, err.Error())
			return
		}
		if d.strict && seen[name] {
			d.faults.add(joinPath(path, name), "is given more than once")
			continue
		}
		seen[name] = true
		fn(name, value)
	}
}

func member(dec *json.Decoder) (name string, value json.RawMessage, err error) {
	token, err := dec.Token()
	if err != nil {
		return "", nil, err
	}
	name, _ = token.(string)
	err = dec.Decode(&value)
	return name, value, err
}

// keep stores an unknown field, in compact form, under its path.
func (d *decoder) keep(parent, name string, value json.RawMessage) {
	var b bytes.Buffer
	if err := json.Compact(&b, value); err != nil {
		d.faults.add(joinPath(parent, name), err.Error())
		return
	}
	if d.unknown == nil {
		d.unknown = make(map[string]json.RawMessage)
	}
	d.unknown[joinPath(parent, escapeName(name))] = b.Bytes()
}

func (d *decoder) text(v *string) field {
	return func(path string, raw json.RawMessage) {
		if d.skip(raw) {
			return
		}
		if raw[0] != '"' || json.Unmarshal(raw, v) != nil {
			d.mismatch(path, "a string", raw)
		}
	}
}

func (d *decoder) texts(v *[]string) field {
	return func(path string, raw json.RawMessage) {
		if d.skip(raw) {
			return
		}
		var items []json.RawMessage
		if raw[0] != '[' || json.Unmarshal(raw, &items) != nil {
			d.mismatch(path, "an array of strings", raw)
			return
		}
		*v = make([]string, len(items))
		for i, item := range items {
			d.text(&(*v)[i])(fmt.Sprintf("%s[%d]", path, i), item)
		}
	}
}

func (d *decoder) integer(v *int) field {
	return func(path string, raw json.RawMessage) {
		if d.skip(raw) {
			return
		}
		if json.Unmarshal(raw, v) != nil || raw[0] == 'n' {
			d.mismatch(path, "a whole number", raw)
		}
	}
}

func (d *decoder) boolean(v *bool) field {
	return func(path string, raw json.RawMessage) {
		if d.skip(raw) {
			return
		}
		if json.Unmarshal(raw, v) != nil || raw[0] == 'n' {
			d.mismatch(path, "true or false", raw)
		}
	}
}

func (d *decoder) environment(path string, raw json.RawMessage, v *map[string]string) {
	d.members(path, raw, func(name string, value json.RawMessage) {
		if *v == nil {
			*v = make(map[string]string)
		}
		var s string
		d.text(&s)(joinPath(path, name), value)
		(*v)[name] = s
	})
}

// skip reports whether a value counts as absent.
func (d *decoder) skip(raw json.RawMessage) bool {
	return !d.strict && string(raw) == "null"
}

// mismatch says what was expected and the kind of what was found, never its value.
func (d *decoder) mismatch(path, want string, raw json.RawMessage) {
	d.faults.add(path, fmt.Sprintf("must be %s, got %s", want, kind(raw)))
}

// kind names the JSON type of a value. Numbers are no secrets and are shown.
func kind(raw json.RawMessage) string {
	switch raw = bytes.TrimSpace(raw); raw[0] {
	case '{':
		return "an object"
	case '[':
		return "an array"
	case '"':
		return "a string"
	case 't', 'f':
		return string(raw)
	case 'n':
		return "null"
	default:
		if len(raw) > 32 {
			return "a number"
		}
		return string(raw)
	}
}

// nameEscapes keep a dot in a field's name apart from the one between two names.
var nameEscapes = strings.NewReplacer(`\`, `\\`, `.`, `\.`)

func escapeName(name string) string { return nameEscapes.Replace(name) }
