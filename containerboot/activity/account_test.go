package activity

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// clock is a clock that a test moves.
type clock struct{ t time.Time }

func (c *clock) now() time.Time       { return c.t }
func (c *clock) pass(d time.Duration) { c.t = c.t.Add(d) }
func newClock() *clock                { return &clock{t: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)} }

func TestAccount(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		do   func(c *clock, a *Account)
		idle time.Duration
		kind string
	}{
		"nothing ever": {
			do:   func(c *clock, _ *Account) { c.pass(time.Minute) },
			idle: time.Minute,
		},
		"a document some time ago": {
			do: func(c *clock, a *Account) {
				c.pass(time.Hour)
				a.Touch(KindDocument)
				c.pass(5 * time.Second)
			},
			idle: 5 * time.Second, kind: KindDocument,
		},
		"the last one counts": {
			do: func(c *clock, a *Account) {
				a.Touch(KindDocument)
				c.pass(time.Second)
				a.Touch(KindSocket)
				c.pass(2 * time.Second)
			},
			idle: 2 * time.Second, kind: KindSocket,
		},
		"an asset is none": {
			do: func(c *clock, a *Account) {
				c.pass(time.Minute)
				f := a.begin(KindTransfer)
				c.pass(transferAfter / 2)
				a.end(f)
			},
			idle: time.Minute + transferAfter/2,
		},
		"a transfer counts while it moves": {
			do: func(c *clock, a *Account) {
				f := a.begin(KindTransfer)
				c.pass(4 * time.Minute)
				a.move(f)
				c.pass(4 * time.Minute)
			},
			idle: 0, kind: KindTransfer,
		},
		"a transfer counts up to its end": {
			do: func(c *clock, a *Account) {
				f := a.begin(KindTransfer)
				c.pass(time.Minute)
				a.end(f)
				c.pass(3 * time.Second)
			},
			idle: 3 * time.Second, kind: KindTransfer,
		},
		"a stalled transfer does not count": {
			do: func(c *clock, a *Account) {
				c.pass(time.Minute)
				a.begin(KindTransfer)
				c.pass(stalledAfter)
			},
			idle: time.Minute + stalledAfter,
		},
		"a stalled transfer that ends counted until it stalled": {
			do: func(c *clock, a *Account) {
				f := a.begin(KindTransfer)
				c.pass(time.Minute)
				a.move(f)
				c.pass(stalledAfter + time.Minute)
				a.end(f)
			},
			idle: stalledAfter + time.Minute, kind: KindTransfer,
		},
		"a write counts while an agent works on it": {
			do: func(c *clock, a *Account) {
				a.begin(KindWrite)
				c.pass(workedAfter - time.Second)
			},
			idle: 0, kind: KindWrite,
		},
		"a write that moves counts on": {
			do: func(c *clock, a *Account) {
				f := a.begin(KindWrite)
				c.pass(workedAfter - time.Second)
				a.move(f)
				c.pass(workedAfter - time.Second)
			},
			idle: 0, kind: KindWrite,
		},
		"a stalled write does not count for ever": {
			do: func(c *clock, a *Account) {
				a.begin(KindWrite)
				c.pass(workedAfter)
			},
			idle: workedAfter, kind: KindWrite,
		},
		"a stalled write that ends counted until it stalled": {
			do: func(c *clock, a *Account) {
				f := a.begin(KindWrite)
				c.pass(time.Minute)
				a.move(f)
				c.pass(workedAfter + time.Minute)
				a.end(f)
			},
			idle: workedAfter + time.Minute, kind: KindWrite,
		},
		"a write answered by a stream counts from its beginning": {
			do: func(c *clock, a *Account) {
				f := a.begin(KindWrite)
				c.pass(time.Minute)
				a.streams(f)
				for range 20 {
					c.pass(time.Minute)
					a.move(f)
				}
			},
			idle: 21 * time.Minute, kind: KindWrite,
		},
		"a short write counts": {
			do: func(c *clock, a *Account) {
				c.pass(time.Hour)
				a.end(a.begin(KindWrite))
				c.pass(time.Second)
			},
			idle: time.Second, kind: KindWrite,
		},
		"a clock that goes back": {
			do: func(c *clock, a *Account) {
				a.Touch(KindDocument)
				c.pass(-time.Hour)
			},
			idle: 0, kind: KindDocument,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newClock()
			a := New(c.now)
			tc.do(c, a)
			idle, kind := a.Idle()
			assert.Equal(t, tc.idle, idle)
			assert.Equal(t, tc.kind, kind)
		})
	}
}
