package trace

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// TestHostileChainIsBounded checks that chains designed to be expensive are
// solved quickly and consistently.
func TestHostileChainIsBounded(t *testing.T) {
	for name, stamp := range map[string]func(i int) int{
		"to and fro": func(i int) int { return i%2*5000 + i },
		"in blocks":  func(i int) int { return i/10*1000 - i*50 },
		"random":     func(int) int { return rand.IntN(60 * 86400) },
		"backwards":  func(i int) int { return i * i * 10 },
	} {
		var b strings.Builder
		at := time.Date(2026, 5, 12, 8, 30, 0, 0, time.UTC)
		for i := range MaxHops + 5 {
			fmt.Fprintf(&b, "Received: from a ([192.0.2.1]) by h%d.example with ESMTP id x; %s\n",
				i, at.Add(time.Duration(stamp(i))*time.Second).Format(time.RFC1123Z))
		}
		start := time.Now()
		tr := Read([]byte(b.String()), Options{Ours: []string{"h1.example"}})
		// A fit of more than polynomial cost takes hours. A machine that is
		// busy with other tests may need seconds for this one.
		if took := time.Since(start); took > 30*time.Second {
			t.Errorf("%s: %v", name, took)
		}
		if len(tr.Steps) != MaxHops || tr.Dropped != 5 {
			t.Errorf("%s: %d lines, %d dropped", name, len(tr.Steps), tr.Dropped)
		}
		var before time.Time
		for i := range tr.Steps {
			if s := &tr.Steps[i]; s.Time.Before(before) {
				t.Errorf("%s: line %d runs backwards", name, s.Index)
				break
			} else {
				before = s.Time
			}
		}
	}
}

// TestFit solves small systems with known answers.
func TestFit(t *testing.T) {
	type demand struct {
		a, b int
		d    int64
	}
	for _, c := range []struct {
		name    string
		weights []int64 // of nodes 1, 2, ...
		demands []demand
		want    []int64
		ok      bool
	}{
		{"all agree", []int64{20, 20}, []demand{{1, 2, 5}}, []int64{0, 0, 0}, true},
		{"the lighter clock is wrong", []int64{50, 20}, []demand{{1, 2, -99}}, []int64{0, 0, -99}, true},
		{"the other one", []int64{20, 50}, []demand{{1, 2, -99}}, []int64{0, 99, 0}, true},
		{"two against one", []int64{20, 20, 20}, []demand{{1, 2, -60}, {2, 3, 70}}, []int64{0, 0, -60, 0}, false},
		{"contradiction", []int64{20, 20}, []demand{{1, 2, -10}, {2, 1, -10}}, nil, false},
	} {
		budget := int64(fitBudget)
		f := newFit(len(c.weights)+1, &budget)
		for i, w := range c.weights {
			f.up[i+1], f.down[i+1] = w, w
		}
		for _, d := range c.demands {
			f.demand(d.a, d.b, d.d)
		}
		ok := f.solve()
		if c.name == "contradiction" {
			if ok {
				t.Errorf("%s: solved", c.name)
			}
			continue
		}
		got, low, high := f.clocks()
		for i := range got {
			if low[i] > high[i] || got[i] < low[i] || got[i] > high[i] {
				t.Errorf("%s: clock %d is %d, not within %d..%d", c.name, i, got[i], low[i], high[i])
			}
			if c.ok && got[i] != c.want[i] {
				t.Errorf("%s: clocks %v, want %v", c.name, got, c.want)
				break
			}
		}
		for _, d := range c.demands {
			if got[d.b]-got[d.a] > d.d {
				t.Errorf("%s: %v breaks c%d - c%d <= %d", c.name, got, d.b, d.a, d.d)
			}
		}
	}
	spent := int64(3)
	f := newFit(3, &spent)
	f.up[1], f.down[1], f.up[2], f.down[2] = 1, 1, 1, 1
	f.demand(1, 2, -5)
	if f.solve() {
		t.Error("solved without a budget")
	}
}
