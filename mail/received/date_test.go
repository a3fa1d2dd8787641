package received

import (
	"testing"
	"time"
)

// TestNumericDates checks the order of day and month in dates of numbers.
func TestNumericDates(t *testing.T) {
	for _, c := range []struct {
		text      string
		want      string
		ambiguous bool
	}{
		{"12.05.2026 10:30:05 +0200", "2026-05-12T10:30:05+02:00", false},
		{"1.5.2026 8:30 +0000", "2026-05-01T08:30:00Z", false},
		{"Di, 12.05.2026 10:30:05 +0200", "2026-05-12T10:30:05+02:00", false},
		{"05/12/2026 08:30:00 AM +0000", "2026-05-12T08:30:00Z", false},
		{"05/12/2026 08:30:00 PM", "2026-05-12T20:30:00Z", false},
		{"Tue, 12/05/2026 10:30:05 +0200", "2026-05-12T10:30:05+02:00", false},
		{"Tue, 05/12/2026 10:30:05 +0200", "2026-05-12T10:30:05+02:00", false},
		{"12/05/2026 10:30:05 +0200", "2026-12-05T10:30:05+02:00", true},
		{"12-05-2026 10:30:05", "2026-12-05T10:30:05Z", true},
		{"05/05/2026 10:30:05", "2026-05-05T10:30:05Z", false},
		{"20-4-2018 10:30:05", "2018-04-20T10:30:05Z", false},
		{"4-20-2018 10:30:05", "2018-04-20T10:30:05Z", false},
		{"31.2.2026 10:30:05", "", false},
		{"12.05/2026 10:30:05", "", false},
		{"10.1.2.3", "", false},
		{"10.1.23.4", "", false},
	} {
		st, defects, ok := ParseDate(c.text)
		got := ""
		if ok {
			got = st.Time().Format(time.RFC3339)
		}
		if got != c.want || (defects&AmbiguousDate != 0) != c.ambiguous {
			t.Errorf("%q: %s %v, want %s, ambiguous %v", c.text, got, defects.List(), c.want, c.ambiguous)
		}
	}
}

func TestDayAsMonth(t *testing.T) {
	st, _, _ := ParseDate("12/05/2026 00:30:05 +0200")
	if got := st.DayAsMonth().Time().Format(time.RFC3339); got != "2026-05-12T00:30:05+02:00" {
		t.Error(got)
	}
}
