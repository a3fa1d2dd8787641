package trace

import "time"

// enoughWitnesses is the weight of evidence that convicts a clock: two
// independent clocks that agree, or one that is known to be right.
const enoughWitnesses = 2

// convicts reports whether independent clocks agree that the clock n is wrong
// by off, and outweigh those that agree with its stamps. Everything below the
// boundary may have been written by one person, so claimed lines together are a
// single witness against the clock of a trusted host.
func (m *clockFit) convicts(t *Trace, n int, off int64, wrong map[int]bool, times []int64) bool {
	date := m.names[n] == DateHost
	owner := m.witness(t, n, date)
	against, support := map[string]int{}, map[string]int{}
	contradicted := false
	for i := range m.marks {
		if m.marks[i].node != n {
			continue
		}
		near := func(at, to int64) bool { return abs(at-to) <= abs(off)/4 }
		for j := range m.marks {
			nb := m.marks[j].node
			if nb == n {
				continue
			}
			w := m.witness(t, nb, date)
			if w.group == owner.group {
				continue
			}
			denies := m.contradicts(i, j, off, times)
			if !denies && near(m.marks[j].at, m.marks[i].at) {
				support[w.group] = max(support[w.group], w.weight)
			}
			if wrong[nb] || !denies && !near(times[j], m.marks[i].at-off) {
				continue
			}
			contradicted = contradicted || denies
			if owner.trusted && !w.trusted && !w.learned {
				w.group, w.weight = "(claimed)", 1
			}
			against[w.group] = max(against[w.group], w.weight)
		}
	}
	return contradicted && total(against)-total(support) >= enoughWitnesses
}

func total(weights map[string]int) int {
	sum := 0
	for _, w := range weights {
		sum += w
	}
	return sum
}

// contradicts reports whether the corrected time of mark j is impossible if the
// stamp of mark i, which is off by off, is right.
func (m *clockFit) contradicts(i, j int, off int64, times []int64) bool {
	slack := tolerance.Milliseconds()
	if off > 0 {
		return j > i && times[j] < m.marks[i].at-slack
	}
	return j < i && times[j] > m.marks[i].at+slack
}

// witness is what is known of one clock.
type witness struct {
	group   string // clocks of one group are not independent
	weight  int
	trusted bool // a host that we trust dated a line by it
	learned bool // its error is known from previous messages
}

// witness describes the clock n. Hosts of one organisation are one group,
// because they often take the time from one server. Against a personal computer,
// each host is a group.
func (m *clockFit) witness(t *Trace, n int, againstDate bool) witness {
	w := witness{group: m.names[n], weight: 1, learned: m.learned[n]}
	if m.names[n] == DateHost {
		return w
	}
	w.group = m.groupOf(n, againstDate)
	for _, mk := range m.marks {
		if mk.node == n && mk.step >= 0 && t.Steps[mk.step].trusted() {
			w.trusted = true
		}
	}
	if w.learned || w.trusted && m.class[n] >= weightKnown {
		w.weight = enoughWitnesses
	}
	return w
}

// groupOf returns the organisation of a clock's host, or the host. A name that
// is not public, such as localhost, belongs to the host of the next line that
// has a public name.
func (m *clockFit) groupOf(n int, byHost bool) string {
	found := false
	for i := range m.marks {
		found = found || m.marks[i].node == n
		if !found || m.marks[i].step < 0 {
			continue
		}
		name := m.names[m.marks[i].node]
		switch o := organisation(name); {
		case o == "":
		case byHost:
			return name
		default:
			return o
		}
	}
	return m.names[n]
}

// misleads reports whether a clock's error changes what a reader concludes.
func (t judge) misleads(c *Clock) bool {
	off := c.Offset.Abs()
	if c.wide() {
		off = c.least
	}
	switch {
	case c.Host == DateHost:
		return off >= sortingError
	case t.datedByUs(c):
		return off >= time.Minute
	}
	return off > smallError
}

// sortingError is the error of the Date field from which mail programs sort the
// message to the wrong day. Smaller errors are those of the sender's computer
// and mislead no reader.
const sortingError = 24 * time.Hour
