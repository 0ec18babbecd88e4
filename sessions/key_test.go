package sessions_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/webordinary/router/configstore"
	"github.com/webordinary/router/containerboot/bootapi"
	"github.com/webordinary/router/sessions"
)

// keys stands for what resolves references.
type keys struct {
	mu    sync.Mutex
	err   error
	asked []string
}

const resolvedKey = "-----BEGIN RESOLVED KEY-----"

func (k *keys) resolve(ctx context.Context, clientID string, r configstore.Repository) (string, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.asked = append(k.asked, clientID+" "+string(r.DeployKey))
	if _, ok := ctx.Deadline(); !ok {
		return "", errors.New("nothing bounds the call")
	}
	return resolvedKey, k.err
}

func (k *keys) fail(err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.err = err
}

func TestKeyReferenceIsResolvedAtAWake(t *testing.T) {
	b, k := newBench(t), new(keys)
	b.put("amelia", 1, func(c *configstore.Client) { c.Repository.DeployKey = "env:KEY" })
	s, _ := b.edge(func(o *sessions.Options) { o.DeployKey = k.resolve })
	id := b.sleeping(s, "amelia")
	_, err := s.Lookup(t.Context(), id)
	require.NoError(t, err)
	assert.Empty(t, k.asked, "for a wake alone")

	b.awake(s, id)
	assert.Equal(t, []string{"amelia env:KEY"}, k.asked)
	assert.Equal(t, resolvedKey, string(b.only().claimed().Site.DeployKey))
	require.NoError(t, s.Sleep(t.Context(), id, "test"))
	b.awake(s, id)
	assert.Len(t, k.asked, 2, "anew, as it may have been changed")

	// A key that is no reference is nobody's business.
	b.awake(s, b.sleeping(s, "bramble"))
	assert.Len(t, k.asked, 2)
	record, err := json.Marshal(b.record(id))
	require.NoError(t, err)
	assert.NotContains(t, string(record), "RESOLVED")
	for _, entry := range b.logs.All() {
		assert.NotContains(t, fmt.Sprintf("%+v", entry), "RESOLVED")
	}
	claim := *b.machine.all()[0].claimed()
	assert.NotContains(t, fmt.Sprintf("%v %+v %#v", claim, claim, claim), "RESOLVED")
}

func TestKeyThatCannotBeRead(t *testing.T) {
	for name, tc := range map[string]struct {
		err       error
		retryable bool
	}{
		"not allowed": {errors.New("deploy key env:KEY: not allowed"), false},
		"unavailable": {fmt.Errorf("deploy key env:KEY: %w", configstore.ErrUnavailable), true},
	} {
		t.Run(name, func(t *testing.T) {
			b, k := newBench(t), new(keys)
			k.fail(tc.err)
			b.put("amelia", 1, func(c *configstore.Client) { c.Repository.DeployKey = "env:KEY" })
			s, _ := b.edge(func(o *sessions.Options) { o.DeployKey = k.resolve })
			id := b.sleeping(s, "amelia")
			_, err := s.Wake(t.Context(), id)
			require.NoError(t, err)
			v := b.wait(s, id)
			require.Equal(t, sessions.StatusFailed, v.Record.Status)
			assert.Equal(t, bootapi.Failure{
				Phase: bootapi.PhaseStarting, Cause: "The client's deploy key cannot be read.",
				Detail: tc.err.Error(), Retryable: tc.retryable,
			}, v.Record.Failure.Failure)
			assert.Empty(t, b.machine.started(), "no container for nothing")
			b.eventually(func() bool { return !b.record(id).HoldsSlot() }, "the slot is freed")
			failed := b.logs.FilterMessage("session failed").All()
			require.Len(t, failed, 1)
			assert.Equal(t, tc.err.Error(), failed[0].ContextMap()["detail"])

			k.fail(nil)
			_, err = s.WakeNow(t.Context(), id)
			require.NoError(t, err)
			b.active(s, id)
			assert.Equal(t, resolvedKey, string(b.only().claimed().Site.DeployKey))
		})
	}
}
