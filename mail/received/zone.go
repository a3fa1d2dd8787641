package received

// zoneText reads the zone, if there is one; it always succeeds.
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
		// Only a name in parentheses: better than nothing.
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
