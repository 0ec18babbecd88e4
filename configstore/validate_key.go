package configstore

import (
	"bytes"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
)

// ParsePrivateKey checks the text that a reference to a deploy key led to and returns it
// with the line ends that ssh needs: one unencrypted private key in PEM form, of at most
// MaxKeyText. Its errors say nothing of the text.
func ParsePrivateKey(text string) (string, error) {
	if len(text) > MaxKeyText {
		return "", fmt.Errorf("must be at most %d bytes", MaxKeyText)
	}
	text = string(normalizeKey(DeployKey(text)))
	if err := checkPrivateKey(text); err != nil {
		return "", err
	}
	return text, nil
}

// normalizeKey gives a PEM key the line ends without which ssh refuses it.
func normalizeKey(k DeployKey) DeployKey {
	s := strings.TrimSpace(string(k))
	if !strings.HasPrefix(s, "-----BEGIN ") {
		return k
	}
	return DeployKey(strings.ReplaceAll(s, "\r\n", "\n") + "\n")
}

// checkDeployKey checks a client's key, or the reference to it. Its errors say nothing
// of a key.
func checkDeployKey(clientID string, key DeployKey, prefixes []KeyPrefix) error {
	switch {
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
