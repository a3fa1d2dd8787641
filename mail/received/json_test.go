package received

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestAppendJSON checks that the fast encoder agrees with encoding/json.
func TestAppendJSON(t *testing.T) {
	lines := []string{"from a\x00\x7f\"\\b (\xff\u202e [::ffff:192.0.2.1]) by ü with \"q\tx\" ; Tue, 1 Jan 1970 00:00:00 -0000"}
	for _, c := range saTable(t) {
		lines = append(lines, c.Header)
	}
	for _, l := range lines {
		h := Parse([]byte(l))
		var got, want JSON
		if err := json.Unmarshal(h.AppendJSON(nil), &got); err != nil {
			t.Fatalf("%v\n%s", err, h.AppendJSON(nil))
		}
		slow, err := json.Marshal(h.JSON())
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(slow, &want); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s\n%s", l, d)
		}
	}
}

func TestStampText(t *testing.T) {
	for _, at := range []time.Time{time.Unix(0, 0), time.Unix(951782400, 120_000_000), time.Unix(1709164800, 0), time.Date(2026, 12, 31, 23, 59, 59, 1, time.UTC)} {
		for _, off := range []int{0, 19800, -34200, 3600} {
			s := Stamp{Unix: at.Unix(), Nanos: int32(at.Nanosecond()), Offset: int32(off), Zone: NumericZone, OK: true}
			want := at.In(time.FixedZone("", off)).Format("2006-01-02T15:04:05.999999999-07:00")
			if got := s.RFC3339(); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		}
	}
}

// TestParseInto checks that a reused Line retains nothing from the previous
// line.
func TestParseInto(t *testing.T) {
	var reused Line
	for _, c := range saTable(t) {
		ParseInto(&reused, []byte(c.Header))
		fresh := Parse([]byte(c.Header))
		if got, want := string(reused.AppendJSON(nil)), string(fresh.AppendJSON(nil)); got != want {
			t.Errorf("got %s\nwant %s", got, want)
		}
		if len(reused.Comments) != len(fresh.Comments) {
			t.Errorf("%d comments, want %d: %s", len(reused.Comments), len(fresh.Comments), c.Header)
		}
	}
}
