package trace

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// TestSimulatedChains generates chains with known times and clock errors, and
// checks that the errors are found.
func TestSimulatedChains(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, kind := range []struct {
		name  string
		wrong int
		off   func() int
		ours  bool
		good  float64 // fraction that must be right
	}{
		{"all right", 0, nil, true, 1},
		{"all right, none known", 0, nil, false, 1},
		{"one fast", 1, func() int { return 120 + rng.IntN(5000) }, true, 0.99},
		{"one slow", 1, func() int { return -120 - rng.IntN(5000) }, true, 0.99},
		{"one whole hours", 1, func() int { return 3600 * (1 + rng.IntN(8)) }, true, 0.99},
		{"one fast, none known", 1, func() int { return 120 + rng.IntN(5000) }, false, 0.9},
		{"two", 2, func() int { return (120 + rng.IntN(5000)) * (1 - 2*rng.IntN(2)) }, true, 0.8},
	} {
		t.Run(kind.name, func(t *testing.T) {
			const rounds = 300
			right := 0
			var example string
			for range rounds {
				hops := 4 + rng.IntN(4)
				offs := make([]int, hops)
				for n := range kind.wrong {
					for { // not ours, and with a visible error
						i := 1 + rng.IntN(hops-2)
						if offs[i] == 0 {
							offs[i] = kind.off()
							break
						}
						_ = n
					}
				}
				at := time.Date(2026, 5, 12, 8, 30, 0, 0, time.UTC)
				var lines []string
				trueTotal := time.Duration(0)
				for i := range hops {
					d := time.Duration(rng.IntN(8)) * time.Second
					if i > 0 {
						at = at.Add(d)
						trueTotal += d
					}
					zone := time.FixedZone("", 3600*(rng.IntN(24)-12))
					stamp := at.Add(time.Duration(offs[i]) * time.Second).In(zone)
					lines = append(lines, fmt.Sprintf("Received: from h%d.a%d.example (h%d.a%d.example [203.0.113.%d])\r\n\tby h%d.a%d.example (Postfix) with ESMTPS id 4F%04d\r\n\tfor <bob@x.example>; %s\r\n",
						i, i, i, i, i+1, i+1, i+1, i, stamp.Format("Mon, 2 Jan 2006 15:04:05 -0700")))
				}
				var b strings.Builder
				for i := hops - 1; i >= 0; i-- {
					b.WriteString(lines[i])
				}
				b.WriteString("Date: Tue, 12 May 2026 08:29:58 +0000\r\nFrom: a@x.example\r\nTo: b@x.example\r\n\r\n")
				var o Options
				if kind.ours {
					o.Ours = []string{fmt.Sprintf("h%d.a%d.example", hops, hops)}
				}
				tr := Read([]byte(b.String()), o)
				ok := tr.Total == trueTotal && len(tr.Clocks) == kind.wrong
				for i, off := range offs {
					if off == 0 {
						continue
					}
					found := false
					for _, c := range tr.Clocks {
						if c.Host == fmt.Sprintf("h%d.a%d.example", i+1, i+1) && c.Low.Seconds() <= float64(off)+.5 && c.High.Seconds() >= float64(off)-.5 {
							found = true
							if off%3600 == 0 && !strings.HasPrefix(string(c.Cause), "whole-hour") {
								found = false
							}
						}
					}
					ok = ok && found
				}
				for i := range tr.Steps {
					if tr.Steps[i].Trust == Suspect || i > 0 && tr.Steps[i].Time.Before(tr.Steps[i-1].Time) {
						ok = false
					}
				}
				if ok {
					right++
				} else if example == "" {
					example = fmt.Sprintf("%v\n%s\n%+v\ntotal %v, true %v", offs, b.String(), tr.Clocks, tr.Total, trueTotal)
				}
			}
			t.Logf("%d of %d right", right, rounds)
			if float64(right) < kind.good*rounds {
				t.Errorf("only %d of %d right, for example\n%s", right, rounds, example)
			}
		})
	}
}
