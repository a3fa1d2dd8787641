package trace

import (
	"fmt"
	"time"
)

// delays sets each step's delay and its bounds. A clock's error is known only
// to within the interval between its neighbours, unless the clock is ours or
// has been observed before.
func (t timing) delays(m *clockFit, wrong map[int]bool, times []int64) {
	var marks []int
	for i, mk := range m.marks {
		if mk.step >= 0 {
			marks = append(marks, i)
		}
	}
	confirming := m.trustedHosts(t.Trace, wrong)
	for k, i := range marks {
		s := &t.Steps[m.marks[i].step]
		if k == 0 {
			continue
		}
		p := marks[k-1]
		ms := time.Millisecond
		s.HasDelay = true
		s.Delay = time.Duration(times[i]-times[p]) * ms
		prev := &t.Steps[m.marks[p].step]
		s.RawDelay = time.Duration(s.Stamp.Unix-prev.Stamp.Unix)*time.Second + time.Duration(s.Stamp.Nanos-prev.Stamp.Nanos)
		s.Low, s.High = s.Delay, s.Delay
		if m.marks[i].node == m.marks[p].node && !wrong[m.marks[i].node] {
			continue // both lines were dated by the same clock
		}
		firm := func(j int) bool {
			node := m.marks[j].node
			return !wrong[node] && (m.class[node] >= weightKnown || confirming >= 2 && t.Steps[m.marks[j].step].trusted())
		}
		if !firm(p) {
			s.Low = 0
			if k >= 2 {
				s.High = max(s.High, time.Duration(times[i]-times[marks[k-2]])*ms)
			} else if p > 0 { // the Date field bounds the first hop
				s.High = max(s.High, time.Duration(times[i]-times[0])*ms)
			}
		}
		if !firm(i) {
			s.Low = 0
			if k+1 < len(marks) {
				s.High = max(s.High, time.Duration(times[marks[k+1]]-times[p])*ms)
			}
		}
	}
	if len(marks) > 1 || len(marks) == 1 && len(t.Steps) == 1 {
		t.HasTotal = true
		t.Total = time.Duration(times[marks[len(marks)-1]]-times[marks[0]]) * time.Millisecond
	}
	for i := range t.Steps {
		s := &t.Steps[i]
		if s.HasDelay && (t.Slowest == 0 || s.Delay > t.Steps[t.Slowest-1].Delay) {
			t.Slowest = s.Index
		}
		if s.HasDelay && s.Delay > time.Minute && s.Low < s.Delay/2 {
			t.Ambiguous = true // a single wrong clock could account for this wait in the next step
		}
	}
}

// BoundsMatter reports whether the delay may differ substantially from the
// estimate, that is, by a factor of two and if the delay is at least a minute.
func (s *Step) BoundsMatter() bool {
	return s.HasDelay && s.Delay >= time.Minute && (s.Low < s.Delay/2 || s.High > 2*s.Delay)
}

// trusted reports whether a trusted host wrote the line.
func (s *Step) trusted() bool { return s.Trust == Ours || s.Trust == Vouched || s.Trust == Boundary }

// trustedHosts counts the trusted hosts whose clocks are right. Two that agree
// confirm each other.
func (m *clockFit) trustedHosts(t *Trace, wrong map[int]bool) int {
	nodes := map[int]bool{}
	for _, mk := range m.marks {
		if mk.step >= 0 && t.Steps[mk.step].trusted() && !wrong[mk.node] {
			nodes[mk.node] = true
		}
	}
	return len(nodes)
}

// Words formats a duration for readers: 6 s, 1 min 39 s, 2 h 3 min, 3 days.
func Words(d time.Duration) string {
	sign := ""
	if d < 0 {
		sign, d = "-", -d
	}
	switch {
	case d < time.Second && d > 0:
		return fmt.Sprintf("%s%d ms", sign, d.Milliseconds())
	case d < 2*time.Minute:
		if f := d % time.Second; f >= 100*time.Millisecond && d < 10*time.Second {
			return fmt.Sprintf("%s%.1f s", sign, d.Seconds())
		}
		return fmt.Sprintf("%s%d s", sign, d/time.Second)
	case d < 2*time.Hour && d != time.Hour:
		return sign + two(d/time.Minute, "min", d%time.Minute/time.Second, "s")
	case d < 48*time.Hour:
		return sign + two(d/time.Hour, "h", d%time.Hour/time.Minute, "min")
	}
	return sign + two(d/(24*time.Hour), "days", d%(24*time.Hour)/time.Hour, "h")
}

func two(a time.Duration, unit string, b time.Duration, small string) string {
	if b == 0 {
		return fmt.Sprintf("%d %s", a, unit)
	}
	return fmt.Sprintf("%d %s %d %s", a, unit, b, small)
}
