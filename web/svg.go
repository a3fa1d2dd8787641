package web

import (
	"fmt"
	"html"
	"strings"

	"hoplite/mail/safe"
	"hoplite/mail/trace"
)

// picture renders the whole waterfall as a self-contained SVG file, for tickets
// and mail. The file contains no script and loads nothing.
func picture(t *trace.Trace, pseudonym func(string) string, log bool) string {
	text := func(s string) string { return html.EscapeString(safe.Line(pseudonym(s))) }
	const (
		width, left, rowHigh, top = 1000, 400, 46, 64
	)
	steps := t.Steps[:min(len(t.Steps), shownRows)]
	high := top + rowHigh*len(steps) + 30
	a := newAxis(t, log)
	x := func(p string) float64 {
		var v float64
		fmt.Sscanf(p, "%f%%", &v)
		return left + v/100*(width-left)
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img" font-family="system-ui, sans-serif" font-size="13">`+"\n", width, high, width, high)
	b.WriteString(`<defs><pattern id="may" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><rect width="2" height="6" fill="#4a7fb5"/></pattern></defs>` + "\n")
	fmt.Fprintf(&b, `<title>%s</title><rect width="100%%" height="100%%" fill="#ffffff"/><text x="16" y="26" font-size="16" font-weight="600" fill="#1c2733">%s</text>`+"\n", text(t.Verdict()), text(clip(t.Verdict(), 110)))
	for _, k := range a.ticks() {
		anchor := "middle"
		if k.First {
			anchor = "start"
		} else if k.Last {
			anchor = "end"
		}
		fmt.Fprintf(&b, `<line x1="%.1f" x2="%.1f" y1="%d" y2="%d" stroke="#dde3ea"/><text x="%.1f" y="52" text-anchor="%s" font-size="11" fill="#5b6b7b">%s</text>`+"\n", x(k.At), x(k.At), top-6, high-24, x(k.At), anchor, html.EscapeString(k.Text))
	}
	for i := range steps {
		y := top + i*rowHigh
		r := makeRow(t, i, a, func(s string) string { return safe.Line(pseudonym(s)) })
		if r.Edge {
			fmt.Fprintf(&b, `<line x1="8" x2="%d" y1="%d" y2="%d" stroke="#b3261e" stroke-width="3"/>`+"\n", width-8, y-1, y-1)
		}
		fmt.Fprintf(&b, `<rect x="8" y="%d" width="5" height="%d" fill="%s"/>`, y+5, rowHigh-10, trustColour[r.Trust])
		fmt.Fprintf(&b, `<text x="22" y="%d" fill="#1c2733">%d  %s</text>`, y+20, r.Index, html.EscapeString(clip(r.From+" → "+r.By, 52)))
		fmt.Fprintf(&b, `<text x="22" y="%d" font-size="11" fill="#5b6b7b">%s</text>`, y+36, html.EscapeString(clip(strings.TrimSpace(strings.Join(nonEmpty(r.Proto, r.TLS, r.Delay, r.Clock, string(r.Trust)), " · ")), 62)))
		if r.Bar.MayFrom != "" {
			fmt.Fprintf(&b, `<rect x="%.1f" y="%d" width="%.1f" height="18" fill="url(#may)" opacity=".35"/>`, x(r.Bar.MayFrom), y+12, x(r.Bar.MayWide)-left)
		}
		if r.Bar.HasDelay {
			fmt.Fprintf(&b, `<rect x="%.1f" y="%d" width="%.1f" height="10" rx="2" fill="#2f6aa3"/>`, x(r.Bar.From), y+16, x(r.Bar.Width)-left)
		}
		if r.Bar.HasAt {
			fmt.Fprintf(&b, `<circle cx="%.1f" cy="%d" r="4" fill="#1c2733"/>`, x(r.Bar.At), y+21)
		}
		if r.Bar.Ghost != "" {
			fmt.Fprintf(&b, `<line x1="%.1f" x2="%.1f" y1="%d" y2="%d" stroke="#9a6700" stroke-dasharray="3 3"/><circle cx="%.1f" cy="%d" r="4" fill="none" stroke="#9a6700" stroke-width="1.5"/>`, x(r.Bar.Arrow), x(r.Bar.Arrow)+x(r.Bar.ArrowWide)-left, y+34, y+34, x(r.Bar.Ghost), y+34)
		}
		b.WriteString("\n")
	}
	fmt.Fprintf(&b, `<text x="16" y="%d" font-size="11" fill="#5b6b7b">corrected time since the first hop · solid: delay · hatched: its uncertainty · ring: the time as written · red line: lines above it may be forged</text>`+"\n</svg>\n", high-8)
	return b.String()
}

var trustColour = map[trace.Trust]string{
	trace.Ours: "#2e7d32", trace.Vouched: "#66a56a", trace.Boundary: "#1565c0", trace.Sealed: "#00838f", trace.Claimed: "#9aa5b1", trace.Suspect: "#c62828",
}

func nonEmpty(list ...string) []string {
	var out []string
	for _, s := range list {
		if s != "" {
			out = append(out, s)
		}
	}
	return out
}

func clip(s string, n int) string {
	r := []rune(s)
	if len(r) <= n {
		return s
	}
	return string(r[:n-1]) + "…"
}
