package steps

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestClientEnv(t *testing.T) {
	t.Parallel()
	home := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(home, ".npmrc"), nil, 0o600))
	base := []string{
		"ASTRO_TELEMETRY_DISABLED=1", "HOME=/s/home", "LANG=C.UTF-8", "NO_COLOR=1", "PATH=/bin", "TERM=dumb",
		"npm_config_cache=/c/npm", "npm_config_update_notifier=false",
	}
	cases := map[string]struct {
		environ []string
		own     map[string]string
		more    []string // beside base, or instead of the same name
	}{
		"secrets stay out": {environ: []string{
			"PATH=/bin", "AWS_SECRET_ACCESS_KEY=x", "WEBORDINARY_TOKEN_HASH=x", "SESSION_ID=x", "CLIENT_CONFIG=x",
			"GITHUB_TOKEN=x", "SSH_AUTH_SOCK=x", "NODE_OPTIONS=x", "npm_config__auth=x", "HOME=/nowhere",
		}},
		"networks and certificates": {
			environ: []string{"PATH=/bin", "https_proxy=p", "NO_PROXY=n", "NODE_EXTRA_CA_CERTS=c", "SSL_CERT_FILE=f", "TMPDIR=/t", "TZ="},
			more:    []string{"https_proxy=p", "NO_PROXY=n", "NODE_EXTRA_CA_CERTS=c", "SSL_CERT_FILE=f", "TMPDIR=/t"},
		},
		"the user's npmrc": {
			environ: []string{"PATH=/bin", "HOME=" + home},
			more:    []string{"npm_config_userconfig=" + home + "/.npmrc"},
		},
		"another npmrc": {
			environ: []string{"PATH=/bin", "HOME=" + home, "NPM_CONFIG_USERCONFIG=/etc/npmrc", "NPM_CONFIG_REGISTRY=https://r.example"},
			more:    []string{"npm_config_userconfig=/etc/npmrc", "npm_config_registry=https://r.example"},
		},
		"the client's own win": {
			environ: []string{"PATH=/bin", "TZ=UTC"},
			own:     map[string]string{"TZ": "Europe/Rome", "API_URL": "https://x.example"},
			more:    []string{"TZ=Europe/Rome", "API_URL=https://x.example"},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := clientEnv(tc.environ, "/s/home", "/c/npm", tc.own)
			assert.ElementsMatch(t, append(append([]string{}, base...), tc.more...), got)
		})
	}
	assert.Contains(t, clientEnv(nil, "/h", "/n", nil), "PATH="+defaultPath)
}
