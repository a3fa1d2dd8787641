package trace

import (
	"math"
	"time"
)

// DateHost stands for the clock that wrote the Date field.
const DateHost = "(Date header)"

// Clock is the error of one host's clock.
type Clock struct {
	Host string
	// Offset is the estimated error, between Low and High. It is positive
	// if the clock is fast.
	Offset, Low, High time.Duration
	Cause             ClockCause
	// Certain is false if another explanation of the stamps is about as
	// likely.
	Certain bool
	Hops    []int // the lines it dated; empty for the Date field

	least       time.Duration // the bound of the error closest to zero, without its sign
	alternative bool          // wrong only if the other uncertain clocks are right
}

// ClockCause is the likely cause of a clock's error.
type ClockCause string

// The causes of clock errors.
const (
	WholeHour ClockCause = "whole-hour"      // a wrong time zone or daylight saving setting
	ZoneSlip  ClockCause = "whole-hour-zone" // local time written as UTC, or vice versa
	HalfHour  ClockCause = "half-hour"       // a zone with an offset of a half or three quarters of an hour
	Learned   ClockCause = "learned"         // known from previous messages
	Drift     ClockCause = "drift"           // anything else
	Unclear   ClockCause = "unknown"         // it is not clear which clock is wrong
)

// tolerance is the error above which a clock is reported. queueLife is the
// maximum time in a queue (RFC 5321, 4.5.4.1: queues give up after four to five
// days).
const (
	tolerance = 10 * time.Second
	queueLife = 5 * 24 * time.Hour
)

// The weights of clocks. Our own has the highest weight, but three others that
// agree can outvote it.
const (
	weightOurs    = 50
	weightKnown   = 40
	weightOther   = 20
	weightClaimed = 18
	weightDate    = 12
	weightWait    = 6 // per second of total delay: prefer the explanation with less delay
)

// timing identifies the wrong clocks of a chain and corrects its times and
// delays.
type timing struct{ *Trace }

// fitClocks finds the wrong clocks and sets each step's corrected time and its
// delay with bounds.
func (t timing) fitClocks(o *Options) {
	m := t.marks(o)
	if len(m.marks) == 0 {
		return
	}
	c, wrong, ok := m.findWrong()
	if ok && m.split(c, wrong) {
		c, wrong, ok = m.findWrong()
	}
	certain := map[int]bool{}
	alternatives := map[int]int64{}
	times := m.times(c, wrong)
	if ok {
		m.weighAlternatives(t.Trace, wrong, certain, alternatives, c, times)
	}
	for i, mk := range m.marks {
		if mk.step >= 0 {
			t.Steps[mk.step].Time = time.UnixMilli(times[i]).UTC()
		}
	}
	t.report(m, wrong, certain, alternatives, times)
	t.delays(m, wrong, times)
}

// findWrong fits the clocks and returns those whose error exceeds the precision
// of their stamps.
func (m *clockFit) findWrong() (c []int64, wrong map[int]bool, ok bool) {
	c, low, high, _, ok := m.solve(-1, false)
	if !ok {
		c = make([]int64, len(m.names))
		low, high = c, c
	}
	wrong = map[int]bool{}
	for n := 1; n < len(m.names); n++ {
		if coarse := m.coarse(n); far(c[n], coarse) && (far(low[n], coarse) || far(high[n], coarse)) {
			wrong[n] = true
		}
	}
	return c, wrong, ok
}

// split gives each line of a wrong host its own clock if no single error fits
// all of them: in that case the line is wrong, not the host's clock.
func (m *clockFit) split(c []int64, wrong map[int]bool) bool {
	times := make([]int64, len(m.marks))
	for i, mk := range m.marks {
		times[i] = mk.at - c[mk.node]
	}
	changed := false
	for n := range wrong {
		low, high := m.room(n, wrong, times)
		if low == math.MinInt64 || high == math.MaxInt64 || low <= high+tolerance.Milliseconds() {
			continue
		}
		first := true
		for i := range m.marks {
			if m.marks[i].node != n {
				continue
			}
			if !first {
				m.marks[i].node = len(m.names)
				m.names = append(m.names, m.names[n])
				m.class = append(m.class, m.class[n])
				changed = true
			}
			first = false
		}
	}
	return changed
}

func far(ms, coarse int64) bool {
	limit := max(tolerance.Milliseconds(), 2*coarse)
	return ms >= limit || ms <= -limit
}

// solve fits the clocks. If pinned is not negative, that clock's error is fixed
// at zero. withoutDate ignores the Date field.
func (m *clockFit) solve(pinned int, withoutDate bool) (c, low, high []int64, cost int64, ok bool) {
	f := newFit(len(m.names), &m.budget)
	for n := 1; n < len(m.names); n++ {
		f.up[n], f.down[n] = m.class[n], m.class[n]
		if n == pinned {
			f.up[n], f.down[n] = 1<<40, 1<<40
		}
	}
	first, last := -1, -1
	for i := range m.marks {
		mk := &m.marks[i]
		if mk.step < 0 && withoutDate && mk.node != 0 && m.names[mk.node] == DateHost {
			continue
		}
		if last >= 0 {
			f.demand(m.marks[last].node, mk.node, mk.at-m.marks[last].at)
		}
		if mk.step >= 0 && first < 0 {
			first = i
		}
		last = i
	}
	var wait int64
	if first >= 0 && last > first && m.marks[first].node != m.marks[last].node {
		// The total delay is t_last - t_first = (r_last - c_last) -
		// (r_first - c_first).
		a, b := m.marks[first].node, m.marks[last].node
		f.up[b] -= weightWait
		f.down[b] += weightWait
		f.up[a] += weightWait
		f.down[a] -= weightWait
		wait = weightWait * (m.marks[last].at - m.marks[first].at)
	}
	ok = f.solve()
	c, low, high = f.clocks()
	return c, low, high, f.cost + wait, ok
}

// weighAlternatives assumes in turn that each wrong clock is right. If that
// explains the stamps nearly as well, or if too few independent clocks agree
// that it is wrong, the result is uncertain, and the clocks that would be wrong
// instead are reported as well. For the servers' clocks, the Date field is
// ignored, because the client wrote it.
func (m *clockFit) weighAlternatives(t *Trace, wrong, certain map[int]bool, alternatives map[int]int64, c, times []int64) {
	_, _, _, base, ok := m.solve(-1, true)
	tried := 0
	for n := 1; n < len(m.names); n++ {
		if !wrong[n] {
			continue
		}
		if tried++; tried > 6 {
			break
		}
		date := m.names[n] == DateHost
		other, _, _, cost, ok2 := m.solve(n, !date)
		if !ok || !ok2 {
			continue
		}
		costly := date || 4*(cost-base) > m.class[n]*abs(c[n]) // the other explanation costs 25% more
		if costly && m.convicts(t, n, m.offset(n, times), wrong, times) {
			certain[n] = true
			continue
		}
		for k := 1; k < len(other); k++ {
			if far(other[k], 0) && !wrong[k] && m.names[k] != DateHost {
				alternatives[k] = other[k]
			}
		}
	}
}

// offset returns the error of a clock, given the corrected times.
func (m *clockFit) offset(n int, times []int64) int64 {
	for i, mk := range m.marks {
		if mk.node == n {
			return mk.at - times[i]
		}
	}
	return 0
}

// times returns the corrected times. Stamps from correct clocks are kept; lines
// dated by a wrong clock are spaced evenly between their neighbours.
func (m *clockFit) times(c []int64, wrong map[int]bool) []int64 {
	out := make([]int64, len(m.marks))
	for i, mk := range m.marks {
		out[i] = mk.at - c[mk.node]
	}
	for n := range wrong {
		low, high := m.room(n, wrong, out)
		var shift int64
		switch {
		case low == math.MinInt64 && high == math.MaxInt64:
			continue
		case low == math.MinInt64:
			shift = high
		case high == math.MaxInt64:
			shift = low
		default:
			shift = pick(low, high)
		}
		for i, mk := range m.marks {
			if mk.node == n {
				out[i] = mk.at - shift
			}
		}
	}
	return m.spread(out, wrong)
}

// spread makes the times non-decreasing again after several clocks have been
// corrected independently.
func (m *clockFit) spread(out []int64, wrong map[int]bool) []int64 {
	for i := 1; i < len(out); i++ {
		if out[i] >= out[i-1] {
			continue
		}
		if wrong[m.marks[i].node] {
			out[i] = out[i-1]
		} else {
			for j := i - 1; j >= 0 && out[j] > out[i]; j-- {
				out[j] = out[i]
			}
		}
	}
	return out
}

// room returns the bounds of a wrong clock's offset, based on its neighbours'
// correct clocks.
func (m *clockFit) room(n int, wrong map[int]bool, times []int64) (low, high int64) {
	low, high = math.MinInt64, math.MaxInt64
	for i, mk := range m.marks {
		if mk.node != n {
			continue
		}
		for j := i - 1; j >= 0; j-- {
			if nb := m.marks[j].node; nb != n && !wrong[nb] && m.marks[j].step >= 0 {
				high = min(high, mk.at-times[j]) // not before the older neighbour
				break
			}
		}
		for j := i + 1; j < len(m.marks); j++ {
			if nb := m.marks[j].node; nb != n && !wrong[nb] {
				low = max(low, mk.at-times[j]) // not after the newer one
				break
			}
		}
	}
	return low, high
}

// pick chooses an offset between the bounds: a whole or half hour if possible,
// because such errors are common, otherwise the midpoint.
func pick(low, high int64) int64 {
	for _, unit := range [...]int64{3_600_000, 1_800_000, 2_700_000} {
		n := (low + high) / 2 / unit
		for k := n - 1; k <= n+1; k++ {
			if v := k * unit; k != 0 && v >= low-2000 && v <= high+2000 && high-low < unit/2 {
				return min(max(v, low), high)
			}
		}
	}
	if low > high {
		return low
	}
	return low + (high-low)/2
}
