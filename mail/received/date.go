package received

import "strings"

// readDate reads the date at s[i:] and returns the position after it. It
// accepts the formats that servers write: RFC 5322 with and without weekday or
// zone, asctime, ISO 8601, the format of Go's Time.String, two-digit years, and
// zones by name. All deviations are reported as defects.
func readDate(s string, i int) (st Stamp, end int, defects Defects, ok bool) {
	d := dateReader{s: s, i: i}
	st, ok = d.read()
	return st, d.i, d.defects, ok
}

// ParseDate parses the date at the start of s in any format found in Received
// fields and reports deviations from RFC 5322 as defects.
func ParseDate(s string) (st Stamp, defects Defects, ok bool) {
	st, _, defects, ok = readDate(s, 0)
	return st, defects, ok
}

type dateReader struct {
	s       string
	i       int
	defects Defects

	year, month, day int
	hour, min, sec   int
	nanos            int
	weekday          int // 1 = Sunday
	zone             ZoneKind
	offset           int
	zoneRead         bool
	seconds          bool
	halfDay          bool // the time has AM or PM
}

func (d *dateReader) read() (Stamp, bool) {
	d.skip(true)
	if n := d.letters(); n >= 3 {
		if d.weekday = weekdayOf(d.s[d.i : d.i+n]); d.weekday != 0 {
			d.i += n
			d.skip(true)
		}
	}
	if d.weekday == 0 {
		d.foreignDay()
	}
	ok := false
	switch n := d.digits(); {
	case n == 4 && (d.at(4) == '-' || d.at(4) == '/'):
		ok = d.iso()
	case n == 1 || n == 2:
		if c := d.at(n); (c == '/' || c == '-' || c == '.') && isDigit(d.at(n+1)) {
			ok = d.slashes()
		} else {
			ok = d.rfc()
		}
	case n == 0 && d.letters() >= 3:
		ok = d.asctime()
	}
	if !ok {
		return Stamp{}, false
	}
	return d.stamp()
}

// foreignDay skips a weekday in another language if a date in the usual form
// follows it: "mar. 12 mai 2026", where "mar." is not March.
func (d *dateReader) foreignDay() {
	save := d.i
	n := d.nameLen()
	if n < 2 || !foreignNames.days[strings.ToLower(d.s[d.i:d.i+n])] {
		return
	}
	d.i += n
	if d.at(0) == '.' {
		d.i++
	}
	d.skip(true)
	begin := d.i
	if k := d.digits(); k == 1 || k == 2 {
		d.number(2)
		if d.at(0) == '.' {
			d.i++
		}
		numeric := isDigit(d.at(0))
		d.dash()
		if numeric || d.monthName() {
			d.i = begin
			return
		}
	}
	d.i = save
}

// nameLen returns the length of the word at the current position, including
// letters outside ASCII.
func (d *dateReader) nameLen() int {
	n := 0
	for n < 24 && (isLetter(d.at(n)) || d.at(n) >= 0x80) {
		n++
	}
	return n
}

// rfc reads "12 May 2026 08:30:00 +0000" and "12-May-26 8:30 GMT".
func (d *dateReader) rfc() bool {
	d.day = d.number(2)
	if d.at(0) == '.' {
		d.i++
	}
	d.dash()
	if !d.monthName() {
		return false
	}
	d.dash()
	if !d.yearNumber() {
		return false
	}
	d.skip(false)
	return d.clock() && d.zoneText()
}

// asctime reads "May 12 08:30:02 2026" and "May 12 08:30:02 EDT 2026".
func (d *dateReader) asctime() bool {
	if !d.monthName() {
		return false
	}
	d.skip(false)
	if n := d.digits(); n == 0 || n > 2 {
		return false
	}
	d.day = d.number(2)
	d.skip(true)
	if n := d.digits(); n == 4 && d.at(4) != ':' { // May 12, 2026 08:30
		if !d.yearNumber() {
			return false
		}
		d.skip(true)
		d.defects |= OddDate
		return d.clock() && d.zoneText()
	}
	if !d.clock() || !d.zoneText() {
		return false
	}
	d.skip(false)
	if !d.yearNumber() {
		return false
	}
	d.defects |= AsctimeDate
	if !d.zoneRead {
		return d.zoneText()
	}
	return true
}

// iso reads "2026-05-12T08:30:00.123Z", "2026/05/12 08:30:00" and Go's "... +0000 UTC m=+1.2".
func (d *dateReader) iso() bool {
	d.yearNumber()
	sep := d.at(0)
	d.i++
	if n := d.digits(); n != 2 {
		return false
	}
	d.month = d.number(2)
	if d.at(0) != sep {
		return false
	}
	d.i++
	if n := d.digits(); n != 2 {
		return false
	}
	d.day = d.number(2)
	if c := d.at(0); c == 'T' || c == 't' {
		d.i++
	}
	d.skip(false)
	d.defects |= OddDate
	if !d.clock() || !d.zoneText() {
		return false
	}
	if d.zone == NumericZone || d.zone == UnknownZone { // +0000 UTC m=+1.2
		save := d.i
		d.skip(false)
		if n := d.letters(); n >= 2 && n <= 5 && d.s[d.i] < 'a' {
			d.i += n
		} else {
			d.i = save
		}
		save = d.i
		d.skip(false)
		if d.at(0) == 'm' && d.at(1) == '=' {
			for d.i < len(d.s) && class[d.s[d.i]] == plain {
				d.i++
			}
		} else {
			d.i = save
		}
	}
	return true
}

// slashes reads "05/12/2026 08:30:00 AM", "4-20-2018" and "12.05.2026 8:30". With
// dots, the day is first. Otherwise the month is, unless that would be invalid or
// contradict the weekday. If the day could be the month and there is neither a
// weekday nor AM or PM, which imply the American order, the date is ambiguous.
func (d *dateReader) slashes() bool {
	d.month = d.number(2)
	sep := d.at(0)
	d.i++
	d.day = d.number(2)
	if d.at(0) != sep {
		return false
	}
	d.i++
	if !d.yearNumber() {
		return false
	}
	swapped := sep == '.' || d.month > 12 && d.day <= 12
	either := sep != '.' && d.month <= 12 && d.day <= 12 && d.month != d.day
	if either && d.weekday != 0 && d.weekdayOn(d.month, d.day) != d.weekday && d.weekdayOn(d.day, d.month) == d.weekday {
		swapped = true
	}
	if swapped {
		d.month, d.day = d.day, d.month
	}
	d.skip(false)
	d.defects |= OddDate
	if !d.clock() {
		return false
	}
	if either && d.weekday == 0 && !d.halfDay {
		d.defects |= AmbiguousDate
	}
	return d.zoneText()
}

// weekdayOn returns the weekday of a day in the year that was read.
func (d *dateReader) weekdayOn(month, day int) int {
	return int(((daysFromCivil(d.year, month, day)+4)%7+7)%7) + 1
}

func (d *dateReader) clock() bool {
	n := d.digits()
	sep := d.at(n)
	if n == 0 || n > 2 || sep != ':' && (sep != '.' || d.at(n+3) != '.') { // 08.30.06
		return false
	}
	d.hour = d.number(2)
	d.i++
	if n := d.digits(); n != 2 {
		return false
	}
	d.min = d.number(2)
	if sep == '.' {
		d.defects |= OddDate
	}
	if d.at(0) == sep && isDigit(d.at(1)) {
		d.i++
		d.seconds = true
		d.sec = d.number(2)
		if c := d.at(0); (c == '.' || c == ',') && isDigit(d.at(1)) {
			d.i++
			scale := 100_000_000
			for isDigit(d.at(0)) {
				d.nanos += int(d.s[d.i]-'0') * scale
				scale /= 10
				d.i++
			}
		}
	}
	save := d.i
	d.skip(false)
	if n := d.letters(); n == 2 && d.at(1)|0x20 == 'm' {
		switch d.at(0) | 0x20 {
		case 'a':
			d.i += 2
			d.halfDay = true
			d.defects |= OddDate
			d.hour %= 12
			return true
		case 'p':
			d.i += 2
			d.halfDay = true
			d.defects |= OddDate
			d.hour = d.hour%12 + 12
			return true
		}
	}
	d.i = save
	return d.hour <= 24 && d.min < 60 && d.sec <= 60
}

// stamp validates the parts of the date and returns the time.
func (d *dateReader) stamp() (Stamp, bool) {
	if d.month < 1 || d.month > 12 || d.day < 1 || d.day > daysIn(d.year, d.month) {
		return Stamp{}, false
	}
	switch d.zone {
	case NoZone:
		d.defects |= DateWithoutZone
	case NamedZone:
		d.defects |= NamedZoneOnly
	}
	days := daysFromCivil(d.year, d.month, d.day)
	if d.weekday != 0 && d.weekdayOn(d.month, d.day) != d.weekday {
		d.defects |= WrongWeekday
	}
	unix := days*86400 + int64(d.hour*3600+d.min*60+d.sec-d.offset)
	return Stamp{Unix: unix, Nanos: int32(d.nanos), Offset: int32(d.offset), Zone: d.zone, Coarse: !d.seconds, OK: true}, true
}

func (d *dateReader) at(n int) byte {
	if d.i+n < len(d.s) {
		return d.s[d.i+n]
	}
	return 0
}

func (d *dateReader) spaces() {
	for d.i < len(d.s) && class[d.s[d.i]] == space {
		d.i++
	}
}

// skip skips spaces, comments and, if commas is set, commas.
func (d *dateReader) skip(commas bool) {
	for d.i < len(d.s) {
		switch c := d.s[d.i]; {
		case class[c] == space, commas && c == ',':
			d.i++
		case c == '(':
			depth := 0
			j := d.i
			end := min(len(d.s), j+256) // longer comments are not part of a date
			for ; j < end; j++ {
				if d.s[j] == '(' {
					depth++
				} else if d.s[j] == ')' {
					if depth--; depth == 0 {
						break
					}
				}
			}
			if j == end {
				return
			}
			d.i = j + 1
		default:
			return
		}
	}
}

func (d *dateReader) dash() {
	if c := d.at(0); c == '-' || c == '/' {
		d.i++
		return
	}
	d.skip(false)
}

func (d *dateReader) letters() int {
	n := 0
	for isLetter(d.at(n)) && n < 12 {
		n++
	}
	return n
}

func (d *dateReader) digits() int {
	n := 0
	for isDigit(d.at(n)) && n < 20 {
		n++
	}
	return n
}

func (d *dateReader) number(most int) int {
	v := 0
	for n := 0; n < most && isDigit(d.at(0)); n++ {
		v = v*10 + int(d.s[d.i]-'0')
		d.i++
	}
	return v
}

func (d *dateReader) yearNumber() bool {
	n := d.digits()
	if n < 2 || n > 4 {
		return false
	}
	d.year = d.number(4)
	switch {
	case n == 2 && d.year < 50:
		d.year += 2000
		d.defects |= TwoDigitYear
	case n < 4: // RFC 5322, 4.3: 1950 to 1999, and three digits count from 1900
		d.year += 1900
		d.defects |= TwoDigitYear
	}
	// No mail is older than this, and later years would overflow a
	// Duration.
	return d.year >= 1970 && d.year < 2200
}

func (d *dateReader) monthName() bool {
	n := d.nameLen()
	if n < 3 {
		return false
	}
	name := d.s[d.i : d.i+n]
	if d.month = monthOf(name); d.month == 0 || n > 3 {
		if m, ok := foreignNames.months[strings.ToLower(name)]; ok {
			d.month = m
			d.defects |= OddDate
		}
	}
	d.i += n
	if d.at(0) == '.' {
		d.i++
	}
	return d.month != 0
}
