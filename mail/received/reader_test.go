package received

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
)

type saCase struct {
	Header string
	Kind   string
	Expect struct{ IP, RDNS, Helo, By, Ident, Envfrom, ID, Auth string }
}

func saTable(t testing.TB) []saCase {
	t.Helper()
	raw, err := os.ReadFile("testdata/spamassassin-rcvd-table.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []saCase
	if err := json.Unmarshal(raw, &cases); err != nil {
		t.Fatal(err)
	}
	return cases
}

// saText formats a value as SpamAssassin does. SpamAssassin writes a bracketed
// HELO as !192.0.2.1! and never shows the mapped form of an address.
func saText(s string) string {
	if strings.HasPrefix(s, "!") && strings.HasSuffix(s, "!") && len(s) > 1 {
		return "[" + s[1:len(s)-1] + "]"
	}
	return strings.TrimPrefix(s, "::ffff:")
}

// TestSpamAssassinTable compares the parser with an independent table: at least
// 98 of 100 values of each field must match.
func TestSpamAssassinTable(t *testing.T) {
	right, all := map[string]int{}, map[string]int{}
	for _, c := range saTable(t) {
		if c.Kind != "parse" {
			continue
		}
		got := Parse([]byte(c.Header))
		r := got.JSON()
		for _, f := range []struct{ name, got, want string }{
			{"from_ip", saText(r.FromIP), c.Expect.IP},
			{"from_rdns", r.FromRDNS, c.Expect.RDNS},
			{"helo", got.Announced(), saText(c.Expect.Helo)},
			{"by", r.By, c.Expect.By},
			{"ident", r.Ident, c.Expect.Ident},
			{"envelope_from", r.EnvelopeFrom, c.Expect.Envfrom},
			{"id", r.ID, c.Expect.ID},
			{"auth", yes(r.Auth), yes(c.Expect.Auth)},
		} {
			all[f.name]++
			if f.got == f.want {
				right[f.name]++
			} else {
				t.Logf("%s: got %q, want %q\n\t%s", f.name, f.got, f.want, c.Header)
			}
		}
	}
	for f, n := range all {
		t.Logf("%-14s %d of %d", f, right[f], n)
		if right[f]*100 < n*98 {
			t.Errorf("%s: only %d of %d right", f, right[f], n)
		}
	}
}

func yes(s string) string {
	if s == "" {
		return ""
	}
	return "yes"
}

func BenchmarkParse(b *testing.B) {
	var values [][]byte
	size := 0
	for _, c := range saTable(b) {
		values = append(values, []byte(c.Header))
		size += len(c.Header)
	}
	b.SetBytes(int64(size / len(values)))
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		Parse(values[i%len(values)])
	}
}
