package trace

import (
	"encoding/json"
	"os"
	"testing"
	"time"
)

// FuzzChain checks that every header block results in a consistent trace.
func FuzzChain(f *testing.F) {
	for _, file := range []string{"clean-4hops", "skew-two-hosts", "loop-two-hosts", "fetchmail-restart", "o365-chain", "odd-syntax"} {
		raw, err := os.ReadFile("testdata/received/synthetic/" + file + ".eml")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, head []byte) {
		tr := Read(head, Options{Ours: []string{"mx1.dest.example"}})
		var before time.Time
		for i := range tr.Steps {
			s := &tr.Steps[i]
			if s.HasDelay && (s.Delay < 0 || s.Low > s.Delay || s.High < s.Delay) {
				t.Fatalf("hop %d: delay %v within %v..%v", s.Index, s.Delay, s.Low, s.High)
			}
			if !s.Time.IsZero() && s.Time.Before(before) {
				t.Fatalf("hop %d: corrected time runs backwards", s.Index)
			} else if !s.Time.IsZero() {
				before = s.Time
			}
		}
		for _, c := range tr.Clocks {
			if c.Offset < c.Low || c.Offset > c.High {
				t.Fatalf("%s: %v not within %v..%v", c.Host, c.Offset, c.Low, c.High)
			}
		}
		if _, err := json.Marshal(tr.JSON()); err != nil {
			t.Fatal(err)
		}
	})
}
