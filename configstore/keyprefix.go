package configstore

import (
	"fmt"
	"slices"
	"strings"
)

// KeyPrefix is what the operator allows references to deploy keys to begin with. The
// zero value allows nothing; use ParseKeyPrefix.
type KeyPrefix struct {
	kind KeyKind
	// text is what must be the beginning: of a variable's name or a path.
	text string
	// arn holds the parts of an ARN, the last of which may be the beginning of a name.
	arn []string
}

// ParseKeyPrefix reads a prefix:
//
//	env:BEGINNING   variables whose name begins so
//	file:/PATH      this file, or every file in this folder and below
//	arn:aws:secretsmanager:REGION:ACCOUNT:secret:BEGINNING
//	                secrets whose name begins so; it may end after any part before
//
// In env: and file:, {client} stands for the id of the client, so that none can refer to
// another's key; in env: it is written in upper case, with underscores for hyphens, and
// the name must be the whole of it. Secrets need no such thing: they carry a tag.
func ParseKeyPrefix(s string) (KeyPrefix, error) {
	kind, rest, _ := strings.Cut(s, ":")
	p := KeyPrefix{kind: KeyKind(kind)}
	// As for an ordinary client.
	example := strings.Replace(rest, clientPlaceholder, "c", 1)
	switch p.kind {
	case KeyInSecretsManager:
		whole, cut := strings.CutSuffix(s, ":")
		p.arn = strings.Split(whole, ":")
		if len(p.arn) < 3 || cut && len(p.arn) == arnParts || checkARNParts(p.arn) != nil {
			return KeyPrefix{}, fmt.Errorf("key prefix %q: must be the beginning of arn:aws:secretsmanager:REGION:ACCOUNT:secret:NAME, cut between two parts or within the name", s)
		}
	case KeyInEnv:
		p.text = rest
		if !isVariableName(example) {
			return KeyPrefix{}, fmt.Errorf("key prefix %q: must be env: and the beginning of variables' names", s)
		}
	case KeyInFile:
		clean, ok := cleanKeyPath(rest)
		p.text = clean
		if !ok || strings.Contains(example, clientPlaceholder) {
			return KeyPrefix{}, fmt.Errorf(`key prefix %q: must be file: and the absolute path of a folder or file, without ".."`, s)
		}
	default:
		return KeyPrefix{}, fmt.Errorf("key prefix %q: must begin with env:, file: or arn:aws:secretsmanager", s)
	}
	return p, nil
}

// String returns the prefix as it is written in configuration.
func (p KeyPrefix) String() string {
	if p.kind == KeyInSecretsManager {
		return strings.Join(p.arn, ":")
	}
	return string(p.kind) + ":" + p.text
}

// Allows reports whether a client may use a reference. Of a file this is so by its name;
// where symbolic links lead must be seen when it is opened.
func (p KeyPrefix) Allows(clientID string, r KeyReference) bool {
	if p.kind != r.Kind || !ValidClientID(clientID) {
		return false
	}
	switch p.kind {
	case KeyInSecretsManager:
		return p.allowsSecret(r)
	case KeyInEnv:
		if !strings.Contains(p.text, clientPlaceholder) {
			return strings.HasPrefix(r.Name, p.text)
		}
		id := strings.ToUpper(strings.ReplaceAll(clientID, "-", "_"))
		return r.Name == strings.Replace(p.text, clientPlaceholder, id, 1)
	case KeyInFile:
		at := p.Path(clientID)
		return r.Name == at || strings.HasPrefix(r.Name, at+"/")
	default:
		return false
	}
}

func (p KeyPrefix) allowsSecret(r KeyReference) bool {
	have := []string{arnStart, r.Partition, secretsService, r.Region, r.Account, secretResource, r.Name}
	whole := min(len(p.arn), arnParts-1)
	return slices.Equal(p.arn[:whole], have[:whole]) &&
		(len(p.arn) < arnParts || strings.HasPrefix(r.Name, p.arn[arnParts-1]))
}

// Path is the folder or file of a client that a file: prefix names; empty for another kind.
func (p KeyPrefix) Path(clientID string) string {
	if p.kind != KeyInFile {
		return ""
	}
	return strings.Replace(p.text, clientPlaceholder, clientID, 1)
}

// AllowKey returns nil where one of the prefixes allows a client a reference. Its error
// says what the operator would have to allow.
func AllowKey(prefixes []KeyPrefix, clientID string, r KeyReference) error {
	if slices.ContainsFunc(prefixes, func(p KeyPrefix) bool { return p.Allows(clientID, r) }) {
		return nil
	}
	return fmt.Errorf("must be allowed by the operator: the option deploy_key_prefixes has no prefix that allows %s to this client", r)
}
