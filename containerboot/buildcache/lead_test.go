package buildcache

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestOneLeads(t *testing.T) {
	t.Parallel()
	c := newCache(t)
	var leading, waited atomic.Int32
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() {
			l, err := c.Lead(t.Context(), "k", nil)
			if !assert.NoError(t, err) {
				return
			}
			assert.Equal(t, int32(1), leading.Add(1))
			if l.Waited {
				waited.Add(1)
			}
			if e, err := c.Get("k"); err == nil {
				e.Release()
			} else {
				put(t, c, "k", "x", PutOptions{})
			}
			leading.Add(-1)
			l.Done()
			l.Done()
		})
	}
	wg.Wait()
	l, err := c.Lead(t.Context(), "k", nil)
	require.NoError(t, err)
	assert.False(t, l.Waited)
	assert.False(t, l.Wanted())
	l.Done()
	left, err := os.ReadDir(filepath.Join(c.dir, leadsName))
	require.NoError(t, err)
	assert.Empty(t, left)
}

func TestWaitingForALead(t *testing.T) {
	t.Parallel()
	c := newCache(t)
	first, err := c.Lead(t.Context(), "k", nil)
	require.NoError(t, err)
	other, err := c.Lead(t.Context(), "another", nil)
	require.NoError(t, err)
	other.Done()
	assert.False(t, first.Wanted())

	ctx, cancel := context.WithCancelCause(t.Context())
	reason := errors.New("somebody gave up")
	gaveUp := make(chan error)
	waits := make(chan struct{})
	go func() {
		_, err := c.Lead(ctx, "k", func() { close(waits) })
		gaveUp <- err
	}()
	<-waits
	require.Eventually(t, first.Wanted, time.Minute, time.Millisecond)
	put(t, c, "b", "x", PutOptions{})
	require.NoError(t, c.Sweep())
	cancel(reason)
	require.ErrorIs(t, <-gaveUp, reason)
	require.Eventually(t, func() bool { return !first.Wanted() }, time.Minute, time.Millisecond)

	led := make(chan bool)
	go func() {
		l, err := c.Lead(t.Context(), "k", nil)
		if assert.NoError(t, err) {
			defer l.Done()
		}
		led <- err == nil && l.Waited
	}()
	require.Eventually(t, first.Wanted, time.Minute, time.Millisecond)
	first.Done()
	assert.True(t, <-led)
}

// TestLeadsOfTheDead sweeps what killed processes left.
func TestLeadsOfTheDead(t *testing.T) {
	t.Parallel()
	c := newCache(t)
	l, err := c.Lead(t.Context(), "held", nil)
	require.NoError(t, err)
	defer l.Done()
	dead := filepath.Join(c.dir, leadsName, "dead")
	require.NoError(t, os.WriteFile(dead, nil, 0o600))
	c.now = func() time.Time { return time.Now().Add(2 * leadsAge) }
	require.NoError(t, c.Sweep())
	assert.NoFileExists(t, dead)
	assert.FileExists(t, l.lock.Name())
}
