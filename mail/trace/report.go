package trace

import (
	"math"
	"time"

	"hoplite/mail/received"
)

// report records the wrong clocks.
func (t timing) report(m *clockFit, wrong, certain map[int]bool, alternatives map[int]int64, times []int64) {
	for n := 1; n < len(m.names); n++ {
		alt, other := alternatives[n]
		if !wrong[n] && !other {
			continue
		}
		low, high := m.room(n, wrong, times)
		off := m.offset(n, times)
		if other {
			off, low, high = alt, min(alt, 0), max(alt, 0)
		}
		if low == math.MinInt64 {
			low = min(off, high) - queueLife.Milliseconds()
			if off > 0 {
				low = min(off, 0)
			}
		}
		if high == math.MaxInt64 {
			high = off + queueLife.Milliseconds()
		}
		least := min(abs(off), abs(low), abs(high))
		if other {
			least = abs(alt)
		}
		if !other && !certain[n] && len(alternatives) > 0 {
			low, high = min(low, 0), max(high, 0)
		}
		low, high = min(low, off), max(high, off)
		ms := time.Millisecond
		c := Clock{Host: m.names[n], Offset: time.Duration(off) * ms, Low: time.Duration(low) * ms, High: time.Duration(high) * ms, Certain: certain[n] && !other, least: time.Duration(least) * ms, alternative: other}
		c.Cause = m.cause(t.Trace, n, c)
		for _, mk := range m.marks {
			if mk.node == n && mk.step >= 0 {
				c.Hops = append(c.Hops, t.Steps[mk.step].Index)
			}
		}
		if !c.Certain {
			t.Ambiguous = true
		}
		t.Clocks = append(t.Clocks, c)
	}
}

// cause returns the likely cause of a clock's error.
func (m *clockFit) cause(t *Trace, n int, c Clock) ClockCause {
	if !c.Certain {
		return Unclear
	}
	sec := int64(c.Offset / time.Second)
	nearest := func(unit int64) bool {
		k := int64(math.Round(float64(sec) / float64(unit)))
		return k != 0 && abs(sec-k*unit) <= 30
	}
	for _, mk := range m.marks {
		if mk.node != n {
			continue
		}
		st := t.DateStamp
		if mk.step >= 0 {
			st = t.Steps[mk.step].Stamp
		}
		if st.Offset != 0 && (abs(sec+int64(st.Offset)) <= 30 || abs(sec-int64(st.Offset)) <= 30) && abs(sec) > 3630 {
			return ZoneSlip
		}
		if st.Zone == received.NoZone && nearest(3600) {
			return ZoneSlip
		}
	}
	switch {
	case nearest(3600):
		return WholeHour
	case nearest(1800) || nearest(2700):
		return HalfHour
	}
	return Drift
}

func abs[T int64 | time.Duration](v T) T {
	if v < 0 {
		return -v
	}
	return v
}
