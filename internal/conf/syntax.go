package conf

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// parseBody parses src and reports syntax mistakes. It returns nil after any
// mistake other than missing quotes, because the resulting errors would be
// misleading.
func parseBody(name string, src []byte, diags *Diagnostics) *hclsyntax.Body {
	file, found := hclsyntax.ParseConfig(src, name, hcl.InitialPos)
	if found.HasErrors() {
		if mended := mendQuotes(name, src, diags); mended != nil {
			file, found = hclsyntax.ParseConfig(mended, name, hcl.InitialPos)
		}
	}
	for _, d := range withoutConsequences(found) {
		diags.addHCL(d)
	}
	if file == nil || found.HasErrors() {
		return nil
	}
	return file.Body.(*hclsyntax.Body)
}

// unquoted matches a size, duration or address without quotes: max = 25MB. The
// parser cannot continue after such a line.
var unquoted = regexp.MustCompile(`^(\s*\w+\s*=\s*)([0-9][0-9A-Za-z.:/]*[A-Za-z.:/][0-9A-Za-z.:/]*)\s*(?:(?:#|//).*)?$`)

// mendQuotes reports sizes, durations and addresses without quotes and returns
// src with quotes around them, so that other mistakes are found in the same run.
// It returns nil if there are none.
func mendQuotes(name string, src []byte, diags *Diagnostics) []byte {
	lines := strings.Split(string(src), "\n")
	mended, offset := false, 0
	for i, line := range lines {
		if m := unquoted.FindStringSubmatchIndex(strings.TrimRight(line, "\r")); m != nil {
			value := line[m[4]:m[5]]
			at := func(col int) hcl.Pos { return hcl.Pos{Line: i + 1, Column: col + 1, Byte: offset + col} }
			diags.Add(Range{Filename: name, Start: at(m[4]), End: at(m[5])}, value+" must be in quotes",
				fmt.Sprintf("Write %s%q.", strings.TrimSpace(line[m[2]:m[3]])+" ", value))
			lines[i] = line[:m[4]] + `"` + value + `"` + line[m[5]:]
			mended = true
		}
		offset += len(lines[i]) + 1
	}
	if !mended {
		return nil
	}
	diags.setStarts(name, lines)
	return []byte(strings.Join(lines, "\n"))
}

// unclosedQuote is the parser's summary of every line end inside quotes.
const unclosedQuote = "Invalid multi-line string"

// withoutConsequences removes the findings that follow from an unclosed quote:
// the others on its line, all on later lines, where text and quotes have changed
// places, and the blocks that seem to be open at the end.
func withoutConsequences(found hcl.Diagnostics) hcl.Diagnostics {
	var first *hcl.Diagnostic
	for _, d := range found {
		if d.Summary == unclosedQuote && (first == nil || d.Subject.Start.Byte < first.Subject.Start.Byte) {
			first = d
		}
	}
	if first == nil {
		return found
	}
	var kept hcl.Diagnostics
	for _, d := range found {
		if d.Subject != nil && d.Subject.Start.Line < first.Subject.Start.Line && d.Summary != "Unclosed configuration block" {
			kept = append(kept, d)
		}
	}
	return append(kept, &hcl.Diagnostic{
		Severity: hcl.DiagError,
		Summary:  "a quote is not closed on this line",
		Detail:   `Write the missing ". For a text of several lines, write \n in it, or use <<EOT.`,
		Subject:  first.Subject,
	})
}

func (d *Diagnostics) addHCL(h *hcl.Diagnostic) {
	var r Range
	if h.Subject != nil {
		r = *h.Subject
	}
	d.Add(r, h.Summary, h.Detail)
}
