package configstore

import (
	"bytes"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
)

// maxCredential bounds a token or a password with its user, in bytes.
const maxCredential = 4096

// ParseKey checks the text that a reference to a repository's deploy key led to and returns
// it as git is given it. For https it is one line, a token or user:token, whose line end
// goes; else one unencrypted private key in PEM form, which gets the line ends that ssh
// needs. It has at most MaxKeyText. Its errors say nothing of the text.
func (r Repository) ParseKey(text string) (string, error) {
	if len(text) > MaxKeyText {
		return "", fmt.Errorf("must be at most %d bytes", MaxKeyText)
	}
	if r.takesCredential() {
		text = strings.TrimRight(text, "\r\n")
		return text, checkCredential(text)
	}
	text = string(normalizeKey(DeployKey(text)))
	if err := checkPrivateKey(text); err != nil {
		return "", err
	}
	return text, nil
}

// takesCredential reports whether the repository's key is a token and not a key for ssh.
func (r Repository) takesCredential() bool { return strings.HasPrefix(r.URL, "https:") }

// checkCredential accepts a token, or a user's name and token or password.
func checkCredential(text string) error {
	user, secret, both := strings.Cut(text, ":")
	switch {
	case strings.Contains(text, "-----BEGIN "):
		return errors.New("is a key for ssh: an https repository takes a token, or user:token")
	case len(text) > maxCredential:
		return fmt.Errorf("must be at most %d bytes", maxCredential)
	case !isPlainText(text) || strings.TrimSpace(text) != text:
		return errors.New("must be one line without control characters, and not begin or end with a space")
	case user == "" || both && secret == "":
		return errors.New("must be a token, or user:token")
	}
	return nil
}

// normalizeKey gives a PEM key the line ends without which ssh refuses it.
func normalizeKey(k DeployKey) DeployKey {
	s := strings.TrimSpace(string(k))
	if !strings.HasPrefix(s, "-----BEGIN ") {
		return k
	}
	return DeployKey(strings.ReplaceAll(s, "\r\n", "\n") + "\n")
}

// checkDeployKey checks a repository's key, or the reference to it. Its errors say nothing
// of a key.
func checkDeployKey(clientID string, r Repository, prefixes []KeyPrefix) error {
	switch key := r.DeployKey; {
	case key.IsReference():
		ref, err := key.Reference()
		if err != nil {
			return err
		}
		return AllowKey(prefixes, clientID, ref)
	case len(key) > maxDeployKey:
		return fmt.Errorf("must be at most %d bytes", maxDeployKey)
	case key == redactedKey:
		return errors.New("is a redacted key, as the client was shown: give the key itself")
	case r.takesCredential():
		return checkCredential(string(key))
	default:
		return checkPrivateKey(string(key))
	}
}

// checkPrivateKey accepts one unencrypted private key in PEM form.
func checkPrivateKey(key string) error {
	block, rest := pem.Decode([]byte(key))
	if block == nil || !strings.HasPrefix(key, "-----BEGIN ") || len(bytes.TrimSpace(rest)) > 0 {
		return errors.New("must be one private key in PEM form")
	}
	if !strings.HasSuffix(block.Type, "PRIVATE KEY") {
		return errors.New("must be a private key, not another kind of PEM block")
	}
	if isEncryptedKey(block) {
		return errors.New("must not be protected by a passphrase")
	}
	return nil
}

func isEncryptedKey(block *pem.Block) bool {
	if strings.Contains(block.Type, "ENCRYPTED") || strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED") {
		return true
	}
	// openssh-key-v1: a magic string, then the cipher's name with its length in four bytes.
	rest, ok := bytes.CutPrefix(block.Bytes, []byte("openssh-key-v1\x00"))
	return ok && !bytes.HasPrefix(rest, []byte("\x00\x00\x00\x04none"))
}
