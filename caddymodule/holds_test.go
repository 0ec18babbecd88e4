package caddymodule

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestHoldsAreBoundedPerSessionAndInAll(t *testing.T) {
	h := newHolds()
	assert.True(t, h.take("a", 2, 3))
	assert.True(t, h.take("a", 2, 3))
	assert.False(t, h.take("a", 2, 3), "a third of one session")
	assert.True(t, h.take("b", 2, 3))
	assert.False(t, h.take("c", 2, 3), "a fourth in all")
	h.give("a")
	assert.True(t, h.take("c", 2, 3))
	h.give("a")
	h.give("b")
	h.give("c")
	assert.Empty(t, h.bySes, "nothing is kept of sessions that nobody waits for")
	assert.Zero(t, h.total)
}
