package received

// dateRange is the byte range of the date. It is empty if end is 0.
type dateRange struct{ start, end int32 }

func (r dateRange) holds(t *token) bool { return t.start >= r.start && t.start < r.end }

// findDate looks for the date after the last semicolon. If there is none, it
// uses the last words that form a date. It runs before the clauses are read, so
// that the date's words do not become part of them.
func findDate(d *draft, toks []token) dateRange {
	f := dateFinder{draft: d}
	f.afterSemicolon(toks)
	if f.end > 0 {
		return f.dateRange
	}
	f.anywhere(toks)
	if f.end > 0 {
		d.line.Defects |= NoSemicolon
	} else {
		d.line.Defects |= NoDate
	}
	return f.dateRange
}

type dateFinder struct {
	*draft
	dateRange
}

func (f *dateFinder) afterSemicolon(toks []token) {
	semicolons, tried := 0, 0
	for i := len(toks) - 1; i >= 0 && tried < 4; i-- {
		if toks[i].kind != semicolon {
			continue
		}
		semicolons++
		if f.end > 0 {
			continue
		}
		tried++
		f.try(int(toks[i].end))
	}
	if semicolons > 1 {
		f.line.Defects |= ManySemicolons
	}
}

func (f *dateFinder) anywhere(toks []token) {
	tried := 0
	for i := len(toks) - 1; i >= 0 && tried < 64; i-- {
		t := toks[i]
		if t.kind != word || t.end-t.start > 10 {
			continue
		}
		tried++
		if c := f.s[t.start]; !isDigit(c) && !dayOrMonth(f.s[t.start:t.end]) {
			continue
		}
		// The date may start further left, with its weekday or day of
		// the month.
		before := f.end
		f.try(int(t.start))
		if before > 0 && (f.end < before || f.start != t.start) {
			break
		}
	}
}

func dayOrMonth(s string) bool {
	return len(s) >= 3 && isLetter(s[0]) && isLetter(s[1]) && isLetter(s[2]) && (weekdayOf(s) != 0 || monthOf(s) != 0)
}

// try reads a date that starts at i. Once a date has been found, only a longer
// form of the same date is accepted.
func (f *dateFinder) try(i int) {
	st, end, defects, ok := readDate(f.s, i)
	if !ok || f.end > 0 && end != int(f.end) {
		return
	}
	start := i
	for start < end && class[f.s[start]] == space {
		start++
	}
	const ofDate = DateWithoutZone | NamedZoneOnly | TwoDigitYear | AsctimeDate | OddDate | WrongWeekday | AmbiguousDate
	f.line.Stamp = st
	f.line.Defects = f.line.Defects&^ofDate | defects
	f.dateRange = dateRange{int32(start), int32(end)}
	f.set(PartDate, start, end)
}
