package web

import (
	"fmt"
	"html/template"
	"math"
	"strings"
	"time"

	"hoplite/mail"
	"hoplite/mail/received"
	"hoplite/mail/safe"
	"hoplite/mail/smime"
	"hoplite/mail/story"
	"hoplite/mail/trace"
	"hoplite/mail/trace/inspect"
	"hoplite/mail/trace/intake"
)

var functions = template.FuncMap{
	"words": trace.Words,
	"lower": strings.ToLower,
	"date":  func(t time.Time) string { return t.UTC().Format("2 Jan 2006 15:04 MST") },
}

// view is the data of a page with one trace. All its text is safe to print and,
// on request, anonymised.
type view struct {
	Verdict   string
	Subject   string
	MessageID string // of the original message of a report
	Rows      []row
	Ticks     []tick
	Findings  []trace.Finding
	Auth      []trace.AuthClaim
	Scores    []trace.Score
	Repairs   []string
	Bounce    []bounced
	Complaint [][2]string // label and value
	Original  *view
	SMIME     []smime.Line
	Parts     []string
	Known     []story.Story
	KnownBy   string
	Text      string // the header, for the forms on the page
	Anonymous bool
	Log       bool
	CanLink   bool
	Until     time.Time
	Boundary  int
}

// row is one hop.
type row struct {
	Index                int
	Trust                trace.Trust
	From, By             string
	Proto, TLS, Class    string
	Locked               bool
	Delay, Bounds, Clock string
	Stamp, Corrected     string
	Kind                 trace.LinkKind
	Reasons              []string
	Defects              []string
	Raw                  []piece
	Bar                  bar
	Edge                 bool // the trust boundary is above this row; newer lines follow
}

// piece is a part of the raw line and the name of its field.
type piece struct{ Text, Field string }

// bar holds positions on the time axis, in percent.
type bar struct {
	From, Width      string // the delay
	MayFrom, MayWide string // its uncertainty
	Ghost            string // the time as written, if it differs
	GhostEdge        string // "left" or "right" if it lies beyond the axis
	At               string // the corrected time
	HasDelay, HasAt  bool
	Arrow            string // from the corrected time to the ghost
	ArrowWide        string
}

type tick struct {
	At    string
	Text  string
	First bool
	Last  bool
}

type bounced struct {
	Rcpt, Original, Action, Remote, Said string
	Means                                []mail.Meaning
}

// axis maps times to positions.
type axis struct {
	span time.Duration // duration since the first hop
	base time.Time
	log  bool
}

func newAxis(t *trace.Trace, log bool) axis {
	a := axis{log: log}
	for i := range t.Steps {
		s := &t.Steps[i]
		if s.Time.IsZero() {
			continue
		}
		if a.base.IsZero() {
			a.base = s.Time
		}
		a.span = max(a.span, s.Time.Sub(a.base))
	}
	a.span = max(a.span, time.Second)
	return a
}

// percent returns the position of a time, between 2 and 98.
func (a axis) percent(at time.Time) float64 {
	d := at.Sub(a.base)
	share := d.Seconds() / a.span.Seconds()
	if a.log {
		share = math.Log1p(max(0, d.Seconds())) / math.Log1p(a.span.Seconds())
	}
	return 2 + 96*min(max(share, 0), 1)
}

func pct(v float64) string { return fmt.Sprintf("%.2f%%", v) }

func (a axis) ticks() []tick {
	const n = 4
	var list []tick
	for i := range n + 1 {
		d := time.Duration(float64(a.span) * float64(i) / n)
		if a.log {
			d = time.Duration(math.Expm1(math.Log1p(a.span.Seconds())*float64(i)/n) * float64(time.Second))
		}
		list = append(list, tick{At: pct(2 + 96*float64(i)/n), Text: "+" + trace.Words(d.Round(round(a.span))), First: i == 0, Last: i == n})
	}
	return list
}

func round(span time.Duration) time.Duration {
	switch {
	case span < 10*time.Second:
		return 50 * time.Millisecond
	case span < time.Hour:
		return time.Second
	}
	return time.Minute
}

func (a axis) bar(t *trace.Trace, i int) bar {
	s := &t.Steps[i]
	var b bar
	if s.Time.IsZero() {
		return b
	}
	at := a.percent(s.Time)
	b.HasAt, b.At = true, pct(at)
	if s.HasDelay {
		begin := s.Time.Add(-s.Delay)
		from := a.percent(begin)
		b.HasDelay, b.From, b.Width = true, pct(from), pct(max(at-from, .4))
		low, high := a.percent(begin.Add(s.Low)), a.percent(begin.Add(s.High))
		if s.High-s.Low > time.Second {
			b.MayFrom, b.MayWide = pct(low), pct(max(high-low, .4))
		}
	}
	if !s.Stamp.OK {
		return b
	}
	raw := s.Stamp.Time()
	if d := raw.Sub(s.Time); d > 2*time.Second || d < -2*time.Second {
		ghost := a.percent(raw)
		switch off := raw.Sub(a.base); {
		case off < 0:
			b.GhostEdge, ghost = "left", 1.2
		case off > a.span:
			b.GhostEdge, ghost = "right", 98.8
		}
		b.Ghost = pct(ghost)
		b.Arrow, b.ArrowWide = pct(min(at, ghost)), pct(math.Abs(at-ghost))
	}
	return b
}

// view returns the page for a report.
func (s *Server) view(rep *inspect.Report, pseudonym func(string) string, c choices) *view {
	text := func(s string) string { return safe.Line(pseudonym(s)) }
	v := makeView(rep.Trace, text, c)
	v.Text = safe.Text(pseudonym(string(rep.Head)))
	v.CanLink = s.links.dir != ""
	for _, r := range rep.Repairs {
		v.Repairs = append(v.Repairs, text(r))
	}
	if k := rep.Known; k != nil {
		v.Known, v.KnownBy = k.Stories, text(k.By.String())
	}
	if !c.Anonymous {
		v.content(rep.Content)
	}
	if b := rep.Bounce; b != nil {
		v.Complaint = complaint(b.Complaint, text)
		for i := range b.Recipients {
			v.Bounce = append(v.Bounce, makeBounced(&b.Recipients[i], text))
		}
	}
	if rep.Original != nil {
		v.Original = makeView(rep.Original, text, c)
		v.Original.MessageID = text(rep.Original.MessageID)
	}
	return v
}

// content adds the contents of the message.
func (v *view) content(c *inspect.Content) {
	if !c.Notable() {
		return
	}
	if c.SMIME != nil {
		v.SMIME = c.SMIME.Lines()
		return // the report lists the parts as well
	}
	for _, p := range c.Parts {
		v.Parts = append(v.Parts, safe.Line(p.Part+"  "+p.String()))
	}
}

func makeBounced(f *intake.Failed, text func(string) string) bounced {
	o := bounced{Rcpt: text(f.Rcpt), Original: text(f.Original), Action: text(strings.TrimSpace(f.Action + " " + f.Status)), Remote: text(f.Remote), Said: text(f.Diagnostic)}
	o.Means = f.Meanings()
	return o
}

// complaint returns the details of a feedback report.
func complaint(c *intake.Complaint, text func(string) string) [][2]string {
	if c == nil {
		return nil
	}
	list := [][2]string{{"type", text(c.Type)}}
	for _, l := range [][2]string{
		{"reporter", c.Reporter}, {"sender", c.MailFrom}, {"recipient", strings.Join(c.Rcpts, ", ")},
		{"source address", c.SourceIP}, {"domain", strings.Join(c.Domains, ", ")}, {"arrived", c.Arrived},
	} {
		if l[1] != "" {
			list = append(list, [2]string{l[0], text(l[1])})
		}
	}
	return list
}

// shownRows limits the rows of the page; further lines are only counted.
const shownRows = 200

func makeView(t *trace.Trace, text func(string) string, c choices) *view {
	v := &view{Verdict: text(t.Verdict()), Subject: text(t.Subject), Anonymous: c.Anonymous, Log: c.Log, Boundary: t.Boundary}
	if c.Anonymous {
		v.Subject = ""
	}
	a := newAxis(t, c.Log)
	v.Ticks = a.ticks()
	for i := range t.Steps[:min(len(t.Steps), shownRows)] {
		v.Rows = append(v.Rows, makeRow(t, i, a, text))
	}
	for _, f := range t.BySeverity() {
		f.Text, f.Advice = text(f.Text), text(f.Advice)
		v.Findings = append(v.Findings, f)
	}
	for _, x := range t.Auth {
		x.By, x.Detail, x.Method, x.Result, x.Field = text(x.By), text(x.Detail), text(x.Method), text(x.Result), text(x.Field)
		v.Auth = append(v.Auth, x)
	}
	for _, x := range t.Scores {
		x.Name, x.Value, x.Field, x.Words = text(x.Name), text(x.Value), text(x.Field), text(x.Words)
		v.Scores = append(v.Scores, x)
	}
	return v
}

func makeRow(t *trace.Trace, i int, a axis, text func(string) string) row {
	s := &t.Steps[i]
	o := row{
		Index: s.Index, Trust: s.Trust, From: hostText(peer(s), text), By: hostText(writer(s), text), Kind: s.Kind,
		Proto: text(s.Proto.Name), TLS: text(s.TLS.Version), Class: string(s.Class), Locked: s.Proto.TLS || s.TLS.Version != "",
		Edge: s.Trust == trace.Boundary && i > 0, Defects: s.Defects.List(), Bar: a.bar(t, i),
	}
	if o.Proto == "" {
		o.Proto = text(s.With)
	}
	if s.HasDelay {
		o.Delay = trace.Words(s.Delay)
		if s.BoundsMatter() {
			o.Bounds = trace.Words(s.Low) + " to " + trace.Words(s.High)
		}
	}
	if s.Stamp.OK {
		o.Stamp = s.Stamp.Time().Format("2 Jan 2006 15:04:05 -0700")
	}
	if !s.Time.IsZero() {
		o.Corrected = s.Time.Format("15:04:05 MST")
	}
	for _, k := range t.Clocks {
		for _, h := range k.Hops {
			if h == s.Index {
				way := "fast"
				off := k.Offset
				if off < 0 {
					way, off = "slow", -off
				}
				o.Clock = "clock " + trace.Words(off) + " " + way
				if !k.Certain {
					o.Clock = "possibly " + o.Clock
				}
			}
		}
	}
	for _, why := range s.Reasons {
		o.Reasons = append(o.Reasons, text(why))
	}
	o.Raw = pieces(s, text)
	return o
}

// pieces splits the raw line at the boundaries of its fields.
func pieces(s *trace.Step, text func(string) string) []piece {
	raw := s.Raw
	if len(raw) > 4000 {
		raw = raw[:4000]
	}
	field := make([]string, len(raw))
	for _, f := range received.Parts() {
		if span, ok := s.Span(f); ok {
			for i := span.Start; i < min(span.End, len(raw)); i++ {
				field[i] = f.String()
			}
		}
	}
	var list []piece
	for i := 0; i < len(raw); {
		j := i
		for j < len(raw) && field[j] == field[i] {
			j++
		}
		list = append(list, piece{lines(raw[i:j], text), field[i]})
		i = j
	}
	return list
}

// lines splits a folded field at its line breaks.
func lines(s string, text func(string) string) string {
	parts := strings.Split(strings.ReplaceAll(s, "\r\n", "\n"), "\n")
	for i := range parts {
		parts[i] = text(parts[i])
	}
	return strings.Join(parts, "\n")
}

// hostText returns a host's name for the page. A name that is not ASCII is
// followed by its A-label form, which exposes look-alikes.
func hostText(h string, text func(string) string) string {
	h = clip(text(h), 120)
	for i := range len(h) {
		if h[i] >= 128 {
			if puny, err := mail.ParseDomain(h); err == nil && puny != h {
				return h + " (" + puny + ")"
			}
			break
		}
	}
	return h
}

func peer(s *trace.Step) string {
	switch {
	case s.From.Name != "" && s.From.Name[0] != '[' && !strings.EqualFold(s.From.Name, "unknown"):
		return s.From.Name
	case s.Announced() != "":
		return s.Announced()
	case s.From.Addr.IsValid():
		return "[" + s.From.Addr.String() + "]"
	case s.Ident != "":
		return s.Ident
	}
	return "(local)"
}

func writer(s *trace.Step) string {
	switch {
	case s.By.Name != "":
		return s.By.Name
	case s.By.Addr.IsValid():
		return "[" + s.By.Addr.String() + "]"
	}
	return "(" + strings.TrimSpace(s.MTA.Name+" queue") + ")"
}
