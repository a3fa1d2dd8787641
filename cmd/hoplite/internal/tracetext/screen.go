// Package tracetext prints traces, comparisons and stories of messages in 80
// columns or the width of the terminal, with colours on a terminal unless
// NO_COLOR is set, and in ASCII if the locale is not UTF-8.
//
// Start with New. The content comes from mail/trace, mail/trace/inspect and
// mail/story, and passes through mail/safe. Package main in cmd/hoplite
// contains the commands and their exit codes.
package tracetext

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/mattn/go-isatty"
	"golang.org/x/term"
	"golang.org/x/text/width"

	"hoplite/mail/safe"
	"hoplite/mail/trace"
)

// Screen prints to one writer.
type Screen struct {
	w      io.Writer
	width  int
	colour bool
	ascii  bool
	text   func(string) string // pseudonyms
}

// New returns a Screen for w. text replaces names with pseudonyms; it may be
// nil.
func New(w io.Writer, text func(string) string) *Screen {
	if text == nil {
		text = func(s string) string { return s }
	}
	s := &Screen{w: w, width: 80, text: text, ascii: !utf8Locale()}
	if f, ok := w.(*os.File); ok && isatty.IsTerminal(f.Fd()) {
		s.colour = os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
		if cols, _, err := term.GetSize(int(f.Fd())); err == nil && cols > 0 {
			s.width = cols
		}
	}
	if cols, err := strconv.Atoi(os.Getenv("COLUMNS")); err == nil && cols > 0 {
		s.width = cols
	}
	s.width = min(max(s.width, 60), 200)
	return s
}

func utf8Locale() bool {
	for _, name := range [...]string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if v := strings.ToLower(os.Getenv(name)); v != "" {
			return strings.Contains(v, "utf-8") || strings.Contains(v, "utf8")
		}
	}
	return false
}

// words makes remote text safe to print.
func (s *Screen) words(t string) string {
	t = safe.Line(s.text(t))
	if s.ascii {
		t = safe.ASCII(t)
	}
	return t
}

// The SGR codes in use.
const (
	bold   = "1"
	dim    = "2"
	red    = "31"
	green  = "32"
	yellow = "33"
	blue   = "34"
)

func (s *Screen) paint(code, t string) string {
	if !s.colour || code == "" {
		return t
	}
	return "\x1b[" + code + "m" + t + "\x1b[0m"
}

// sign returns the mark and colour for a degree of trust.
func (s *Screen) sign(t trace.Trust) (mark, colour string) {
	switch t {
	case trace.Ours:
		mark, colour = "●", green
	case trace.Vouched:
		mark, colour = "◐", green
	case trace.Boundary:
		mark, colour = "◆", blue
	case trace.Sealed:
		mark, colour = "■", green
	case trace.Suspect:
		mark, colour = "✗", red
	default:
		mark, colour = "○", ""
	}
	if s.ascii {
		mark = map[trace.Trust]string{trace.Ours: "*", trace.Vouched: "+", trace.Boundary: "#", trace.Sealed: "=", trace.Suspect: "!", trace.Claimed: "."}[t]
	}
	return mark, colour
}

func (s *Screen) arrow() string {
	if s.ascii {
		return ">"
	}
	return "→"
}

// heading prints the title of a section.
func (s *Screen) heading(t string) { fmt.Fprintf(s.w, "\n%s\n", s.paint(bold, t)) }

// cell fits text into a column. It shortens a host name in the middle, because
// the end is more useful.
func (s *Screen) cell(t string, width int) string { return s.fit(s.words(t), width) }

func (s *Screen) fit(t string, width int) string {
	n := columns(t)
	if n <= width {
		return t + strings.Repeat(" ", width-n)
	}
	r := []rune(t)
	dots := "…"
	if s.ascii {
		dots = "~"
	}
	keep := width - 1
	left := head(r, keep/3)
	right := len(r)
	for used := columns(string(r[:left])); right > left && used+columnsOf(r[right-1]) <= keep; right-- {
		used += columnsOf(r[right-1])
	}
	t = string(r[:left]) + dots + string(r[right:])
	return t + strings.Repeat(" ", width-columns(t))
}

func (s *Screen) cellRight(t string, width int) string {
	n := columns(t)
	if n >= width {
		return t
	}
	return strings.Repeat(" ", width-n) + t
}

// wrapped prints text after a label, wrapped at the screen width. Continuation
// lines start at column indent. A word that does not fit on a line is broken,
// unless it is a URL.
func (s *Screen) wrapped(label string, indent int, t string) {
	line, n := label, max(indent, visible(label))
	begun := false
	next := func() {
		fmt.Fprintln(s.w, strings.TrimRight(line, " "))
		line, n, begun = strings.Repeat(" ", indent), indent, false
	}
	for word := range strings.FieldsSeq(s.words(t)) {
		if begun && n+1+columns(word) > s.width {
			next()
		}
		if begun {
			line, n = line+" ", n+1
		}
		runes := []rune(word)
		for columns(string(runes)) > max(s.width-n, 10) && !strings.Contains(word, "://") {
			part := head(runes, max(s.width-n, 10))
			line += string(runes[:part])
			runes = runes[part:]
			next()
		}
		line, n, begun = line+string(runes), n+columns(string(runes)), true
	}
	fmt.Fprintln(s.w, strings.TrimRight(line, " "))
}

// visible returns the width of a label without its colours.
func visible(label string) int {
	n, escape := 0, false
	for _, r := range label {
		switch {
		case r == '\x1b':
			escape = true
		case escape:
			escape = r != 'm'
		default:
			n += columnsOf(r)
		}
	}
	return n
}

// columns returns the width of a text on a terminal.
func columns(t string) int {
	n := 0
	for _, r := range t {
		n += columnsOf(r)
	}
	return n
}

// columnsOf returns the width of a character: two columns for an East Asian wide
// one.
func columnsOf(r rune) int {
	if r < 0x1100 {
		return 1
	}
	if k := width.LookupRune(r).Kind(); k == width.EastAsianWide || k == width.EastAsianFullwidth {
		return 2
	}
	return 1
}

// head returns the number of leading runes that fit into the given columns.
func head(r []rune, limit int) int {
	used := 0
	for i := range r {
		if used += columnsOf(r[i]); used > limit {
			return i
		}
	}
	return len(r)
}

func orWord(s, or string) string {
	if s == "" {
		return or
	}
	return s
}
