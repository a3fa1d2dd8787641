package received

import "strings"

// zoneText reads the zone, if there is one. It always returns true.
func (d *dateReader) zoneText() bool {
	save := d.i
	d.spaces()
	switch c := d.at(0); {
	case c == '+' || c == '-':
		if d.numericZone() {
			return true
		}
	case isLetter(c):
		if d.namedZone() {
			return true
		}
	case c == '(':
		// A name in parentheses may be the only zone.
		d.i++
		if d.namedZone() {
			d.spaces()
			if d.at(0) == ')' {
				d.i++
				return true
			}
		}
		d.zone, d.zoneRead, d.offset = NoZone, false, 0
	}
	d.i = save
	return true
}

func (d *dateReader) numericZone() bool {
	neg := d.at(0) == '-'
	d.i++
	n := d.digits()
	var off int
	switch {
	case (n == 2 || n == 1) && d.at(n) == ':':
		off = d.number(2) * 3600
		d.i++
		off += d.number(2) * 60
	case n == 4:
		v := d.number(4)
		off = v/100*3600 + v%100*60
	case n == 3:
		v := d.number(3)
		off = v/100*3600 + v%100*60
	case n == 2 || n == 1:
		off = d.number(2) * 3600
	default:
		return false
	}
	if off > 24*3600 { // nonsense such as +9999
		d.zone, d.zoneRead = NoZone, true
		return true
	}
	d.zone, d.zoneRead = NumericZone, true
	if neg {
		if off = -off; off == 0 {
			d.zone = UnknownZone
		}
	}
	d.offset = off
	return true
}

func (d *dateReader) namedZone() bool {
	n := d.letters()
	if n == 0 || n > 5 || d.at(n) == '.' || d.at(n) == ' ' && isLetter(d.at(n+1)) {
		if d.longZone() {
			return true
		}
	}
	if n == 3 && isDigit(d.at(3)) && d.seasonalZone() {
		return true
	}
	if n == 0 || n > 5 {
		return false
	}
	off, known := zoneOf(d.s[d.i : d.i+n])
	if !known {
		return false
	}
	d.i += n
	d.zone, d.zoneRead, d.offset = NamedZone, true, off
	if c := d.at(0); (c == '+' || c == '-') && isDigit(d.at(1)) { // GMT+0200
		return d.numericZone()
	}
	save := d.i
	d.spaces()
	if fold(d.s[d.i:d.i+min(3, len(d.s)-d.i)], "dst") { // MET DST
		d.i += 3
		d.offset += 3600
	} else {
		d.i = save
	}
	return true
}

// maxZoneName is the maximum length of a long zone name.
const maxZoneName = 40

// longZone reads "Pacific Daylight Time", "W. Europe Standard Time" and their
// names in other languages.
func (d *dateReader) longZone() bool {
	end := d.i
	for end < len(d.s) && end < d.i+maxZoneName && d.s[end] != ';' && d.s[end] != '\r' && d.s[end] != '\n' {
		end++
	}
	text := strings.ToLower(d.s[d.i:end])
	if len(text) != end-d.i {
		return false // no known name has such letters
	}
	for n := len(text); n > 0; n = strings.LastIndexByte(text[:n], ' ') {
		name := strings.TrimRight(text[:n], " )")
		if min, ok := zoneInWords(name); ok {
			d.i += len(name)
			d.zone, d.zoneRead, d.offset = NamedZone, true, min*60
			return true
		}
	}
	return false
}

// zoneInWords returns the offset of a long zone name in minutes east of UTC.
func zoneInWords(name string) (minutes int, ok bool) {
	if minutes, ok = namedZones.whole[name]; ok {
		return minutes, true
	}
	for _, season := range [...]struct {
		suffix string
		add    int
	}{{" standard time", 0}, {" daylight time", 60}, {" summer time", 60}} {
		if base, found := strings.CutSuffix(name, season.suffix); found {
			minutes, ok = namedZones.standard[base]
			return minutes + season.add, ok
		}
	}
	return 0, false
}

// seasonalZone reads "EST5EDT" and similar names, whose offset depends on the
// date. Since 2007, daylight saving time has lasted from the second Sunday in
// March to the first Sunday in November.
func (d *dateReader) seasonalZone() bool {
	if d.i+7 > len(d.s) || isLetter(d.at(7)) {
		return false
	}
	var hours int
	switch strings.ToUpper(d.s[d.i : d.i+7]) {
	case "EST5EDT":
		hours = -5
	case "CST6CDT":
		hours = -6
	case "MST7MDT":
		hours = -7
	case "PST8PDT":
		hours = -8
	default:
		return false
	}
	if americanSummer(d.year, d.month, d.day) {
		hours++
	}
	d.i += 7
	d.zone, d.zoneRead, d.offset = NamedZone, true, hours*3600
	return true
}

// americanSummer reports whether daylight saving time was in force on a day.
func americanSummer(y, m, day int) bool {
	switch {
	case m > 3 && m < 11:
		return true
	case m == 3:
		return day >= 7+firstSunday(y, 3)
	case m == 11:
		return day < firstSunday(y, 11)
	}
	return false
}

// firstSunday returns the day of the first Sunday in a month.
func firstSunday(y, m int) int {
	weekday := int(((daysFromCivil(y, m, 1)+4)%7 + 7) % 7) // 0 is Sunday
	return (7-weekday)%7 + 1
}
