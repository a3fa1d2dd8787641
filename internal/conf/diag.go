package conf

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/hashicorp/hcl/v2"

	"hoplite/mail/safe"
)

// Range is a range of a file from Start up to End; lines and columns count from 1.
type Range = hcl.Range

// Diagnostic is one finding about a file.
type Diagnostic struct {
	// Where is the finding's position; the zero Range means the whole file.
	Where Range
	// Summary describes the problem.
	Summary string
	// Detail explains how to correct it; it may be empty or have several lines.
	Detail string
	// Warning marks a finding that does not prevent the use of the file.
	Warning bool
	// Tolerated marks a mistake that concerns a single entry of a list: the server
	// starts without the entry.
	Tolerated bool
}

// Diagnostics collects findings in any order.
type Diagnostics struct {
	list  []Diagnostic
	lines map[string][]string
	// starts holds the line offsets of the parsed source, which may differ from
	// the file: see mendQuotes.
	starts map[string][]int
}

// Add adds a mistake at r.
func (d *Diagnostics) Add(r Range, summary, detail string) {
	d.add(Diagnostic{Where: r, Summary: summary, Detail: detail})
}

// Tolerate adds a mistake at r that does not prevent the start.
func (d *Diagnostics) Tolerate(r Range, summary, detail string) {
	d.add(Diagnostic{Where: r, Summary: summary, Detail: detail, Tolerated: true})
}

// Warn adds a warning at r: valid, but probably unintended.
func (d *Diagnostics) Warn(r Range, summary, detail string) {
	d.add(Diagnostic{Where: r, Summary: summary, Detail: detail, Warning: true})
}

// add adds a finding unless it is already listed, because two steps may find
// the same mistake.
func (d *Diagnostics) add(one Diagnostic) {
	if !slices.Contains(d.list, one) {
		d.list = append(d.list, one)
	}
}

// Mistakes returns the number of findings that are not warnings.
func (d *Diagnostics) Mistakes() int {
	n := 0
	for i := range d.list {
		if !d.list[i].Warning {
			n++
		}
	}
	return n
}

// Tolerated returns the mistakes that do not prevent the start, in file order.
func (d *Diagnostics) Tolerated() []Diagnostic {
	return slices.DeleteFunc(d.All(), func(one Diagnostic) bool { return !one.Tolerated })
}

// All returns the findings in file order.
func (d *Diagnostics) All() []Diagnostic {
	list := slices.Clone(d.list)
	slices.SortStableFunc(list, func(a, b Diagnostic) int {
		if c := strings.Compare(a.Where.Filename, b.Where.Filename); c != 0 {
			return c
		}
		return a.Where.Start.Byte - b.Where.Start.Byte
	})
	return list
}

// Warnings returns the warnings and tolerated mistakes as Write prints them, one text each.
func (d *Diagnostics) Warnings() []string {
	var texts []string
	for _, one := range d.All() {
		if one.Warning || one.Tolerated {
			var b strings.Builder
			d.write(&b, one)
			texts = append(texts, strings.TrimRight(b.String(), "\n"))
		}
	}
	return texts
}

// Err returns nil if there are no mistakes but tolerated ones, else an error with the text that
// Write prints.
func (d *Diagnostics) Err() error {
	if d.Mistakes() == len(d.Tolerated()) {
		return nil
	}
	return diagError{d}
}

// Lines returns the mistakes, or the warnings, as plain texts of one line each,
// for programs.
func (d *Diagnostics) Lines(warnings bool) []string {
	var texts []string
	for _, one := range d.All() {
		if one.Warning == warnings {
			text := one.head()
			if one.Detail != "" {
				text += ". " + one.Detail
			}
			texts = append(texts, strings.Join(strings.Fields(text), " "))
		}
	}
	return texts
}

// Plain returns an error as one line; the mistakes of Diagnostics.Err are
// separated by semicolons.
func Plain(err error) string {
	text := err.Error()
	if mistakes := (diagError{}); errors.As(err, &mistakes) {
		text = strings.Join(mistakes.d.Lines(false), "; ")
	}
	return strings.Join(strings.Fields(text), " ")
}

type diagError struct{ d *Diagnostics }

// ErrMistakes matches the errors returned by Diagnostics.Err, using errors.Is.
var ErrMistakes = errors.New("the configuration has errors")

func (e diagError) Is(target error) bool { return target == ErrMistakes }

func (e diagError) Error() string {
	var b strings.Builder
	e.d.Write(&b)
	return strings.TrimRight(b.String(), "\n")
}

// width is a line width that fits every terminal.
const width = 80

// Write prints the findings in file order, at most 80 columns wide, each with
// its position, the line in question, and how to correct it.
func (d *Diagnostics) Write(w io.Writer) {
	for i, one := range d.All() {
		if i > 0 {
			fmt.Fprintln(w)
		}
		d.write(w, one)
	}
}

// head returns the position and the summary.
func (one *Diagnostic) head() string {
	head := one.Summary
	if one.Warning {
		head = "warning: " + head
	}
	if one.Where.Filename != "" {
		place := one.Where.Filename
		if one.Where.Start.Line > 0 {
			place = fmt.Sprintf("%s:%d:%d", place, one.Where.Start.Line, one.Where.Start.Column)
		}
		head = place + ": " + head
	}
	return head
}

func (d *Diagnostics) write(w io.Writer, one Diagnostic) {
	for _, line := range Wrap(one.head(), "", "    ", width) {
		fmt.Fprintln(w, line)
	}
	d.quote(w, one.Where)
	for _, line := range Wrap(one.Detail, "  ", "  ", width) {
		fmt.Fprintln(w, line)
	}
}

// secretValue matches a password in a quoted line. Passwords are hidden because
// reports are often pasted into tickets.
var secretValue = regexp.MustCompile(`(?i)((?:pass|secret|token|api_?key)\w*\s*=\s*)"[^"]*"?`)

// quote prints the line on which r starts, with a marker below the position.
func (d *Diagnostics) quote(w io.Writer, r Range) {
	lines := d.lines[r.Filename]
	if r.Start.Line < 1 || r.Start.Line > len(lines) {
		return
	}
	line := lines[r.Start.Line-1]
	hidden := secretValue.ReplaceAllString(line, `$1"***"`)
	start := min(max(r.Start.Byte-d.starts[r.Filename][r.Start.Line-1], 0), len(line))
	mark := utf8.RuneCountInString(line[start:])
	if r.End.Line == r.Start.Line {
		mark = min(mark, utf8.RuneCountInString(line[start:])-utf8.RuneCountInString(line[min(start+r.End.Byte-r.Start.Byte, len(line)):]))
	}
	before := expandTabs(line[:start])
	if hidden != line {
		before, mark = before[:min(len(before), len(hidden))], 1
	}
	text, col := cutAround(expandTabs(hidden), utf8.RuneCountInString(before), width-8)
	text = safe.Line(text)
	gutter := fmt.Sprintf("%5d", r.Start.Line)
	fmt.Fprintf(w, "%s | %s\n", gutter, text)
	fmt.Fprintf(w, "%s | %s%s\n", strings.Repeat(" ", len(gutter)), strings.Repeat(" ", col),
		strings.Repeat("^", max(1, min(mark, utf8.RuneCountInString(text)-col))))
}

func expandTabs(s string) string { return strings.ReplaceAll(s, "\t", "  ") }

// cutAround shortens a long line so that column col remains visible.
func cutAround(line string, col, room int) (string, int) {
	runes := []rune(line)
	if len(runes) <= room {
		return strings.TrimRight(line, " "), col
	}
	from := max(0, min(col-room/2, len(runes)-room))
	cut := runes[from:min(from+room, len(runes))]
	if from > 0 {
		cut[0] = '…'
	}
	if from+room < len(runes) {
		cut[len(cut)-1] = '…'
	}
	return string(cut), col - from
}

// text returns the source at r.
func (d *Diagnostics) text(r Range) string {
	whole := strings.Join(d.lines[r.Filename], "\n")
	if r.Start.Byte < 0 || r.End.Byte > len(whole) || r.Start.Byte > r.End.Byte {
		return ""
	}
	return whole[r.Start.Byte:r.End.Byte]
}

func (d *Diagnostics) addSource(name string, src []byte) {
	if d.lines == nil {
		d.lines, d.starts = map[string][]string{}, map[string][]int{}
	}
	d.lines[name] = strings.Split(string(src), "\n")
	d.setStarts(name, d.lines[name])
}

func (d *Diagnostics) setStarts(name string, lines []string) {
	starts, at := make([]int, len(lines)), 0
	for i, l := range lines {
		starts[i] = at
		at += len(l) + 1
	}
	d.starts[name] = starts
}

// Wrap breaks text at spaces into lines of at most cols columns. The first line
// starts with first, the others with next; line breaks in text are kept.
func Wrap(text, first, next string, cols int) []string {
	if text == "" {
		return nil
	}
	var out []string
	indent := first
	for para := range strings.SplitSeq(text, "\n") {
		line := indent
		empty := true
		// Leading spaces indent the whole paragraph.
		own := para[:len(para)-len(strings.TrimLeft(para, " "))]
		line += own
		for word := range strings.FieldsSeq(para) {
			if !empty && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > cols {
				out = append(out, line)
				line, empty = next+own, true
			}
			if !empty {
				line += " "
			}
			line, empty = line+word, false
		}
		out = append(out, strings.TrimRight(line, " "))
		indent = next
	}
	return out
}
