package sessions

import (
	"net/url"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestPoolKeysAreHostsAndDiffer(t *testing.T) {
	id := NewID()
	assert.True(t, IsUnguessable(id))
	seen := make(map[string]bool)
	for _, key := range []string{
		poolKey(id, 1), poolKey(id, 2), poolKey(NewID(), 1),
		poolKey("acme#jo#spring menu", 1), poolKey("acme#jo#spring/menu", 1), poolKey("ACME#jo#spring menu", 1),
	} {
		u, err := url.Parse("http://" + key)
		require.NoError(t, err)
		assert.Equal(t, key, u.Hostname())
		assert.False(t, seen[key], key)
		seen[key] = true
	}
}
