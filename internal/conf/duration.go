package conf

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

var timeUnits = map[string]time.Duration{
	"ms": time.Millisecond, "s": time.Second, "m": time.Minute, "h": time.Hour,
	"d": 24 * time.Hour, "w": 7 * 24 * time.Hour,
}

// ParseDuration parses "30s", "5m", "36h", "5d", "1h30m"; a day has 24 hours. A
// number without a unit is an error, except 0.
func ParseDuration(s string) (time.Duration, error) {
	rest, total := strings.TrimSpace(s), 0.0
	if rest == "0" {
		return 0, nil
	}
	bad := fmt.Errorf("%q is not a duration; units are ms, s, m, h, d, w", s)
	if rest == "" {
		return 0, bad
	}
	for rest != "" {
		n := strings.IndexFunc(rest, func(r rune) bool { return (r < '0' || r > '9') && r != '.' })
		if n < 0 {
			return 0, fmt.Errorf("%q has no unit; units are ms, s, m, h, d, w", s)
		}
		num, err := strconv.ParseFloat(rest[:n], 64)
		if err != nil {
			return 0, bad
		}
		rest = rest[n:]
		n = strings.IndexFunc(rest, func(r rune) bool { return r >= '0' && r <= '9' || r == '.' })
		if n < 0 {
			n = len(rest)
		}
		unit, ok := timeUnits[rest[:n]]
		if !ok {
			return 0, bad
		}
		total += num * float64(unit)
		rest = rest[n:]
	}
	if total >= math.MaxInt64 {
		return 0, fmt.Errorf("%q is too large", s)
	}
	return time.Duration(total), nil
}

// FormatDuration returns d in the form that ParseDuration parses: "5d", "36h", "1h30m".
func FormatDuration(d time.Duration) string {
	if d == 0 {
		return "0"
	}
	if d%(24*time.Hour) == 0 {
		return strconv.FormatInt(int64(d/(24*time.Hour)), 10) + "d"
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
