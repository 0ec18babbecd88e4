package bootapi

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"strconv"
)

// The contexts keep a proof from meaning anything elsewhere.
const (
	proofContext    = "webordinary container proof v1\n"
	responseContext = "webordinary response proof v1\n"
)

// NewToken returns a new random token of 256 bits, in unpadded base64url.
func NewToken() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails, see crypto/rand
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// NewNonce returns a fresh nonce for a ProofRequest.
func NewNonce() string {
	var b [32]byte
	_, _ = rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// HashToken returns the hex SHA-256 of a token, which a container is started with.
func HashToken(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

// TokenMatches reports, in constant time, whether a token has the given hash.
func TokenMatches(token, tokenHash string) bool {
	return subtle.ConstantTimeCompare([]byte(HashToken(token)), []byte(tokenHash)) == 1
}

// MakeProof answers a nonce: the hex HMAC-SHA-256 of context and nonce under the
// token's hash. It fails for a nonce that is not 32 bytes in hex, so that a container
// cannot be used to sign anything else.
func MakeProof(tokenHash, nonce string) (string, error) {
	n, err := hex.DecodeString(nonce)
	if err != nil || len(n) != 32 {
		return "", fmt.Errorf("nonce must be 32 bytes in hex")
	}
	mac := hmac.New(sha256.New, []byte(tokenHash))
	mac.Write([]byte(proofContext))
	mac.Write(n)
	return hex.EncodeToString(mac.Sum(nil)), nil
}

// CheckProof reports, in constant time, whether proof answers nonce for tokenHash.
func CheckProof(tokenHash, nonce, proof string) bool {
	want, err := MakeProof(tokenHash, nonce)
	return err == nil && subtle.ConstantTimeCompare([]byte(want), []byte(proof)) == 1
}

// responseProofSize is how much of the HMAC is sent: 128 bits can no more be guessed
// than a session's id, and go by in a comparison that allocates nothing.
const responseProofSize = 16

// ResponseProof is the value of HeaderProof in one epoch of a session: the hex of the
// first 128 bits of the HMAC-SHA-256 of context, epoch and session under the token. It
// is the same for all responses of the epoch, so that both sides compute it once.
func ResponseProof(token, sessionID string, epoch int64) string {
	mac := hmac.New(sha256.New, []byte(token))
	mac.Write([]byte(responseContext + strconv.FormatInt(epoch, 10) + "\n" + sessionID))
	return hex.EncodeToString(mac.Sum(nil)[:responseProofSize])
}

// CheckResponse reports, in constant time, whether a response's header holds the proof
// that is wanted, once and nothing beside it. Nothing proves an empty one.
func CheckResponse(header http.Header, want string) bool {
	got := header[HeaderProof]
	return want != "" && len(got) == 1 && subtle.ConstantTimeCompare([]byte(got[0]), []byte(want)) == 1
}
