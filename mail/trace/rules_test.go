package trace

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// ruleCase is one case in testdata/rules: options, expected results, and a
// header.
type ruleCase struct {
	name string
	keys map[string]string
	head string
}

// standardFields is added to a header that has no From field.
const standardFields = "From: ann@a.example\nTo: bob@b.example\nDate: Tue, 12 May 2026 08:30:00 +0000\nMessage-ID: <1@a.example>\n"

// readRules reads a file of cases. A case starts with "=== name" and lines of
// the form "key: value"; its header follows a line "--".
func readRules(t *testing.T, file string) []ruleCase {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var cases []ruleCase
	for _, block := range strings.Split("\n"+string(raw), "\n=== ")[1:] {
		top, head, ok := strings.Cut(block, "\n--\n")
		name, keys, _ := strings.Cut(top, "\n")
		if !ok {
			t.Fatalf("%s: %s has no header", file, name)
		}
		c := ruleCase{name: name, keys: map[string]string{}, head: strings.TrimRight(head, "\n") + "\n"}
		for line := range strings.Lines(keys) {
			key, value, ok := strings.Cut(strings.TrimSpace(line), ":")
			if !ok {
				t.Fatalf("%s: %s: %q is not a key", file, name, line)
			}
			c.keys[key] = strings.TrimSpace(value)
		}
		if !strings.Contains("\n"+c.head, "\nFrom:") && c.keys["bare"] == "" {
			c.head += standardFields
		}
		cases = append(cases, c)
	}
	return cases
}

// options returns the options named in a case.
func (c *ruleCase) options(t *testing.T) Options {
	t.Helper()
	o := Options{Ours: strings.Fields(c.keys["ours"]), Mailbox: c.keys["mailbox"], Excerpt: c.keys["excerpt"] != ""}
	for n := range strings.FieldsSeq(c.keys["trusted"]) {
		o.Trusted = append(o.Trusted, netip.MustParsePrefix(n))
	}
	if host, fast, ok := strings.Cut(c.keys["known"], "="); ok {
		d, err := time.ParseDuration(fast)
		if err != nil {
			t.Fatal(err)
		}
		o.Known = func(h string) (time.Duration, bool) { return d, h == host }
	}
	if kind, lines, ok := strings.Cut(c.keys["seal"], " "); ok {
		o.Seals = []Seal{{Kind: kind, Domain: "seal.example", Lines: len(lines)}}
	}
	return o
}

// result returns a trace's value for a key of a case.
func result(tr *Trace, key string) string {
	var list []string
	switch key {
	case "findings": // severity code@hop
		for _, f := range tr.Findings {
			s := f.Severity + " " + f.Code
			if f.Hop > 0 {
				s += fmt.Sprintf("@%d", f.Hop)
			}
			list = append(list, s)
		}
		slices.Sort(list)
		return strings.Join(list, ", ")
	case "trust":
		for i := range tr.Steps {
			list = append(list, string(tr.Steps[i].Trust))
		}
	case "kinds":
		for i := range tr.Steps {
			list = append(list, string(tr.Steps[i].Kind))
		}
	case "delays":
		for i := range tr.Steps {
			if s := &tr.Steps[i]; s.HasDelay {
				list = append(list, s.Delay.String())
			} else {
				list = append(list, "-")
			}
		}
	case "clocks": // host offset cause
		for _, c := range tr.Clocks {
			list = append(list, fmt.Sprintf("%s=%s/%s", strings.ReplaceAll(c.Host, " ", ""), c.Offset, c.Cause))
		}
	case "loops": // host,host*times
		for _, l := range tr.Loops {
			list = append(list, fmt.Sprintf("%s*%d", strings.Join(l.Hosts, ","), l.Times))
		}
	case "total":
		if tr.HasTotal {
			return tr.Total.String()
		}
	case "origin": // address, or else name; user
		if o := tr.Origin; o != nil {
			who := o.Addr.String()
			if !o.Addr.IsValid() {
				who = o.Name
			}
			return strings.TrimSpace(fmt.Sprintf("%s by %s %s", who, o.VouchedBy, o.Auth))
		}
	case "hint":
		if h := tr.OursHint; h != nil {
			return fmt.Sprintf("%s %s@%d", h.Names, h.Addr, h.Hop)
		}
	case "verdict":
		return tr.Verdict()
	}
	return strings.Join(list, " ")
}

// TestRules checks the cases in testdata/rules: for each rule, one case in
// which it applies and one in which it must not.
func TestRules(t *testing.T) {
	files, err := filepath.Glob("testdata/rules/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal(err)
	}
	options := []string{"ours", "trusted", "mailbox", "known", "seal", "bare", "excerpt", "text", "reason"}
	for _, file := range files {
		for _, c := range readRules(t, file) {
			t.Run(filepath.Base(file)+"/"+c.name, func(t *testing.T) {
				tr := Read([]byte(c.head), c.options(t))
				var texts []string
				for _, f := range tr.Findings {
					texts = append(texts, f.Text+" → "+f.Advice)
				}
				for i := range tr.Steps {
					texts = append(texts, tr.Steps[i].Reasons...)
				}
				judged := false
				for key, want := range c.keys {
					if slices.Contains(options, key) {
						continue
					}
					judged = true
					if key == "findings" {
						parts := strings.Split(want, ", ")
						slices.Sort(parts)
						want = strings.Join(parts, ", ")
					}
					if got := result(tr, key); got != want {
						t.Errorf("%s: %s\nwant: %s", key, got, want)
					}
				}
				for _, key := range []string{"text", "reason"} {
					if w := c.keys[key]; w != "" && !strings.Contains(strings.Join(texts, "\n"), w) {
						t.Errorf("%q is missing in\n%s", w, strings.Join(texts, "\n"))
					}
				}
				if !judged {
					t.Error("nothing is expected")
				}
			})
		}
	}
}

func TestBySeverity(t *testing.T) {
	tr := &Trace{Findings: []Finding{{Code: "a", Severity: Note}, {Code: "b", Severity: Warning}, {Code: "c", Severity: Problem}, {Code: "d", Severity: Warning}}}
	var got []string
	for _, f := range tr.BySeverity() {
		got = append(got, f.Code)
	}
	if strings.Join(got, " ") != "c b d a" || tr.Findings[0].Code != "a" {
		t.Errorf("got %q", got)
	}
}
