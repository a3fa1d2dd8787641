//go:build interop && linux

package trust

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hoplite/internal/resolve/resolvetest"
)

// difference is a line of testdata/differences.txt:
//
//	judge | mechanism | variant | ours | theirs | reason
//
// where * stands for every variant or result.
type difference struct {
	fields []string // all except the reason
	line   string
}

func differences(t *testing.T) []difference {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "differences.txt"))
	if err != nil {
		t.Fatal(err)
	}
	var list []difference
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		f := strings.Split(line, " | ")
		if len(f) != 6 || f[5] == "" {
			t.Fatalf("testdata/differences.txt: %s", line)
		}
		list = append(list, difference{f[:5], line})
	}
	return list
}

// explained returns the line that lists a difference, or "".
func explained(list []difference, key string) string {
	f := strings.Split(key, " | ")
	for _, d := range list {
		alike := true
		for i, want := range d.fields {
			alike = alike && (want == "*" || want == f[i])
		}
		if alike {
			return d.line
		}
	}
	return ""
}

// compared holds the results of comparing one judge in one run.
type compared struct {
	judge       string
	messages    int
	opinions    int
	differences map[string]int
	example     map[string]*Case
	took        time.Duration
}

// compare runs a judge on all cases, until the deadline.
func compare(t *testing.T, j judgeOf, cases []*Case, ours []Results, deadline time.Time) *compared {
	start := time.Now()
	r := &compared{judge: j.name, differences: map[string]int{}, example: map[string]*Case{}}
	for i, c := range cases {
		if time.Now().After(deadline) {
			break
		}
		theirs, err := j.judge(c, ours[i])
		if err != nil {
			t.Errorf("%s, message %s: %v", j.name, c.Name, err)
			break
		}
		r.messages++
		alike := true
		for _, m := range []struct{ name, variant, ours, theirs string }{
			{"spf", c.SPF, ours[i].SPF, theirs.SPF}, {"dkim", c.DKIM, ours[i].DKIM, theirs.DKIM},
			{"arc", c.ARC, ours[i].ARC, theirs.ARC}, {"dmarc", c.DMARC, ours[i].DMARC, theirs.DMARC},
		} {
			// DMARC depends on SPF and DKIM, so it is compared only if those
			// agree.
			if m.theirs == "" || m.name == "dmarc" && !alike {
				continue
			}
			r.opinions++
			if m.ours == m.theirs {
				continue
			}
			if m.name != "arc" {
				alike = false
			}
			key := strings.Join([]string{j.name, m.name, m.variant, m.ours, m.theirs}, " | ")
			r.differences[key]++
			if r.example[key] == nil {
				r.example[key] = c
			}
		}
	}
	r.took = time.Since(start)
	return r
}

// TestInteropDifferential generates $MESSAGES messages, or as many as the other
// programs can judge in 40 seconds, and compares the results. make differential
// generates 5,000.
func TestInteropDifferential(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to serve the zone on port 53")
	}
	n, deadline := 800, time.Now().Add(40*time.Second)
	if s := os.Getenv("MESSAGES"); s != "" {
		if _, err := fmt.Sscan(s, &n); err != nil {
			t.Fatal(err)
		}
		deadline = time.Now().Add(time.Hour)
	}
	g, err := NewGenerator(5)
	if err != nil {
		t.Fatal(err)
	}
	cases, ours := make([]*Case, n), make([]Results, n)
	var zoneText strings.Builder
	for i := range cases {
		cases[i] = g.Generate()
		zoneText.WriteString(strings.Join(cases[i].Zone, "\n") + "\n")
	}
	zone, err := resolvetest.ParseZone(zoneText.String())
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range cases {
		if ours[i], err = judge(context.Background(), c, zone); err != nil {
			t.Fatal(err)
		}
	}
	serve(t, zone.Answer)
	known := differences(t)
	for name, open := range map[string]func(*testing.T) judgeOf{"opendkim": opendkim, "opendmarc": opendmarc, "rspamd": rspamd, "python": python} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := compare(t, open(t), cases, ours, deadline)
			total, lines := 0, map[string]bool{}
			for key, count := range r.differences {
				total += count
				line := explained(known, key)
				lines[line] = true
				if line == "" && strings.HasSuffix(key, " | temperror") && count < 10 {
					continue // other programs' look-ups can time out on a busy machine
				}
				if line == "" {
					t.Errorf("%s: %d times, for example message %s, not in testdata/differences.txt\n%s\n\n%s", key, count,
						r.example[key].Name, strings.Join(r.example[key].Zone, "\n"), r.example[key].Text)
				}
			}
			for _, d := range known {
				if n >= 5000 && d.fields[0] == r.judge && !lines[d.line] {
					t.Errorf("this difference did not occur: %s", d.line)
				}
			}
			t.Logf("%d messages, %d results, %d of them differ in %d ways, %.0f s", r.messages, r.opinions, total, len(r.differences), r.took.Seconds())
		})
	}
}
