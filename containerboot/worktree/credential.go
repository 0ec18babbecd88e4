package worktree

import "strings"

// tokenUsers are the names with which hosts take a token for a password. Others take any
// name, as far as is known; oauth2 is what GitLab asks for with some of its tokens, and
// it runs under many names.
var tokenUsers = map[string]string{
	"github.com":    "x-access-token",
	"bitbucket.org": "x-token-auth",
}

const (
	otherTokenUser = "oauth2"
	// gheDomain is GitHub Enterprise Cloud, a host for each customer.
	gheDomain    = ".ghe.com"
	gheTokenUser = "x-access-token"
)

// splitCredential takes "user:token", or a token alone, apart.
func splitCredential(text, host string) (user, password string) {
	if user, password, both := strings.Cut(text, ":"); both {
		return user, password
	}
	host = strings.ToLower(host)
	if user, ok := tokenUsers[host]; ok {
		return user, text
	}
	if strings.HasSuffix(host, gheDomain) {
		return gheTokenUser, text
	}
	return otherTokenUser, text
}

// credentialConfig makes git answer the remote's own host, port and scheme with what is in
// the environment, and nobody else: not where it is redirected to. Only the helper's text
// is configuration.
func (r remote) credentialConfig() [2]string {
	return [2]string{
		"credential.https://" + r.authority + ".helper",
		`!f() { [ "$1" = get ] && printf 'username=%s\npassword=%s\n' "$REMOTE_USER" "$REMOTE_PASSWORD"; }; f`,
	}
}
