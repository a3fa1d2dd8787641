package logging

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
)

// record collects the writes it receives.
type record struct {
	mu     sync.Mutex
	writes []string
}

func (r *record) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.writes = append(r.writes, string(p))
	return len(p), nil
}

func (r *record) got() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.writes
}

func TestLinesAreBuffered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out record
		l := &lines{out: &out}
		log := zerolog.New(l)
		log.Info().Msg("one")
		log.Info().Msg("two")
		if len(out.got()) != 0 {
			t.Errorf("written at once: %q", out.got())
		}
		time.Sleep(linesWait)
		synctest.Wait()
		if len(out.got()) != 1 || strings.Count(out.got()[0], "\n") != 2 {
			t.Errorf("after a moment: %q", out.got())
		}
		log.Info().Msg("three")
		log.Error().Msg("four")
		if len(out.got()) != 2 || !strings.Contains(out.got()[1], "three") || !strings.Contains(out.got()[1], "four") {
			t.Errorf("with an error: %q", out.got())
		}
		log.Info().Msg("five")
		l.flush()
		if len(out.got()) != 3 {
			t.Errorf("after a flush: %q", out.got())
		}
		for range 3 * linesRoom / 100 {
			log.Info().Msg(strings.Repeat("x", 100))
		}
		if len(out.got()) < 6 {
			t.Errorf("%d writes: the buffer is not bounded", len(out.got()))
		}
		time.Sleep(linesWait)
	})
}

// No line is lost or split, and the lines of each goroutine stay in order.
func TestConcurrentLines(t *testing.T) {
	var out record
	l := &lines{out: &out}
	log := zerolog.New(l)
	var all sync.WaitGroup
	for who := range 8 {
		all.Go(func() {
			for i := range 2000 {
				log.Info().Int("who", who).Int("n", i).Msg(strings.Repeat("y", 60))
			}
		})
	}
	all.Wait()
	l.flush()
	next := map[int]int{}
	for line := range strings.Lines(strings.Join(out.writes, "")) {
		var who, n int
		if _, err := fmt.Sscanf(line, `{"level":"info","who":%d,"n":%d,`, &who, &n); err != nil || n != next[who] {
			t.Fatalf("%q after %d: %v", line, next[who], err)
		}
		next[who]++
	}
	for who := range 8 {
		if next[who] != 2000 {
			t.Errorf("%d: %d lines", who, next[who])
		}
	}
}
