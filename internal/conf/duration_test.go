package conf

import (
	"testing"
	"time"
)

func TestParseDuration(t *testing.T) {
	const day = 24 * time.Hour
	for _, c := range []struct {
		text string
		want time.Duration
	}{
		{"0", 0},
		{" 0 ", 0},
		{"0s", 0},
		{"1ms", time.Millisecond},
		{"30s", 30 * time.Second},
		{"5m", 5 * time.Minute},
		{"36h", 36 * time.Hour},
		{"5d", 5 * day},
		{"2w", 14 * day},
		{"1h30m", 90 * time.Minute},
		{"1d12h", 36 * time.Hour},
		{"1w1d1h1m1s1ms", 8*day + time.Hour + time.Minute + time.Second + time.Millisecond},
		{"1.5h", 90 * time.Minute},
		{".5m", 30 * time.Second},
		{"  10m  ", 10 * time.Minute},
		{"106751d", 106751 * day},
	} {
		got, err := ParseDuration(c.text)
		if err != nil || got != c.want {
			t.Errorf("ParseDuration(%q) = %v, %v; want %v", c.text, got, err, c.want)
		}
	}
}

func TestParseDurationErrors(t *testing.T) {
	const units = "; units are ms, s, m, h, d, w"
	for _, c := range []struct{ text, want string }{
		{"", `"" is not a duration` + units},
		{"  ", `"  " is not a duration` + units},
		{"5", `"5" has no unit` + units},
		{"1h30", `"1h30" has no unit` + units},
		{"m", `"m" is not a duration` + units},
		{"5 m", `"5 m" is not a duration` + units},
		{"-5m", `"-5m" is not a duration` + units},
		{"5x", `"5x" is not a duration` + units},
		{"5min", `"5min" is not a duration` + units},
		{"5M", `"5M" is not a duration` + units},
		{"1.2.3s", `"1.2.3s" is not a duration` + units},
		{"1e3s", `"1e3s" is not a duration` + units},
		{"five minutes", `"five minutes" is not a duration` + units},
		{"106752d", `"106752d" is too large`},
		{"99999999999999999999w", `"99999999999999999999w" is too large`},
	} {
		if got, err := ParseDuration(c.text); err == nil || err.Error() != c.want || got != 0 {
			t.Errorf("ParseDuration(%q) = %v, %v; want %s", c.text, got, err, c.want)
		}
	}
}

func TestFormatDuration(t *testing.T) {
	for _, c := range []struct {
		d    time.Duration
		want string
	}{
		{0, "0"},
		{time.Millisecond, "1ms"},
		{1500 * time.Millisecond, "1.5s"},
		{30 * time.Second, "30s"},
		{time.Minute, "1m"},
		{90 * time.Second, "1m30s"},
		{time.Hour, "1h"},
		{90 * time.Minute, "1h30m"},
		{time.Hour + time.Second, "1h0m1s"},
		{10 * time.Hour, "10h"},
		{36 * time.Hour, "36h"},
		{24 * time.Hour, "1d"},
		{5 * 24 * time.Hour, "5d"},
	} {
		got := FormatDuration(c.d)
		if got != c.want {
			t.Errorf("FormatDuration(%v) = %q, want %q", c.d, got, c.want)
		}
		if back, err := ParseDuration(got); err != nil || back != c.d {
			t.Errorf("ParseDuration(%q) = %v, %v; want %v", got, back, err, c.d)
		}
	}
}

// Every accepted duration is non-negative, and formatting preserves it to the
// millisecond.
func FuzzParseDuration(f *testing.F) {
	for _, s := range []string{"0", "5m", "1h30m", "1.5d", "2w3d", "106751d", "x", "1..2s"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, err := ParseDuration(s)
		if err != nil {
			return
		}
		if d < 0 {
			t.Fatalf("ParseDuration(%q) = %v", s, d)
		}
		d = d.Truncate(time.Millisecond)
		back, err := ParseDuration(FormatDuration(d))
		if err != nil || (back-d).Abs() > time.Microsecond+d/1e12 {
			t.Fatalf("%v is formatted as %q, which is %v, %v", d, FormatDuration(d), back, err)
		}
	})
}
