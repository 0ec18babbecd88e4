package freeport

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestFind(t *testing.T) {
	seen := map[int]bool{}
	for range 20 {
		ports, err := Find(3)
		require.NoError(t, err)
		require.Len(t, ports, 3)
		for _, port := range ports {
			assert.False(t, seen[port], "given twice")
			seen[port] = true
			if end := firstEphemeral(); end-lowest >= enough {
				assert.GreaterOrEqual(t, port, lowest)
				assert.Less(t, port, end)
			}
		}
	}
}
