package tracetext

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"hoplite/mail/trace"
)

// Trace prints the path of a message, the findings about it, the authentication
// results and the filter scores.
func (s *Screen) Trace(t *trace.Trace) {
	if v := s.words(t.Verdict()); utf8.RuneCountInString(v) <= s.width {
		fmt.Fprintln(s.w, s.paint(bold, v))
	} else {
		s.wrapped("", 0, v)
	}
	if len(t.Steps) > 0 {
		fmt.Fprintln(s.w)
		s.table(t)
	}
	s.findings(t)
	s.auth(t)
	s.scores(t.Scores)
}

// layout is the width of the columns.
type layout struct {
	index, pair, proto, delay, bar, clock int
	wide                                  bool
}

func (s *Screen) layout(t *trace.Trace) layout {
	l := layout{index: max(2, len(strconv.Itoa(len(t.Steps)))), proto: 11, delay: 7, bar: 6}
	if s.width >= 110 {
		l.wide, l.proto, l.delay, l.bar = true, 15, 18, 12
	}
	for _, c := range t.Clocks {
		if len(c.Hops) > 0 {
			l.clock = 9
		}
	}
	// index " * " pair " " proto " " delay " " bar " " time " " clock
	l.pair = s.width - l.index - 3 - 1 - l.proto - 1 - l.delay - 1 - l.bar - 1 - len("15:04:05") - l.clock
	return l
}

func (s *Screen) table(t *trace.Trace) {
	l := s.layout(t)
	longest := time.Duration(0)
	for i := range t.Steps {
		longest = max(longest, t.Steps[i].Delay)
	}
	for i := range t.Steps {
		st := &t.Steps[i]
		mark, colour := s.sign(st.Trust)
		line := fmt.Sprintf("%*d %s %s %s ", l.index, st.Index, s.paint(colour, mark), s.pair(t, i, l.pair), s.cell(protocol(st, l.wide), l.proto))
		line += s.cellRight(s.delayWords(st, &l), l.delay) + " " + s.bar(st.Delay, longest, l.bar) + " "
		when := strings.Repeat(" ", 8)
		if st.Stamp.OK {
			when = st.Stamp.Time().Local().Format("15:04:05")
		}
		line += when
		if l.clock > 0 {
			line += " " + s.paint(yellow, s.clock(t, st.Index))
		}
		fmt.Fprintln(s.w, strings.TrimRight(line, " "))
		if i+1 < len(t.Steps) && t.Steps[i+1].Trust == trace.Boundary {
			rule := "─"
			if s.ascii {
				rule = "-"
			}
			note := " lines above may have been forged by the sender "
			fmt.Fprintln(s.w, s.paint(blue, strings.Repeat(rule, 3)+note+strings.Repeat(rule, max(0, s.width-3-len(note)))))
		}
	}
	var days []string
	for i := range t.Steps {
		if st := &t.Steps[i]; !st.Time.IsZero() {
			if d := st.Time.Local().Format("Mon 2 Jan 2006"); len(days) == 0 || days[len(days)-1] != d {
				days = append(days, d)
			}
		}
	}
	if len(days) > 0 {
		zone, _ := time.Now().Zone()
		line := days[0]
		if len(days) > 1 {
			line += " to " + days[len(days)-1]
		}
		fmt.Fprintln(s.w, s.paint(dim, "   times as stamped, in "+zone+", "+line))
	}
	var legend []string
	seen := map[trace.Trust]bool{}
	for i := range t.Steps {
		seen[t.Steps[i].Trust] = true
	}
	for _, tr := range [...]trace.Trust{trace.Ours, trace.Vouched, trace.Boundary, trace.Sealed, trace.Claimed, trace.Suspect} {
		if seen[tr] {
			mark, colour := s.sign(tr)
			legend = append(legend, s.paint(colour, mark)+" "+string(tr))
		}
	}
	if l.clock > 0 {
		legend = append(legend, s.paint(yellow, "+0m00s")+" error of that clock")
	}
	fmt.Fprintln(s.w, "   "+strings.Join(legend, "  "))
}

// pair returns the sending and the receiving host. The client's name is omitted
// if it is the host of the previous line.
func (s *Screen) pair(t *trace.Trace, i, width int) string {
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
		return "  " + s.arrow() + " " + s.cell(by, width-4)
	}
	from, by = s.words(from), s.words(by)
	room := width - 3
	nf, nb := utf8.RuneCountInString(from), utf8.RuneCountInString(by)
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
	text := strings.TrimRight(s.fit(from, nf), " ") + " " + s.arrow() + " " + s.fit(by, nb)
	return s.fit(text, width)
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

// protocol returns the with clause and its TLS version in a few characters.
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

func (s *Screen) delayWords(st *trace.Step, l *layout) string {
	if !st.HasDelay {
		return ""
	}
	d := strings.NewReplacer(" s", "s", " min", "m", " h", "h", " days", "d", " ms", "ms").Replace(trace.Words(st.Delay))
	if !l.wide || !st.BoundsMatter() {
		if len(d) > l.delay { // 118m 23s
			d = strings.ReplaceAll(d, " ", "")
		}
		return d
	}
	return fmt.Sprintf("%s (%s..%s)", d, short(st.Low), short(st.High))
}

func short(d time.Duration) string {
	return strings.ReplaceAll(strings.ReplaceAll(trace.Words(d), " min", "m"), " ", "")
}

// bar returns a bar for a delay, relative to the longest one; on a logarithmic
// scale if they are far apart.
func (s *Screen) bar(d, longest time.Duration, width int) string {
	if d <= 0 || longest <= 0 {
		return strings.Repeat(" ", width)
	}
	share := float64(d) / float64(longest)
	if longest > time.Minute {
		share = math.Log1p(d.Seconds()) / math.Log1p(longest.Seconds())
	}
	full := max(1, int(share*float64(width)+.5))
	cell := "█"
	if s.ascii {
		cell = "#"
	}
	return strings.Repeat(cell, full) + strings.Repeat(" ", width-full)
}

// clock returns the error of the clock of a line's host.
func (s *Screen) clock(t *trace.Trace, index int) string {
	for _, c := range t.Clocks {
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
