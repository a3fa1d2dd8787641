package trace

import (
	"encoding/json"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

type truth struct {
	File    string
	Note    string
	Trusted []string `json:"trusted_networks"`
	Hops    []struct {
		Hop            int
		By, Helo, IP   *string
		Recorded, True *string
		Forged         bool
	} `json:"hops_oldest_first"`
	Expect struct {
		Skewed []struct {
			Host      string
			OffsetS   float64 `json:"offset_s"`
			Tolerance float64 `json:"tolerance_s"`
		}
		WholeHour   bool     `json:"whole_hour"`
		TotalDelay  *float64 `json:"total_delay_s"`
		Forged      []int
		Slowest     int    `json:"slowest_hop"`
		Ambiguous   bool   `json:"ambiguous"`
		Boundary    int    `json:"trust_boundary_hop"`
		OriginIP    string `json:"origin_ip"`
		Suspect     []int  `json:"forged_suspect"`
		Loop        bool
		LoopHosts   []string `json:"loop_hosts"`
		FetchHop    int      `json:"fetch_hop"`
		OverLimit   bool     `json:"over_hop_limit"`
		Hops        *int
		Backwards   float64 `json:"backwards_s"`
		Difference  float64 `json:"offset_difference_at_least_s"`
		CannotSay   bool    `json:"cannot_say_which_clock"`
		SkewedGiven bool    `json:"-"`
	}
	Raw json.RawMessage `json:"-"`
}

func readTruths(t *testing.T, dir string) ([]truth, []map[string]json.RawMessage) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(dir, "truth.json"))
	if err != nil {
		t.Fatal(err)
	}
	var list []truth
	if err := json.Unmarshal(raw, &list); err != nil {
		t.Fatal(err)
	}
	var given []struct{ Expect map[string]json.RawMessage }
	if err := json.Unmarshal(raw, &given); err != nil {
		t.Fatal(err)
	}
	maps := make([]map[string]json.RawMessage, len(given))
	for i := range given {
		maps[i] = given[i].Expect
	}
	return list, maps
}

// TestTruths checks messages whose true times are known.
func TestTruths(t *testing.T) {
	for _, dir := range []string{"testdata/received/synthetic", "testdata/more"} {
		if _, err := os.Stat(filepath.Join(dir, "truth.json")); err != nil {
			continue
		}
		list, given := readTruths(t, dir)
		for i, want := range list {
			t.Run(strings.TrimSuffix(want.File, ".eml"), func(t *testing.T) { checkTruth(t, dir, want, given[i]) })
		}
	}
}

func checkTruth(t *testing.T, dir string, want truth, given map[string]json.RawMessage) {
	raw, err := os.ReadFile(filepath.Join(dir, want.File))
	if err != nil {
		t.Fatal(err)
	}
	var o Options
	for _, n := range want.Trusted {
		o.Trusted = append(o.Trusted, netip.MustParsePrefix(n))
	}
	tr := Read(raw, o)
	js, _ := json.MarshalIndent(tr.JSON(), "", " ")
	fail := func(format string, args ...any) {
		t.Helper()
		t.Errorf(format+"\n%s\n%s", append(args, want.Note, js)...)
	}
	for k, h := range want.Hops {
		if k >= len(tr.Steps) {
			fail("only %d hops", len(tr.Steps))
			break
		}
		s := &tr.Steps[k]
		if h.By != nil && s.By.Name != *h.By {
			t.Errorf("hop %d: by %q, want %q", h.Hop, s.By.Name, *h.By)
		}
		if h.IP != nil && s.From.Addr.String() != *h.IP {
			t.Errorf("hop %d: address %v, want %q", h.Hop, s.From.Addr, *h.IP)
		}
		if h.Recorded != nil {
			at, err := time.Parse(time.RFC3339, *h.Recorded)
			if err != nil || s.Stamp.Unix != at.Unix() {
				t.Errorf("hop %d: recorded %v, want %s", h.Hop, s.Stamp.Time(), *h.Recorded)
			}
		}
	}
	e := want.Expect
	if _, ok := given["skewed"]; ok {
		if len(tr.Clocks) != len(e.Skewed) {
			fail("%d clocks, want %d", len(tr.Clocks), len(e.Skewed))
		}
		for _, s := range e.Skewed {
			found := false
			for _, c := range tr.Clocks {
				if c.Host == s.Host && math.Abs(c.Offset.Seconds()-s.OffsetS) <= s.Tolerance {
					found = true
					if c.Low.Seconds() > s.OffsetS || c.High.Seconds() < s.OffsetS {
						fail("%s: the truth %v lies outside %v..%v", c.Host, s.OffsetS, c.Low, c.High)
					}
					if e.WholeHour && !strings.HasPrefix(string(c.Cause), "whole-hour") {
						fail("%s: cause %s", c.Host, c.Cause)
					}
				}
			}
			if !found {
				fail("clock %s %v not found", s.Host, s.OffsetS)
			}
		}
	}
	if e.TotalDelay != nil && math.Abs(tr.Total.Seconds()-*e.TotalDelay) > 1 {
		fail("total %v, want %v s", tr.Total, *e.TotalDelay)
	}
	suspects := map[int]bool{}
	for _, s := range tr.Steps {
		if s.Trust == Suspect {
			suspects[s.Index] = true
		}
	}
	if _, ok := given["forged"]; ok && len(suspects) != len(e.Forged) && e.Suspect == nil {
		fail("suspects %v, want %v", suspects, e.Forged)
	}
	for _, n := range e.Suspect {
		if !suspects[n] {
			fail("hop %d is not suspect", n)
		}
	}
	if e.Suspect != nil && len(suspects) != len(e.Suspect) {
		fail("suspects %v, want %v", suspects, e.Suspect)
	}
	if e.Slowest != 0 && tr.Slowest != e.Slowest {
		fail("slowest hop %d, want %d", tr.Slowest, e.Slowest)
	}
	if e.Ambiguous && !tr.Ambiguous {
		fail("not called ambiguous")
	}
	if e.Boundary != 0 && tr.Boundary != e.Boundary {
		fail("boundary %d, want %d", tr.Boundary, e.Boundary)
	}
	if e.OriginIP != "" && (tr.Origin == nil || tr.Origin.Addr.String() != e.OriginIP) {
		fail("origin %v, want %s", tr.Origin, e.OriginIP)
	}
	if e.Loop != (len(tr.Loops) > 0) && e.Loop {
		fail("no loop found")
	}
	if e.Loop && strings.Join(tr.Loops[0].Hosts, " ") != strings.Join(e.LoopHosts, " ") {
		fail("loop of %v, want %v", tr.Loops[0].Hosts, e.LoopHosts)
	}
	if e.FetchHop != 0 && tr.Steps[e.FetchHop-1].Kind != Fetch {
		fail("hop %d is %s", e.FetchHop, tr.Steps[e.FetchHop-1].Kind)
	}
	if e.OverLimit && !hasFinding(tr, "hop-limit") {
		fail("no hop-limit")
	}
	if e.Hops != nil && len(tr.Steps) != *e.Hops {
		fail("%d hops, want %d", len(tr.Steps), *e.Hops)
	}
	if e.Backwards != 0 && !backwards(tr, e.Backwards) {
		fail("nothing runs %v s backwards", e.Backwards)
	}
	if e.CannotSay && (!tr.Ambiguous || !hasFinding(tr, "clock-unclear")) {
		fail("it should not know which clock")
	}
	if e.Difference != 0 && (len(tr.Clocks) != 2 || math.Abs((tr.Clocks[0].Offset-tr.Clocks[1].Offset).Seconds()) < e.Difference) {
		fail("clocks differ by less than %v", e.Difference)
	}
}

func hasFinding(t *Trace, code string) bool {
	for _, f := range t.Findings {
		if f.Code == code {
			return true
		}
	}
	return false
}

func backwards(t *Trace, s float64) bool {
	for i := range t.Steps {
		if t.Steps[i].RawDelay.Seconds() == -s {
			return true
		}
	}
	return false
}

// TestGenuineChains checks that genuine mail is not reported as forged, and
// that a line announced with our own name is.
func TestGenuineChains(t *testing.T) {
	o := Options{Trusted: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}
	files, err := filepath.Glob("testdata/more/*.eml")
	if err != nil || len(files) < 5 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, f := range files {
		raw, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		tr := Read(raw, o)
		suspects := 0
		for i := range tr.Steps {
			if tr.Steps[i].Trust == Suspect {
				suspects++
			}
		}
		forged := strings.HasPrefix(filepath.Base(f), "forged")
		if forged != (suspects > 0) || len(tr.Clocks) > 0 || len(tr.Loops) > 0 {
			js, _ := json.MarshalIndent(tr.JSON(), "", " ")
			t.Errorf("%s: %s\n%s", f, tr.Verdict(), js)
		}
	}
}

// TestOwnNameAnnounced checks a HELO with our own name. It may come from one of
// our hosts behind NAT. Unless a reverse name contradicts it, there is only one
// sign, and the line is not suspect.
func TestOwnNameAnnounced(t *testing.T) {
	head := func(rdns string) []byte {
		return []byte("Received: from mx.example.org (" + rdns + "[198.51.100.7])\r\n\tby mx.example.org (Postfix) with ESMTP id 4ABC; Mon, 23 Nov 2026 04:00:02 +0000 (UTC)\r\n" +
			"Received: from a.example.com (a.example.com [203.0.113.1])\r\n\tby mx.example.org (Postfix) with ESMTP id 4DEF; Mon, 23 Nov 2026 04:00:01 +0000 (UTC)\r\n\r\n")
	}
	for rdns, want := range map[string]struct {
		trust Trust
		text  string
	}{
		"":                    {Claimed, "unless that address is ours, too"},
		"pool-7.example.net ": {Suspect, "unless that host is ours, too"},
	} {
		s := Read(head(rdns), Options{}).Steps[0]
		if s.Trust != want.trust || !strings.Contains(strings.Join(s.Reasons, "; "), want.text) {
			t.Errorf("%q: %s %q, want %s, %q", rdns, s.Trust, s.Reasons, want.trust, want.text)
		}
	}
}
