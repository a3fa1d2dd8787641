package tracetext

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"hoplite/mail/trace"
)

// Trace prints the path of a message, the findings about it, the authentication
// results and the filter scores.
func Trace(s *Screen, t *trace.Trace) {
	if v := s.words(t.Verdict()); columns(v) <= s.width {
		fmt.Fprintln(s.w, s.paint(bold, v))
	} else {
		s.wrapped("", 0, v)
	}
	if len(t.Steps) > 0 {
		fmt.Fprintln(s.w)
		newTable(s, t).print()
	}
	findings(s, t)
	auth(s, t)
	scores(s, t.Scores)
}

// table prints the hops in columns.
type table struct {
	*Screen
	t *trace.Trace

	// The widths of the columns.
	index, between, proto, took, scale, error int
	wide                                      bool
	longest                                   time.Duration // longest delay
}

func newTable(s *Screen, t *trace.Trace) *table {
	tb := &table{Screen: s, t: t, index: max(2, len(strconv.Itoa(len(t.Steps)))), proto: 11, took: 7, scale: 6}
	if s.width >= 110 {
		tb.wide, tb.proto, tb.took, tb.scale = true, 15, 18, 12
	}
	for _, c := range t.Clocks {
		if len(c.Hops) > 0 {
			tb.error = 9
		}
	}
	for i := range t.Steps {
		tb.longest = max(tb.longest, t.Steps[i].Delay)
	}
	// index " * " pair " " proto " " delay " " bar " " time " " clock
	tb.between = s.width - tb.index - 3 - 1 - tb.proto - 1 - tb.took - 1 - tb.scale - 1 - len("15:04:05") - tb.error
	return tb
}

func (tb *table) print() {
	for i := range tb.t.Steps {
		fmt.Fprintln(tb.w, tb.row(i))
		if i+1 < len(tb.t.Steps) && tb.t.Steps[i+1].Trust == trace.Boundary {
			tb.edge()
		}
	}
	tb.days()
	tb.legend()
}

// row returns the line of one hop.
func (tb *table) row(i int) string {
	st := &tb.t.Steps[i]
	mark, colour := tb.sign(st.Trust)
	line := fmt.Sprintf("%*d %s %s %s ", tb.index, st.Index, tb.paint(colour, mark), tb.pair(i, tb.between), tb.cell(protocol(st, tb.wide), tb.proto))
	line += tb.cellRight(tb.delay(st), tb.took) + " " + tb.bar(st.Delay) + " "
	when := strings.Repeat(" ", 8)
	if st.Stamp.OK {
		when = st.Stamp.Time().Local().Format("15:04:05")
	}
	line += when
	if tb.error > 0 {
		line += " " + tb.paint(yellow, tb.clock(st.Index))
	}
	return strings.TrimRight(line, " ")
}

// edge prints the separator between lines that may be forged and lines that can
// be trusted.
func (tb *table) edge() {
	rule := "─"
	if tb.ascii {
		rule = "-"
	}
	note := " lines above may have been forged by the sender "
	fmt.Fprintln(tb.w, tb.paint(blue, strings.Repeat(rule, 3)+note+strings.Repeat(rule, max(0, tb.width-3-len(note)))))
}

// days prints the dates and the time zone that apply to the table.
func (tb *table) days() {
	var days []string
	for i := range tb.t.Steps {
		if st := &tb.t.Steps[i]; !st.Time.IsZero() {
			if d := st.Time.Local().Format("Mon 2 Jan 2006"); len(days) == 0 || days[len(days)-1] != d {
				days = append(days, d)
			}
		}
	}
	if len(days) == 0 {
		return
	}
	zone, _ := time.Now().Zone()
	line := days[0]
	if len(days) > 1 {
		line += " to " + days[len(days)-1]
	}
	fmt.Fprintln(tb.w, tb.paint(dim, "   times as stamped, in "+zone+", "+line))
}

// legend explains the marks in the table.
func (tb *table) legend() {
	var legend []string
	seen := map[trace.Trust]bool{}
	for i := range tb.t.Steps {
		seen[tb.t.Steps[i].Trust] = true
	}
	for _, tr := range [...]trace.Trust{trace.Ours, trace.Vouched, trace.Boundary, trace.Sealed, trace.Claimed, trace.Suspect} {
		if seen[tr] {
			mark, colour := tb.sign(tr)
			legend = append(legend, tb.paint(colour, mark)+" "+string(tr))
		}
	}
	if tb.error > 0 {
		legend = append(legend, tb.paint(yellow, "+0m00s")+" error of that clock")
	}
	fmt.Fprintln(tb.w, "   "+strings.Join(legend, "  "))
}

// pair formats the sending and the receiving host. The client's name is omitted
// if it is the host of the previous line.
func (tb *table) pair(i, width int) string {
	t := tb.t
	st := &t.Steps[i]
	by := st.By.Name
	if by == "" && st.By.Addr.IsValid() {
		by = st.By.Addr.String()
	}
	if by == "" {
		by = "(" + strings.TrimSpace(st.MTA.Name+" queue") + ")"
	}
	from := peerName(st)
	if i > 0 && t.Steps[i-1].Trust != trace.Suspect && strings.EqualFold(strings.TrimSuffix(from, "."), t.Steps[i-1].By.Name) {
		return "  " + tb.arrow() + " " + tb.cell(by, width-4)
	}
	from, by = tb.words(from), tb.words(by)
	room := width - 3
	nf, nb := columns(from), columns(by)
	if nf+nb > room {
		half := room / 2
		switch {
		case nf <= half:
			nb = room - nf
		case nb <= half:
			nf = room - nb
		default:
			nf, nb = half, room-half
		}
	}
	text := strings.TrimRight(tb.fit(from, nf), " ") + " " + tb.arrow() + " " + tb.fit(by, nb)
	return tb.fit(text, width)
}

// peerName returns the best name of a hop's client.
func peerName(st *trace.Step) string {
	switch {
	case st.From.Name != "" && st.From.Name[0] != '[' && !strings.EqualFold(st.From.Name, "unknown"):
		return st.From.Name
	case st.Announced() != "":
		return st.Announced()
	case st.From.Addr.IsValid():
		return "[" + st.From.Addr.String() + "]"
	case st.Ident != "":
		return st.Ident
	}
	return "(local)"
}

// protocol abbreviates the with clause and its TLS version.
func protocol(st *trace.Step, wide bool) string {
	name := st.Proto.Name
	if name == "" {
		name = orWord(st.With, st.MTA.Name)
	}
	if name == st.With && strings.Contains(name, " ") && st.MTA.Name != "" {
		name = st.MTA.Name
	}
	version := strings.NewReplacer("TLSv", "", "TLS-", "", "TLS", "", "_", ".").Replace(st.TLS.Version)
	if version == "1" { // OpenSSL's name for TLS 1.0
		version = "1.0"
	}
	if wide && version != "" {
		version = "TLS " + version
	}
	return strings.TrimSpace(name + " " + version)
}

func (tb *table) delay(st *trace.Step) string {
	if !st.HasDelay {
		return ""
	}
	d := strings.NewReplacer(" s", "s", " min", "m", " h", "h", " days", "d", " ms", "ms").Replace(trace.Words(st.Delay))
	if !tb.wide || !st.BoundsMatter() {
		if len(d) > tb.took { // 118m 23s
			d = strings.ReplaceAll(d, " ", "")
		}
		return d
	}
	return fmt.Sprintf("%s (%s..%s)", d, short(st.Low), short(st.High))
}

func short(d time.Duration) string {
	return strings.ReplaceAll(strings.ReplaceAll(trace.Words(d), " min", "m"), " ", "")
}

// bar returns a bar that shows a delay relative to the longest one, on a
// logarithmic scale if the delays differ greatly.
func (tb *table) bar(d time.Duration) string {
	longest, width := tb.longest, tb.scale
	if d <= 0 || longest <= 0 {
		return strings.Repeat(" ", width)
	}
	share := float64(d) / float64(longest)
	if longest > time.Minute {
		share = math.Log1p(d.Seconds()) / math.Log1p(longest.Seconds())
	}
	full := max(1, int(share*float64(width)+.5))
	cell := "█"
	if tb.ascii {
		cell = "#"
	}
	return strings.Repeat(cell, full) + strings.Repeat(" ", width-full)
}

// clock returns the clock error of the host that wrote a line.
func (tb *table) clock(index int) string {
	for _, c := range tb.t.Clocks {
		for _, h := range c.Hops {
			if h == index {
				sign := "+"
				off := c.Offset.Round(time.Second)
				if off < 0 {
					sign, off = "-", -off
				}
				q := ""
				if !c.Certain {
					q = "?"
				}
				switch {
				case off >= 100*time.Hour:
					return fmt.Sprintf("%s%s%dd", q, sign, off/(24*time.Hour))
				case off >= time.Hour:
					return fmt.Sprintf("%s%s%dh%02dm", q, sign, off/time.Hour, off/time.Minute%60)
				}
				return fmt.Sprintf("%s%s%dm%02ds", q, sign, off/time.Minute, off/time.Second%60)
			}
		}
	}
	return ""
}
