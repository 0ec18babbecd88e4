package caddymodule

import (
	"slices"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// lastingLogger returns a logger for what outlives a configuration: it always writes
// to the default logger of the configuration that is running, whose predecessors' files
// may be closed.
func lastingLogger(name string) *zap.Logger {
	return zap.New(currentCore{}).Named(name)
}

// currentCore passes entries on to the core of caddy.Log() of the moment.
type currentCore struct {
	fields []zapcore.Field
}

// Enabled implements zapcore.LevelEnabler.
func (currentCore) Enabled(level zapcore.Level) bool { return caddy.Log().Core().Enabled(level) }

// With implements zapcore.Core.
func (c currentCore) With(fields []zapcore.Field) zapcore.Core {
	return currentCore{fields: append(slices.Clip(c.fields), fields...)}
}

// Check implements zapcore.Core.
func (c currentCore) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	core := caddy.Log().Core()
	if !core.Enabled(e.Level) {
		return ce
	}
	if len(c.fields) > 0 {
		core = core.With(c.fields)
	}
	return core.Check(e, ce)
}

// Write implements zapcore.Core. It is not reached: Check adds the current core, not this one.
func (c currentCore) Write(e zapcore.Entry, fields []zapcore.Field) error {
	return caddy.Log().Core().Write(e, append(slices.Clip(c.fields), fields...))
}

// Sync implements zapcore.Core.
func (currentCore) Sync() error { return caddy.Log().Core().Sync() }
