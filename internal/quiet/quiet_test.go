package quiet

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

func TestLimiter(t *testing.T) {
	var l Limiter
	now := time.Now()
	for i, tt := range []struct {
		key        string
		after      time.Duration
		suppressed int
		ok         bool
	}{
		{"a", 0, 0, true},
		{"a", time.Second, 0, false},
		{"b", time.Second, 0, true},
		{"a", 59 * time.Second, 0, false},
		{"a", 60 * time.Second, 2, true},
		{"a", 61 * time.Second, 0, false},
		{"a", time.Hour, 1, true},
	} {
		if n, ok := l.allow(tt.key, now.Add(tt.after)); n != tt.suppressed || ok != tt.ok {
			t.Errorf("%d: %d, %v", i, n, ok)
		}
	}
}

// Keys in excess of the limiter's capacity share one entry.
func TestLimiterIsBounded(t *testing.T) {
	var l Limiter
	now, written := time.Now(), 0
	for i := range 3 * maxKeys {
		if _, ok := l.allow(strconv.Itoa(i), now); ok {
			written++
		}
	}
	if len(l.keys) > maxKeys+1 || written > maxKeys+1 {
		t.Errorf("%d keys, %d lines", len(l.keys), written)
	}
	if _, ok := l.allow("new", now.Add(2*interval)); !ok || len(l.keys) != 1 {
		t.Errorf("old keys are kept: %d", len(l.keys))
	}
}

// Panics with the same stack cause one line per minute, regardless of their
// messages.
func TestPanic(t *testing.T) {
	var b strings.Builder
	log := zerolog.New(&b)
	for i := range 100 {
		first(&log, i)
	}
	if n := strings.Count(b.String(), "\n"); n != 1 {
		t.Errorf("%d lines", n)
	}
	second(&log)
	lines := strings.Split(strings.TrimSpace(b.String()), "\n")
	if len(lines) != 2 {
		t.Fatalf("another stack: %q", lines)
	}
	if !strings.Contains(lines[0], `"panic":0`) || !strings.Contains(lines[0], "quiet.first.func") && !strings.Contains(lines[0], "quiet.first ") || len(lines[0]) > 1000 {
		t.Errorf("line %s", lines[0])
	}
	if strings.Contains(lines[0], "panicStack") {
		t.Errorf("the stack begins in the handler: %s", lines[0])
	}
}

func first(log *zerolog.Logger, i int) {
	defer caught(log)
	panic(i)
}

func second(log *zerolog.Logger) {
	defer caught(log)
	var list []int
	list[len(list)]++ // out of range
}

func caught(log *zerolog.Logger) {
	if p := recover(); p != nil {
		Panic(log.Error(), p).Msg("panic")
	}
}
