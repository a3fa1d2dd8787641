// Package terminal prints text for a terminal of 80 columns.
package terminal

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"hoplite/internal/conf"
)

// Columns is a line width that fits every terminal.
const Columns = 80

// Wrap prints text after a label, with continuation lines aligned to the start of
// the text.
func Wrap(w io.Writer, label, text string) {
	Indent(w, label, strings.Repeat(" ", utf8.RuneCountInString(label)), strings.Join(strings.Fields(text), " "))
}

// Indent prints text whose first line starts with first and whose other lines
// start with next.
func Indent(w io.Writer, first, next, text string) {
	if text == "" {
		fmt.Fprintln(w, first)
		return
	}
	for _, line := range conf.Wrap(text, first, next, Columns) {
		fmt.Fprintln(w, line)
	}
}

// Columned prints text whose columns are separated by two spaces after a label. A
// line that is too long is broken between columns.
func Columned(w io.Writer, label, text string) {
	line := label + strings.TrimRight(text, " ")
	if utf8.RuneCountInString(line) <= Columns {
		fmt.Fprintln(w, line)
		return
	}
	indent := strings.Repeat(" ", utf8.RuneCountInString(label))
	line = label
	for column := range strings.SplitSeq(text, "  ") {
		if column = strings.TrimSpace(column); column == "" {
			continue
		}
		if line != label && line != indent {
			if utf8.RuneCountInString(line)+2+utf8.RuneCountInString(column) > Columns {
				fmt.Fprintln(w, line)
				line = indent
			} else {
				line += "  "
			}
		}
		line += column
	}
	fmt.Fprintln(w, line)
}

// Count returns n with its noun: "1 message", "2 messages".
func Count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
