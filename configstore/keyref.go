package configstore

import (
	"errors"
	"path"
	"strings"
)

// KeyKind is where a reference to a deploy key leads: the word before its first colon.
type KeyKind string

// The kinds of references.
const (
	KeyInSecretsManager KeyKind = "arn"
	KeyInEnv            KeyKind = "env"
	KeyInFile           KeyKind = "file"
)

// KeyReference is a well-formed reference to a deploy key, taken apart; see DeployKey.Reference.
type KeyReference struct {
	Kind KeyKind
	// Partition, Region and Account are those of an ARN, else empty.
	Partition, Region, Account string
	// Name is the secret's name as the ARN has it, with or without the six characters
	// that Secrets Manager appends; or the variable's name; or the file's clean absolute path.
	Name string
}

// String returns the reference as it is written in a configuration.
func (r KeyReference) String() string {
	if r.Kind == KeyInSecretsManager {
		return strings.Join([]string{arnStart, r.Partition, secretsService, r.Region, r.Account, secretResource, r.Name}, ":")
	}
	return string(r.Kind) + ":" + r.Name
}

// The parts of a secret's ARN whose words are fixed.
const (
	arnStart       = "arn"
	secretsService = "secretsmanager"
	secretResource = "secret"

	arnParts = 7 // arn:PARTITION:secretsmanager:REGION:ACCOUNT:secret:NAME

	maxSecretName   = 512 + 7 // a hyphen and six characters are appended
	maxVariableName = 256
)

// What is wrong with a reference. None of these repeats it: what is malformed may be a
// secret in the wrong place.
var (
	errKeyARN  = errors.New("must have the form arn:aws:secretsmanager:REGION:ACCOUNT:secret:NAME, with nothing after the name")
	errKeyEnv  = errors.New("must have the form env:NAME, with a name of letters, digits and underscores")
	errKeyFile = errors.New(`must have the form file:/absolute/path, without ".."`)
)

// IsReference reports whether the key is meant as a reference (arn:…, env:…, file:…) and
// not as a key itself; it may be malformed, see Reference.
func (k DeployKey) IsReference() bool {
	kind, _, ok := strings.Cut(string(k), ":")
	switch KeyKind(kind) {
	case KeyInSecretsManager, KeyInEnv, KeyInFile:
		return ok
	default:
		return false
	}
}

// Reference takes a reference apart. Its error says what is wrong without repeating it.
func (k DeployKey) Reference() (KeyReference, error) {
	kind, rest, _ := strings.Cut(string(k), ":")
	switch KeyKind(kind) {
	case KeyInSecretsManager:
		parts := strings.Split(string(k), ":")
		if len(parts) != arnParts || checkARNParts(parts) != nil || parts[arnParts-1] == "" {
			return KeyReference{}, errKeyARN
		}
		return KeyReference{Kind: KeyInSecretsManager, Partition: parts[1], Region: parts[3], Account: parts[4], Name: parts[6]}, nil
	case KeyInEnv:
		if !isVariableName(rest) {
			return KeyReference{}, errKeyEnv
		}
		return KeyReference{Kind: KeyInEnv, Name: rest}, nil
	case KeyInFile:
		name, ok := cleanKeyPath(rest)
		if !ok {
			return KeyReference{}, errKeyFile
		}
		return KeyReference{Kind: KeyInFile, Name: name}, nil
	default:
		return KeyReference{}, errors.New("is not a reference")
	}
}

// checkARNParts checks the parts of a secret's ARN, or the first ones of them. The last
// may be empty.
func checkARNParts(parts []string) error {
	checks := [arnParts]func(string) bool{
		func(s string) bool { return s == arnStart },
		func(s string) bool { return s == "aws" || strings.HasPrefix(s, "aws-") && isLabel(s) },
		func(s string) bool { return s == secretsService },
		isLabel, // the region becomes part of a host's name
		func(s string) bool { return len(s) == 12 && strings.Trim(s, "0123456789") == "" },
		func(s string) bool { return s == secretResource },
		isSecretName,
	}
	for i, part := range parts {
		if i >= arnParts || (part != "" || i < len(parts)-1) && !checks[i](part) {
			return errKeyARN
		}
	}
	return nil
}

// isLabel reports whether s is a DNS label in the narrow form of regions and partitions.
func isLabel(s string) bool { return ValidClientID(s) }

func isSecretName(s string) bool {
	return s != "" && len(s) <= maxSecretName && !strings.ContainsFunc(s, func(r rune) bool {
		return !isAlphanumeric(r) && !strings.ContainsRune("/_+=.@-", r)
	})
}

func isVariableName(s string) bool {
	return s != "" && len(s) <= maxVariableName && (s[0] < '0' || s[0] > '9') && !strings.ContainsFunc(s, func(r rune) bool {
		return !isAlphanumeric(r) && r != '_'
	})
}

func isAlphanumeric(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
}

// cleanKeyPath cleans an absolute path. ".." is refused rather than resolved: with
// symbolic links it leads elsewhere than its text says.
func cleanKeyPath(p string) (clean string, ok bool) {
	if !path.IsAbs(p) || len(p) > maxText || !isPlainText(p) || strings.Contains(p+"/", "/../") {
		return "", false
	}
	clean = path.Clean(p)
	return clean, clean != "/"
}
