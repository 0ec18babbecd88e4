package deploykey

import (
	"errors"
	"fmt"
	"strings"
	"unicode"

	"github.com/aws/smithy-go"
)

// maxReason bounds what is repeated of AWS's words, in bytes.
const maxReason = 500

// awsError tells what an error of the AWS SDK means, in text alone: an error of the SDK
// may carry the answer that it could not read, which may be a key.
func awsError(err error) error {
	if _, ok := errors.AsType[*smithy.DeserializationError](err); ok {
		if _, ok := errors.AsType[smithy.APIError](err); !ok {
			return fmt.Errorf("%w: Secrets Manager's answer could not be read", ErrUnavailable)
		}
	}
	api, ok := errors.AsType[smithy.APIError](err)
	if !ok {
		// Nothing answered, or there are no credentials.
		return fmt.Errorf("%w: %s", ErrUnavailable, plain(err.Error()))
	}
	reason := plain(api.ErrorCode() + ": " + api.ErrorMessage())
	return fmt.Errorf("%w: %s", meaning(api), reason)
}

// meaning maps an error code of Secrets Manager, or of what gives out credentials.
func meaning(api smithy.APIError) error {
	switch code := api.ErrorCode(); code {
	case "ResourceNotFoundException":
		return ErrNotFound
	case "InvalidRequestException": // it is being deleted, or has no value yet
		return ErrNotFound
	case "AccessDeniedException", "AccessDenied", "DecryptionFailure",
		"UnrecognizedClientException", "InvalidClientTokenId", "InvalidSignatureException", "SignatureDoesNotMatch",
		"IncompleteSignature", "MissingAuthenticationToken", "ExpiredToken", "ExpiredTokenException", "OptInRequired":
		return ErrDenied
	case "InvalidParameterException", "ValidationException":
		return ErrInvalid
	default: // throttling and the service's own faults above all
		return ErrUnavailable
	}
}

// plain makes one short line of a text.
func plain(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, ""))
	if len(s) > maxReason {
		s = strings.ToValidUTF8(s[:maxReason], "") + "…"
	}
	return s
}
