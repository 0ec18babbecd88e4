package caddymodule

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestMeter(t *testing.T) {
	now := time.Unix(0, 0)
	var out bytes.Buffer
	m := newMeter(&out, "clients written", 4000, func() time.Time { return now })
	for i := range 4000 {
		now = now.Add(4 * time.Millisecond)
		m.at(i + 1)
	}
	m.end()
	m.at(4001)
	m.end()
	assert.Equal(t, []string{
		"500 of 4000 clients written (12 %), 250/s, 14s left",
		"1750 of 4000 clients written (43 %), 250/s, 9s left",
		"3000 of 4000 clients written (75 %), 250/s, 4s left",
		"4000 of 4000 clients written (100 %), 250/s, took 16s",
		"",
	}, strings.Split(out.String(), "\n"))

	out.Reset()
	m = newMeter(&out, "configurations read", 0, func() time.Time { return now })
	m.at(1000)
	now = now.Add(time.Hour)
	m.end()
	m = newMeter(&out, "configurations read", 0, func() time.Time { return now })
	now = now.Add(time.Hour)
	m.at(progressFrom - 1)
	m.end()
	assert.Empty(t, out.String(), "what is done soon, or little, shows nothing")

	m = newMeter(&out, "configurations read", 0, func() time.Time { return now })
	m.terminal = true
	now = now.Add(2 * time.Second)
	m.at(1000)
	m.note("something else")
	now = now.Add(progressOnTerminal)
	m.at(2000)
	m.end()
	assert.Equal(t, "\r\x1b[K1000 configurations read, 500/s\r\x1b[Ksomething else\n"+
		"\r\x1b[K2000 configurations read, 909/s\r\x1b[K2000 configurations read, 909/s\n", out.String())
}
