package acme

import (
	"github.com/rs/zerolog"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"hoplite/mail/safe"
)

// bridge returns a logger for certmagic that writes to log. Most of certmagic's
// messages at level info are useful only to developers; those about new
// certificates are the exception.
func bridge(log zerolog.Logger) *zap.Logger { return zap.New(&core{log: log}) }

// core is a zapcore.Core that writes to a zerolog.Logger.
type core struct {
	log    zerolog.Logger
	fields []zapcore.Field
}

// Enabled implements zapcore.LevelEnabler.
func (c *core) Enabled(l zapcore.Level) bool {
	return l >= zapcore.InfoLevel || c.log.GetLevel() <= zerolog.DebugLevel
}

// With implements zapcore.Core.
func (c *core) With(fields []zapcore.Field) zapcore.Core {
	return &core{c.log, append(append([]zapcore.Field(nil), c.fields...), fields...)}
}

// Check implements zapcore.Core.
func (c *core) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(e.Level) {
		return ce.AddCore(e, c)
	}
	return ce
}

// Write implements zapcore.Core.
func (c *core) Write(e zapcore.Entry, fields []zapcore.Field) error {
	values := zapcore.NewMapObjectEncoder()
	for _, list := range [][]zapcore.Field{c.fields, fields} {
		for _, f := range list {
			f.AddTo(values)
		}
	}
	l := level(e.Level)
	if e.Message == "certificate obtained successfully" {
		l = zerolog.InfoLevel
	}
	line := c.log.WithLevel(l).Str("by", "acme")
	for _, key := range []string{"identifier", "challenge_type", "error", "attempt", "retrying_in"} {
		switch v := values.Fields[key].(type) {
		case nil:
		case string:
			line = line.Str(key, safe.Log(v))
		default:
			line = line.Interface(key, v)
		}
	}
	line.Msg(safe.Log(e.Message))
	return nil
}

// Sync implements zapcore.Core.
func (c *core) Sync() error { return nil }

// level translates a level. Info becomes debug.
func level(l zapcore.Level) zerolog.Level {
	switch {
	case l <= zapcore.InfoLevel:
		return zerolog.DebugLevel
	case l == zapcore.WarnLevel:
		return zerolog.WarnLevel
	}
	return zerolog.ErrorLevel
}
