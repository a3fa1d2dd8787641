package trace

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// DateHost stands for the clock that made the Date field.
const DateHost = "(Date header)"

// Clock is one host's clock as the chain shows it.
type Clock struct {
	Host string
	// Offset is how fast it is (negative: slow), best estimate; it lies
	// between Low and High.
	Offset, Low, High time.Duration
	Cause             ClockCause
	// Certain is false if another explanation of the stamps is about as good.
	Certain bool
	Hops    []int // lines stamped by it; none for the Date field
}

// ClockCause is the likely reason of an error.
type ClockCause string

// The causes.
const (
	WholeHour ClockCause = "whole-hour"      // a zone or daylight saving time set wrong
	ZoneSlip  ClockCause = "whole-hour-zone" // local time written as UTC, or the other way round
	HalfHour  ClockCause = "half-hour"       // a zone with a half or three quarters of an hour
	Learned   ClockCause = "learned"         // known before from other messages
	Drift     ClockCause = "drift"           // anything else: a clock that nobody sets
	Unclear   ClockCause = "unknown"         // cannot tell which clock it is
)

// What a clock's error must exceed to be called one, and how long a message may
// wait before it (RFC 5321, 4.5.4.1: queues give up after four to five days).
const (
	tolerance = 10 * time.Second
	queueLife = 5 * 24 * time.Hour
)

// Weights: how much we believe a clock. Ours is watched, three strangers who
// agree with each other outvote it.
const (
	weightOurs    = 50
	weightKnown   = 40
	weightOther   = 20
	weightClaimed = 18
	weightDate    = 12
	weightWait    = 6 // a second of total delay: of two stories, prefer the quicker
)

// mark is one stamp in the fit.
type mark struct {
	step   int // index into Steps; -1 is the Date field
	at     int64
	coarse int64 // what the stamp rounds away
	node   int
}

// clockFit is the material of one message.
type clockFit struct {
	marks []mark
	names []string // by node; 0 is the true time
	class []int64  // weights by node
}

// fitClocks finds the wrong clocks, sets each step's corrected time, and the
// delays with their bounds.
func (t *Trace) fitClocks(o *Options) {
	m := t.marks(o)
	if len(m.marks) == 0 {
		return
	}
	c, blamed, ok := m.blame()
	if ok && m.split(c, blamed) {
		c, blamed, ok = m.blame()
	}
	certain := map[int]bool{}
	alternatives := map[int]int64{}
	if ok {
		m.weighAlternatives(blamed, certain, alternatives, c)
	}
	times := m.times(c, blamed)
	for i, mk := range m.marks {
		if mk.step >= 0 {
			t.Steps[mk.step].Time = time.UnixMilli(times[i]).UTC()
		}
	}
	t.report(m, blamed, certain, alternatives, times)
	t.delays(m, blamed, times)
}

// blame fits the clocks and names those that are wrong by more than a stamp's
// precision.
func (m *clockFit) blame() (c []int64, blamed map[int]bool, ok bool) {
	c, low, high, _, ok := m.solve(-1, false)
	if !ok {
		c = make([]int64, len(m.names))
		low, high = c, c
	}
	blamed = map[int]bool{}
	for n := 1; n < len(m.names); n++ {
		if coarse := m.coarse(n); far(c[n], coarse) && (far(low[n], coarse) || far(high[n], coarse)) {
			blamed[n] = true
		}
	}
	return c, blamed, ok
}

// split gives each line of a blamed host a clock of its own if no single error
// fits all of them: then one line is wrong, not the host's clock.
func (m *clockFit) split(c []int64, blamed map[int]bool) bool {
	times := make([]int64, len(m.marks))
	for i, mk := range m.marks {
		times[i] = mk.at - c[mk.node]
	}
	changed := false
	for n := range blamed {
		low, high := m.room(n, blamed, times)
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

func (m *clockFit) coarse(node int) int64 {
	var c int64
	for _, mk := range m.marks {
		if mk.node == node {
			c = max(c, mk.coarse)
		}
	}
	return c
}

// marks collects the stamps and gives each clock a node. Suspect lines are
// left out: they are no evidence.
func (t *Trace) marks(o *Options) *clockFit {
	m := &clockFit{names: []string{""}, class: []int64{0}}
	if t.DateStamp.OK {
		m.add(-1, t.DateStamp, DateHost, weightDate, 0)
	}
	last := len(t.Steps) - 1
	for i := range t.Steps {
		s := &t.Steps[i]
		if !s.Stamp.OK || s.Trust == Suspect {
			continue
		}
		weight := int64(weightOther)
		var learned time.Duration
		fast, known := time.Duration(0), false
		if o.Known != nil && s.By.Name != "" {
			fast, known = o.Known(strings.ToLower(s.By.Name))
		}
		switch {
		case o.owns(s.By.Name), i == last && len(o.Trusted) > 0:
			weight = weightOurs
		case known:
			weight, learned = weightKnown, fast
		case s.Trust == Claimed:
			weight = weightClaimed
		}
		m.add(i, s.Stamp, strings.ToLower(t.hostOf(i)), weight, learned)
	}
	m.tieDate(t)
	return m
}

// hostOf names the host that wrote a line. qmail leaves its name out in the
// lines about its own queue: those belong to the line before.
func (t *Trace) hostOf(i int) string {
	for j := i; j >= 0; j-- {
		if s := &t.Steps[j]; s.By.Name != "" || s.By.Addr.IsValid() {
			return host(&s.Hop)
		} else if s.MTA.Name != "qmail" {
			break
		}
	}
	return fmt.Sprintf("(line %d)", i+1)
}

// add gives a stamp the node of its host; a host that contradicts itself gets
// another one, for then it is the line that is wrong and not the clock.
func (m *clockFit) add(step int, st Stamp, name string, weight int64, learned time.Duration) {
	mk := mark{step: step, at: st.Unix*1000 + int64(st.Nanos)/1e6 - learned.Milliseconds()}
	if st.Coarse {
		mk.coarse = 60_000
	}
	for i := len(m.marks) - 1; i >= 0; i-- {
		old := &m.marks[i]
		if m.names[old.node] != name {
			continue
		}
		if mk.at < old.at-tolerance.Milliseconds() {
			break
		}
		mk.node = old.node
		m.class[old.node] = max(m.class[old.node], weight)
		break
	}
	if mk.node == 0 {
		mk.node = len(m.names)
		m.names = append(m.names, name)
		m.class = append(m.class, weight)
	}
	m.marks = append(m.marks, mk)
}

// tieDate gives the Date field the clock of the first host if the message was
// made there, and the two agree.
func (m *clockFit) tieDate(t *Trace) {
	if len(m.marks) < 2 || m.marks[0].step != -1 || m.marks[1].step != 0 {
		return
	}
	first := &t.Steps[0]
	local := first.From.Name == "" && !first.From.Addr.IsValid() || first.Proto.Local || first.Class == Loopback
	_, idHost, _ := strings.Cut(strings.Trim(t.MessageID, "<>"), "@")
	if !local && !sameHost(idHost, first.By.Name) {
		return
	}
	if d := m.marks[1].at - m.marks[0].at; d < -tolerance.Milliseconds() || d > 10*60*1000 {
		return
	}
	m.marks[0].node = m.marks[1].node
}

// solve fits the clocks; pinned >= 0 is held at zero, and without is the Date
// field left out.
func (m *clockFit) solve(pinned int, withoutDate bool) (c, low, high []int64, cost int64, ok bool) {
	f := newFit(len(m.names))
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
		// Total delay is t_last - t_first = (r_last - c_last) - (r_first - c_first).
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

// weighAlternatives asks for each blamed clock: what if it were right? If the
// stamps can be explained nearly as well without it, nobody can tell, and the
// clocks that would be blamed instead are named too. The Date field is no
// witness here: it was made by a client, not by a server.
func (m *clockFit) weighAlternatives(blamed, certain map[int]bool, alternatives map[int]int64, c []int64) {
	_, _, _, base, ok := m.solve(-1, true)
	tried := 0
	for n := 1; n < len(m.names); n++ {
		if !blamed[n] {
			continue
		}
		if tried++; tried > 6 {
			break
		}
		if m.names[n] == DateHost {
			certain[n] = true // the alternative would be that every server is wrong
			if other, _, _, _, ok2 := m.solve(n, false); ok2 && len(m.marks) <= 2 {
				certain[n] = false
				for k := 1; k < len(other); k++ {
					if far(other[k], 0) && !blamed[k] {
						alternatives[k] = other[k]
					}
				}
			}
			continue
		}
		other, _, _, cost, ok2 := m.solve(n, true)
		if !ok || !ok2 || 4*(cost-base) > m.class[n]*abs(c[n]) {
			certain[n] = true // the other story costs a quarter more
			continue
		}
		for k := 1; k < len(other); k++ {
			if far(other[k], 0) && !blamed[k] && m.names[k] != DateHost {
				alternatives[k] = other[k]
			}
		}
	}
}

// times are the corrected instants: a good clock's stamp stands, a wrong
// clock's line is placed evenly between its good neighbours.
func (m *clockFit) times(c []int64, blamed map[int]bool) []int64 {
	out := make([]int64, len(m.marks))
	for i, mk := range m.marks {
		out[i] = mk.at - c[mk.node]
	}
	for n := range blamed {
		low, high := m.room(n, blamed, out)
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
	return m.spread(out, blamed)
}

// spread makes the instants run forward again after several clocks were
// placed on their own.
func (m *clockFit) spread(out []int64, blamed map[int]bool) []int64 {
	for i := 1; i < len(out); i++ {
		if out[i] >= out[i-1] {
			continue
		}
		if blamed[m.marks[i].node] {
			out[i] = out[i-1]
		} else {
			for j := i - 1; j >= 0 && out[j] > out[i]; j-- {
				out[j] = out[i]
			}
		}
	}
	return out
}

// room is between which offsets a wrong clock may lie, given its neighbours
// with good ones.
func (m *clockFit) room(n int, blamed map[int]bool, times []int64) (low, high int64) {
	low, high = math.MinInt64, math.MaxInt64
	for i, mk := range m.marks {
		if mk.node != n {
			continue
		}
		for j := i - 1; j >= 0; j-- {
			if nb := m.marks[j].node; nb != n && !blamed[nb] && m.marks[j].step >= 0 {
				high = min(high, mk.at-times[j]) // not before its older neighbour
				break
			}
		}
		for j := i + 1; j < len(m.marks); j++ {
			if nb := m.marks[j].node; nb != n && !blamed[nb] {
				low = max(low, mk.at-times[j]) // not after its newer one
				break
			}
		}
	}
	return low, high
}

// pick chooses an offset out of its bounds: a whole hour or half hour if one
// lies there, for that is how clocks go wrong, else the middle.
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

// report lists the wrong clocks.
func (t *Trace) report(m *clockFit, blamed, certain map[int]bool, alternatives map[int]int64, times []int64) {
	for n := 1; n < len(m.names); n++ {
		alt, other := alternatives[n]
		if !blamed[n] && !other {
			continue
		}
		low, high := m.room(n, blamed, times)
		var off int64
		for i, mk := range m.marks {
			if mk.node == n {
				off = mk.at - times[i]
				break
			}
		}
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
		if !other && !certain[n] && len(alternatives) > 0 {
			low, high = min(low, 0), max(high, 0)
		}
		low, high = min(low, off), max(high, off)
		ms := time.Millisecond
		c := Clock{Host: m.names[n], Offset: time.Duration(off) * ms, Low: time.Duration(low) * ms, High: time.Duration(high) * ms, Certain: certain[n] && !other}
		c.Cause = m.cause(t, n, c)
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

// cause names the likely reason.
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
		if st.Zone == NoZone && nearest(3600) {
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

// delays sets each step's delay and how far it may really vary: a line's clock
// is only known to within the free interval between its neighbours, unless it
// is ours or was learned.
func (t *Trace) delays(m *clockFit, blamed map[int]bool, times []int64) {
	var marks []int
	for i, mk := range m.marks {
		if mk.step >= 0 {
			marks = append(marks, i)
		}
	}
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
		if m.marks[i].node == m.marks[p].node && !blamed[m.marks[i].node] {
			continue // one clock measured both ends
		}
		firm := func(j int) bool { return m.class[m.marks[j].node] >= weightKnown && !blamed[m.marks[j].node] }
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
	if len(marks) > 0 {
		t.HasTotal = true
		t.Total = time.Duration(times[marks[len(marks)-1]]-times[marks[0]]) * time.Millisecond
	}
	for i := range t.Steps {
		s := &t.Steps[i]
		if s.HasDelay && (t.Slowest == 0 || s.Delay > t.Steps[t.Slowest-1].Delay) {
			t.Slowest = s.Index
		}
		if s.HasDelay && s.Delay > time.Minute && s.Low < s.Delay/2 {
			t.Ambiguous = true // a single wrong clock could have moved this wait next door
		}
	}
}

// Words writes a duration for people: 6 s, 1 min 39 s, 2 h 3 min, 3 days.
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
