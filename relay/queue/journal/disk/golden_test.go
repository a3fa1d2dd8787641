package disk

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"hoplite/relay/queue/journal"
)

// testdata/first is a queue folder written by the first version. It contains
// every kind of record: put with and without a state, set, done, keep for
// messages inside the log and for messages in files, and batches of several
// records. It must never be regenerated.
func TestReadsTheFirstVersion(t *testing.T) {
	dir := copyTree(t, "testdata/first")
	large := strings.Repeat("a line of a large message\r\n", 30)
	want := []struct{ id, meta, state, text string }{
		{"done-f1", "m-report", "", "report\r\n"},
		{"eight", "m-eight", "", "8-bit: ö\r\n"},
		{"keep", "m-keep", "set after the move", "kept without a state\r\n"},
		{"keep-large", "m-keep-large", "", "kept " + large},
		{"keep-set", "m-keep-set", "second", "kept with a state\r\n"},
		{"large", "m-large", "", large},
		{"plain", "m-plain", "", "inside the log\r\n"},
		{"plain-set", "m-plain-set", "two", "with a later state\r\n"},
		{"plain-state", "m", "held", "with a state\r\n"},
	}
	// The second round reads the records added by the first.
	for round := range 2 {
		l := open(t, Options{Dir: dir, Inline: 512})
		var got, all []string
		if err := l.Load(func(e journal.Entry) error {
			got = append(got, fmt.Sprintf("%s %s %s", e.ID, e.Meta, e.State))
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		for _, w := range want {
			all = append(all, fmt.Sprintf("%s %s %s", w.id, w.meta, w.state))
			if got := text(t, l, w.id); got != w.text {
				t.Errorf("round %d: %s holds %q, want %q", round, w.id, got, w.text)
			}
			meta, state, err := l.Meta(w.id)
			if err != nil || string(meta) != w.meta || string(state) != w.state {
				t.Errorf("round %d: beside %s is %q and %q, %v", round, w.id, meta, state, err)
			}
		}
		if round == 1 {
			all = slices.Insert(all, 0, "added m-added ")
		}
		if !slices.Equal(got, all) {
			t.Errorf("round %d: got\n%q, want\n%q", round, got, all)
		}
		m, c, err := l.Message("eight")
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
		if !m.EightBit || m.LongLine != 1234 {
			t.Errorf("round %d: eight is %v %d", round, m.EightBit, m.LongLine)
		}
		if round == 0 {
			put(t, l, "added", "by this version\r\n")
		}
		l.Close()
	}
}
