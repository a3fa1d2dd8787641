package conf

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Rate is a number of events per duration, written "30/1m". The zero Rate,
// written "0", means no limit.
type Rate struct {
	// Count is the maximum number of events in the period Per.
	Count int
	// Per is positive unless Count is 0.
	Per time.Duration
}

// ParseRate parses a rate; the error explains the notation.
func ParseRate(s string) (Rate, error) {
	text := strings.TrimSpace(s)
	if text == "0" {
		return Rate{}, nil
	}
	count, per, ok := strings.Cut(text, "/")
	if !ok {
		return Rate{}, fmt.Errorf(`%q is not a rate; write a number and a duration, "30/1m"`, s)
	}
	n, err := strconv.Atoi(count)
	if err != nil || n < 1 {
		return Rate{}, fmt.Errorf("%q does not begin with a number of 1 or more", s)
	}
	d, err := ParseDuration(per)
	if err != nil {
		return Rate{}, err
	}
	if d < time.Second {
		return Rate{}, fmt.Errorf("%q has a period of less than a second", s)
	}
	return Rate{Count: n, Per: d}, nil
}

// Limited reports whether r limits anything.
func (r Rate) Limited() bool { return r.Count > 0 }

// String returns r in the form that ParseRate parses.
func (r Rate) String() string {
	if !r.Limited() {
		return "0"
	}
	return strconv.Itoa(r.Count) + "/" + FormatDuration(r.Per)
}
