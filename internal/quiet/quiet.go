// Package quiet prevents repeated events from filling the log. Of the lines
// with the same key, one per minute is written, with the number of suppressed
// lines.
//
// The caller chooses the key and the content of the line. Start with
// Limiter.Line; Panic logs panics.
package quiet

import (
	"fmt"
	"hash/fnv"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"
)

const (
	interval = time.Minute
	maxKeys  = 1000
)

// Limiter limits lines by key and counts those it suppresses. The zero value is
// ready to use.
type Limiter struct {
	mu   sync.Mutex
	keys map[string]*entry
}

type entry struct {
	written    time.Time
	suppressed int
}

// Line returns line, with the number of suppressed lines added if there are
// any. If a line with the same key was written within the last minute, Line
// discards it and returns nil, which logs nothing.
func (l *Limiter) Line(key string, line *zerolog.Event) *zerolog.Event {
	suppressed, ok := l.allow(key, time.Now())
	if !ok {
		return line.Discard()
	}
	if suppressed > 0 {
		line.Int("suppressed", suppressed)
	}
	return line
}

// allow counts a line and reports whether it may be written.
func (l *Limiter) allow(key string, now time.Time) (suppressed int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.keys[key]
	if e == nil {
		if l.keys == nil {
			l.keys = map[string]*entry{}
		}
		if len(l.keys) >= maxKeys {
			l.sweep(now)
		}
		if len(l.keys) >= maxKeys {
			key = "" // too many to tell apart
		}
		if e = l.keys[key]; e == nil {
			e = &entry{}
			l.keys[key] = e
		}
	}
	if !e.written.IsZero() && now.Sub(e.written) < interval {
		e.suppressed++
		return 0, false
	}
	suppressed, e.written, e.suppressed = e.suppressed, now, 0
	return suppressed, true
}

// sweep removes the keys whose minute has passed.
func (l *Limiter) sweep(now time.Time) {
	for k, e := range l.keys {
		if now.Sub(e.written) >= interval {
			delete(l.keys, k)
		}
	}
}

// panics limits the log lines about panics in the whole process, because every
// listener may trigger the same bug.
var panics Limiter

// maxFrames limits the length of the stack in a line.
const maxFrames = 12

// Panic adds a recovered panic and its stack to line. One line per minute is
// written for each distinct stack. Panic must be called by the deferred
// function that recovered.
func Panic(line *zerolog.Event, value any) *zerolog.Event {
	key, stack := panicStack()
	return panics.Line(key, line).Interface("panic", value).Str("stack", stack)
}

// panicStack returns the calls that led to the panic, innermost first, and a key
// for them.
func panicStack() (key, text string) {
	var pcs [64]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs[:])])
	var all []runtime.Frame
	for {
		f, more := frames.Next()
		switch {
		case f.Function == "runtime.gopanic":
			all = all[:0] // the frames above it are deferred functions
		case strings.HasPrefix(f.Function, "runtime."):
		case f.Function != "":
			all = append(all, f)
		}
		if !more {
			break
		}
	}
	h, lines := fnv.New64a(), []string(nil)
	for i, f := range all {
		fmt.Fprint(h, f.Function, f.Line)
		if i < maxFrames {
			lines = append(lines, f.Function+" "+filepath.Base(f.File)+":"+strconv.Itoa(f.Line))
		}
	}
	return strconv.FormatUint(h.Sum64(), 16), strings.Join(lines, " < ")
}
