package tracetext

import (
	"fmt"
	"strings"

	"hoplite/mail/received"
	"hoplite/mail/trace"
)

// marked is a piece of a line, with a letter for each character that belongs to
// a part.
type marked struct{ text, letters []rune }

// Explain prints one line verbatim, with letters under its parts.
func Explain(s *Screen, st *trace.Step) {
	fmt.Fprintf(s.w, "line %d, %s\n\n", st.Index, st.Trust)
	letters := make([]byte, len(st.Raw))
	for i := range letters {
		letters[i] = ' '
	}
	type part struct{ letter, name, text string }
	var parts []part
	for _, f := range received.Parts() {
		span, ok := st.Span(f)
		if !ok {
			continue
		}
		letter := byte('a' + len(parts))
		parts = append(parts, part{string(letter), f.String(), st.Raw[span.Start:span.End]})
		for i := span.Start; i < span.End; i++ {
			letters[i] = letter
		}
	}
	for _, m := range mark(s, st.Raw, letters) {
		underline(s, m)
	}
	fmt.Fprintln(s.w)
	for _, p := range parts {
		s.wrapped(fmt.Sprintf("  %s %-14s ", s.paint(yellow, p.letter), p.name), 19, p.text)
	}
	if st.Defects != 0 {
		s.wrapped("  irregular: ", 13, strings.Join(st.Defects.List(), ", "))
	}
	for _, r := range st.Reasons {
		s.wrapped("  trust: ", 9, r)
	}
}

// mark returns the lines of a folded field as printed, each after its letter.
func mark(s *Screen, raw string, letters []byte) []marked {
	var lines []marked
	pos := 0
	for line := range strings.Lines(raw) {
		var m marked
		for i, r := range line {
			if r == '\r' || r == '\n' {
				continue
			}
			for _, shown := range s.words(string(r)) {
				m.text = append(m.text, shown)
				m.letters = append(m.letters, rune(letters[pos+i]))
			}
		}
		pos += len(line)
		lines = append(lines, m)
	}
	return lines
}

// underline prints a line with its letters below it, wrapped into as many rows
// as needed.
func underline(s *Screen, m marked) {
	for start := 0; start < len(m.text); start += s.width {
		end := min(start+s.width, len(m.text))
		fmt.Fprintln(s.w, strings.TrimRight(string(m.text[start:end]), " "))
		if u := strings.TrimRight(string(m.letters[start:end]), " "); u != "" {
			fmt.Fprintln(s.w, s.paint(yellow, u))
		}
	}
}
