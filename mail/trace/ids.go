package trace

import (
	"strings"
	"time"

	"hoplite/mail/received"
)

type idVerdict uint8

const (
	idFine idVerdict = iota
	idOdd
	idOtherStyle
	idOtherTime
)

type idCheck struct {
	verdict idVerdict
	holds   string
	style   string
}

// checkID compares an id with the format used by the server that supposedly
// wrote it, and a time encoded in the id with the stamp.
func checkID(mta, id string, stamp received.Stamp) idCheck {
	switch mta {
	case "Exim":
		if at, ok := eximTime(id); ok {
			return timeCheck(at, stamp, 36*time.Hour)
		}
	case "Postfix":
		if _, ok := eximTime(id); ok && stamp.OK && near(id, stamp) {
			return idCheck{verdict: idOtherStyle, style: "Exim"}
		}
		for i := range len(id) {
			if !isDigit(id[i]) && !isLetter(id[i]) {
				return idCheck{verdict: idOdd}
			}
		}
		// Long ids consist of seconds in base 52 without vowels, then
		// microseconds.
		if at, ok := postfixTime(id); ok {
			if c := timeCheck(at, stamp, 36*time.Hour); c.verdict == idFine {
				return c
			}
			// This may be a short id that looks like a long one.
		}
	case "Sendmail":
		if _, ok := eximTime(id); ok && stamp.OK && near(id, stamp) {
			return idCheck{verdict: idOtherStyle, style: "Exim"}
		}
		return sendmailID(id, stamp)
	case "Gmail":
		if at, ok := gmailTime(id); ok {
			return timeCheck(at, stamp, 36*time.Hour)
		}
	}
	return idCheck{}
}

// near reports whether an id parsed as an Exim id has a time near the stamp,
// which rules out a coincidence.
func near(id string, stamp received.Stamp) bool {
	at, _ := eximTime(id)
	d := at.Unix() - stamp.Unix
	return d > -7*86400 && d < 86400
}

func timeCheck(at time.Time, stamp received.Stamp, within time.Duration) idCheck {
	if !stamp.OK {
		return idCheck{}
	}
	// The id is created when the message enters the queue, up to five days
	// before the date of the line and never much later than it.
	d := at.Sub(stamp.Time())
	if d > within || d < -within-5*24*time.Hour {
		return idCheck{verdict: idOtherTime, holds: at.UTC().Format("2006-01-02 15:04 MST")}
	}
	return idCheck{}
}

// eximTime parses ids such as 1t0abc-0001Ab-2x and the longer ids of Exim 4.97:
// seconds since 1970 in base 62.
func eximTime(id string) (time.Time, bool) {
	if !(len(id) == 16 && id[6] == '-' && id[13] == '-') && !(len(id) == 23 && id[6] == '-' && id[18] == '-') {
		return time.Time{}, false
	}
	var v int64
	for i := range 6 {
		d := strings.IndexByte("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", id[i])
		if d < 0 {
			return time.Time{}, false
		}
		v = v*62 + int64(d)
	}
	return time.Unix(v, 0), true
}

// postfixTime parses a long queue id: six or more characters for the seconds,
// four for the microseconds, "z", and the inode.
func postfixTime(id string) (time.Time, bool) {
	const alphabet = "0123456789BCDFGHJKLMNPQRSTVWXYZbcdfghjklmnpqrstvwxyz"
	z := strings.LastIndexByte(id, 'z')
	if z < 10 || len(id) < 12 {
		return time.Time{}, false
	}
	var v int64
	for i := range z - 4 {
		d := strings.IndexByte(alphabet, id[i])
		if d < 0 || v > 1<<40 {
			return time.Time{}, false
		}
		v = v*52 + int64(d)
	}
	return time.Unix(v, 0), true
}

// sendmailID checks the 14-character ids of sendmail since 8.12: year to second
// in base 60, then a number. 644C8Uab009123 is from May 2026.
func sendmailID(id string, stamp received.Stamp) idCheck {
	if len(id) != 14 || !stamp.OK {
		return idCheck{}
	}
	const alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwx"
	var v [6]int
	for i := range v {
		if v[i] = strings.IndexByte(alphabet, id[i]); v[i] < 0 {
			return idCheck{}
		}
	}
	for i := 8; i < 14; i++ {
		if !isDigit(id[i]) {
			return idCheck{}
		}
	}
	if v[1] > 11 || v[2] < 1 || v[2] > 31 || v[3] > 23 {
		return idCheck{verdict: idOdd}
	}
	// The year repeats every 60 years. The id is in the server's local
	// time.
	year := stamp.Time().Year()
	base := year - (year-1900)%60 + v[0]
	if base > year+30 {
		base -= 60
	}
	if base < year-30 {
		base += 60
	}
	at := time.Date(base, time.Month(v[1]+1), v[2], v[3], v[4], v[5], 0, time.UTC)
	return timeCheck(at, stamp, 48*time.Hour)
}

// gmailTime parses ids such as "...sm15339981pgv.76.2021.06.15.02.55.37", which
// contain the date in Pacific time.
func gmailTime(id string) (time.Time, bool) {
	if len(id) < 20 {
		return time.Time{}, false
	}
	at, err := time.Parse("2006.01.02.15.04.05", id[len(id)-19:])
	if err != nil {
		return time.Time{}, false
	}
	return at.Add(7 * time.Hour), true
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func isLetter(c byte) bool { c |= 0x20; return c >= 'a' && c <= 'z' }
