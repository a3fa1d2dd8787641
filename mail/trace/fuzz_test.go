package trace

import (
	"encoding/json"
	"os"
	"testing"
	"time"
)

// FuzzReceived: whatever a header holds, the reader returns, and every place
// that it names lies inside the text.
func FuzzReceived(f *testing.F) {
	for _, c := range saTable(f) {
		f.Add([]byte(c.Header))
	}
	f.Add([]byte("from ((((((((((a)))) by \"x;[<; Tue, 99 Foo 2026 25:61:61 +9999"))
	f.Fuzz(func(t *testing.T, value []byte) {
		h := Parse(value)
		for _, field := range Fields() {
			if s, ok := h.Span(field); ok && (s.Start < 0 || s.End > len(h.Raw)) {
				t.Fatalf("%s stands at %v of %d bytes", field, s, len(h.Raw))
			}
		}
		h.Received()
		h.Announced()
	})
}

// FuzzDate: a date that is read is one that Go can write.
func FuzzDate(f *testing.F) {
	for _, s := range []string{"Tue, 12 May 2026 08:30:06 +0000 (UTC)", "Tue May 12 08:30:02 2026", "2024-03-15 10:30:00.123456789 +0000 UTC m=+1.2",
		"12 May 26 8:30 EDT", "05/12/2026 08:30:00 AM", "Mon, 1 Jan 2020 00:00:00 GMT+0200"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		st, end, _, ok := readDate(s, 0)
		if end > len(s) {
			t.Fatalf("read %d of %d bytes", end, len(s))
		}
		if ok && st.Time().Unix() != st.Unix {
			t.Fatalf("%q: %v is not %d", s, st.Time(), st.Unix)
		}
	})
}

// FuzzChain: no header block upsets the weighing, and what it says is sane.
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
