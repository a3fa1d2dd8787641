package trust

import (
	"bufio"
	"context"
	"os"
	"slices"
	"strings"
	"testing"

	"hoplite/internal/resolve/resolvetest"
)

// results reads testdata/results.txt: mechanism, variant and result, separated by
// " | ". Mechanisms that depend on others, such as DMARC, have several results.
func results(t *testing.T) map[string][]string {
	t.Helper()
	f, err := os.Open("testdata/results.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	known := map[string][]string{}
	for in := bufio.NewScanner(f); in.Scan(); {
		if line := in.Text(); line != "" && line[0] != '#' {
			fields := strings.Split(line, " | ")
			if len(fields) != 3 {
				t.Fatalf("testdata/results.txt: %q", line)
			}
			known[fields[0]+" | "+fields[1]] = strings.Split(fields[2], " ")
		}
	}
	return known
}

// Each variant has the result required by its RFC, regardless of the variants
// it is combined with.
func TestResults(t *testing.T) {
	g, err := NewGenerator(1)
	if err != nil {
		t.Fatal(err)
	}
	known, seen := results(t), map[string]bool{}
	for range 1500 {
		c := g.Generate()
		zone, err := resolvetest.ParseZone(strings.Join(c.Zone, "\n"))
		if err != nil {
			t.Fatal(err)
		}
		r, err := judge(context.Background(), c, zone)
		if err != nil {
			t.Fatalf("%s: %v\n%s", c.Name, err, c.Text)
		}
		for _, m := range []struct{ name, variant, result string }{
			{"spf", c.SPF, r.SPF}, {"dkim", c.DKIM, r.DKIM}, {"arc", c.ARC, r.ARC}, {"dmarc", c.DMARC, r.DMARC},
		} {
			line := m.name + " | " + m.variant
			if !slices.Contains(known[line], m.result) && !seen[line+m.result] {
				t.Errorf("%s | %s is not in testdata/results.txt; case %s:\n%s\n%s", line, m.result, c.Name, strings.Join(c.Zone, "\n"), c.Text)
			}
			seen[line], seen[line+m.result] = true, true
		}
	}
	for line := range known {
		if !seen[line] {
			t.Errorf("%s was never generated", line)
		}
	}
}
