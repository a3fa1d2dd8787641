package trace

import (
	"fmt"
	"strings"
	"time"

	"hoplite/mail/received"
)

// mark is one stamp used in the fit.
type mark struct {
	step   int // index into Steps; -1 is the Date field
	at     int64
	coarse int64 // the precision lost in the stamp
	node   int
}

// clockFit is the input to the fit for one message.
type clockFit struct {
	marks   []mark
	names   []string     // by node; 0 is the true time
	class   []int64      // weights by node
	learned map[int]bool // nodes whose error is known from previous messages

	budget int64 // for all fits together
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

// marks collects the stamps and assigns each clock a node. Suspect lines are
// omitted, because they are not evidence, and so are claimed stamps that are days
// later than our own. Stamps with an unknown zone are omitted, because they may
// be off by hours.
func (t timing) marks(o *Options) *clockFit {
	m := &clockFit{names: []string{""}, class: []int64{0}, learned: map[int]bool{}, budget: fitBudget}
	if t.DateStamp.OK && t.DateStamp.Zone != received.NoZone {
		m.add(-1, t.DateStamp, DateHost, weightDate, 0)
	}
	last := len(t.Steps) - 1
	for i := range t.Steps {
		s := &t.Steps[i]
		if !s.Stamp.OK || s.Stamp.Zone == received.NoZone || s.Trust == Suspect || s.afterUs {
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
		case disciplined(s.By.Name):
			weight = weightKnown
		case s.Trust == Claimed:
			weight = weightClaimed
		}
		node := m.add(i, s.Stamp, strings.ToLower(t.hostOf(i)), weight, learned)
		m.learned[node] = m.learned[node] || known
	}
	m.tieDate(t.Trace)
	return m
}

// hostOf returns the host that wrote a line. qmail omits its name in lines
// about its own queue; they are attributed to the host of the previous line.
func (t timing) hostOf(i int) string {
	for j := i; j >= 0; j-- {
		if s := &t.Steps[j]; s.By.Name != "" || s.By.Addr.IsValid() {
			return host(&s.Line)
		} else if s.MTA.Name != "qmail" {
			break
		}
	}
	return fmt.Sprintf("(line %d)", i+1)
}

// add assigns a stamp to its host's node. If the host contradicts itself, the
// line is assumed to be wrong rather than the clock, and the stamp gets its own
// node. add returns the node.
func (m *clockFit) add(step int, st received.Stamp, name string, weight int64, learned time.Duration) int {
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
	return mk.node
}

// tieDate assigns the Date field to the first host's clock if the message was
// written on that host and the two agree.
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
