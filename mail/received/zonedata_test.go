package received

import (
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
	_ "time/tzdata"
)

var readOn = regexp.MustCompile(`^20\d\d-\d\d-\d\d$`)

// TestZoneTable checks that each row of zones.txt has a source, a date, and the
// same offset as in the IANA database.
func TestZoneTable(t *testing.T) {
	table, err := rows(zonesText, 6)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, r := range table {
		kind, name, minutes, where, source, date := r[0], r[1], r[2], r[3], r[4], r[5]
		if seen[kind+name] {
			t.Errorf("%s occurs twice", name)
		}
		seen[kind+name] = true
		if name != strings.ToLower(name) || source == "" || !readOn.MatchString(date) {
			t.Errorf("row %q", r)
		}
		iana, summer := strings.CutSuffix(where, " summer")
		zone, err := time.LoadLocation(iana)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		offset := func(m time.Month) int {
			_, seconds := time.Date(2025, m, 15, 12, 0, 0, 0, zone).Zone()
			return seconds / 60
		}
		want := min(offset(time.January), offset(time.July))
		if summer {
			want = max(offset(time.January), offset(time.July))
		}
		if got, err := strconv.Atoi(minutes); err != nil || got != want {
			t.Errorf("%s: %s minutes, but %s is %d", name, minutes, where, want)
		}
	}
	if len(table) < 150 {
		t.Errorf("only %d rows", len(table))
	}
}

// TestNameTable checks that each row of names.txt has a source, a date, and
// names that cannot be mistaken for another month.
func TestNameTable(t *testing.T) {
	table, err := rows(namesText, 5)
	if err != nil {
		t.Fatal(err)
	}
	months := map[string]string{}
	for _, r := range table {
		if r[3] == "" || !readOn.MatchString(r[4]) || r[2] == "" {
			t.Errorf("row %q", r)
		}
		for name := range strings.FieldsSeq(r[2]) {
			if r[0] != "month" {
				continue
			}
			if other, ok := months[name]; ok && other != r[1] {
				t.Errorf("%s is month %s and %s", name, other, r[1])
			}
			months[name] = r[1]
			if english := monthOf((name + "  ")[:3]); english != 0 && strconv.Itoa(english) != r[1] {
				t.Errorf("%s looks like month %d", name, english)
			}
		}
	}
}

func TestTableMistakes(t *testing.T) {
	for text, want := range map[string]string{
		"standard | x | 60":                  "want 6 columns",
		"standard | x | sixty | Z | s | d":   "zone \"x\"",
		"other | x | 60 | Z | s | d":         "there is no kind \"other\"",
		"# comment\n\nwhole|x|60|Z|s|d\nbad": "want 6 columns",
	} {
		if _, err := parseZones(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	for text, want := range map[string]string{
		"month | 1 | x":           "want 5 columns",
		"month | one | x | s | d": "month \"x\"",
		"year | 1 | x | s | d":    "there is no kind \"year\"",
	} {
		if _, err := parseNames(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}
