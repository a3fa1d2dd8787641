package conf

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func TestParseBytes(t *testing.T) {
	for _, c := range []struct {
		text string
		want Bytes
	}{
		{"0", 0},
		{"1", 1},
		{"512", 512},
		{"512B", 512},
		{"512 B", 512},
		{"10KiB", 10 << 10},
		{"25MiB", 25 << 20},
		{"1GiB", 1 << 30},
		{"2TiB", 2 << 40},
		{"100KB", 100_000},
		{"100kB", 100_000},
		{"25MB", 25_000_000},
		{"1GB", 1e9},
		{"1TB", 1e12},
		{"1.5MiB", 3 << 19},
		{"0.5KB", 500},
		{"  10 KiB ", 10 << 10},
		{"9223372036854775807", 1<<63 - 1},
		{"8388607TiB", 8388607 << 40},
	} {
		if got, err := ParseBytes(c.text); err != nil || got != c.want {
			t.Errorf("ParseBytes(%q) = %d, %v; want %d", c.text, got, err, c.want)
		}
	}
}

func TestParseBytesErrors(t *testing.T) {
	const units = "; units are KiB, MiB, GiB (1024) and KB, MB, GB (1000)"
	for _, c := range []struct{ text, want string }{
		{"", `"" is not a size` + units},
		{"MiB", `"MiB" is not a size` + units},
		{"-1", `"-1" is not a size` + units},
		{"-1MiB", `"-1MiB" is not a size` + units},
		{"25XB", `"25XB" is not a size` + units},
		{"25M", `"25M" is not a size` + units},
		{"25mb", `"25mb" is not a size` + units},
		{"1e3", `"1e3" is not a size` + units},
		{"0x10", `"0x10" is not a size` + units},
		{"1_000", `"1_000" is not a size` + units},
		{"NaN", `"NaN" is not a size` + units},
		{"Inf", `"Inf" is not a size` + units},
		{"1.2.3KiB", `"1.2.3KiB" is not a size` + units},
		{"large", `"large" is not a size` + units},
		{"9223372036854775808", `"9223372036854775808" is too large`},
		{"8388608TiB", `"8388608TiB" is too large`},
		{"9000000.5TiB", `"9000000.5TiB" is too large`},
	} {
		if got, err := ParseBytes(c.text); err == nil || err.Error() != c.want || got != 0 {
			t.Errorf("ParseBytes(%q) = %d, %v; want %s", c.text, got, err, c.want)
		}
	}
}

func TestBytesString(t *testing.T) {
	for _, c := range []struct {
		b    Bytes
		want string
	}{
		{0, "0B"},
		{1, "1B"},
		{1000, "1000B"},
		{1023, "1023B"},
		{1 << 10, "1KiB"},
		{1536, "1.5KiB"},
		{10 << 10, "10KiB"},
		{1000_000, "976.6KiB"},
		{1 << 20, "1MiB"},
		{25 << 20, "25MiB"},
		{25_000_000, "23.8MiB"},
		{1 << 30, "1GiB"},
		{3 << 40, "3TiB"},
		{1025 << 20, "1025MiB"},
	} {
		if got := c.b.String(); got != c.want {
			t.Errorf("Bytes(%d) is %q, want %q", int64(c.b), got, c.want)
		}
	}
}

// Formatting preserves a size in whole units.
func TestBytesRoundTrip(t *testing.T) {
	for _, text := range []string{"7B", "10KiB", "25MiB", "1GiB", "3TiB"} {
		b, err := ParseBytes(text)
		if err != nil || b.String() != text {
			t.Errorf("%q becomes %q, %v", text, b, err)
		}
	}
}

// No method of printing a value reveals a secret, except conversion to a
// string.
func TestSecretIsHidden(t *testing.T) {
	const hidden = "open sesame"
	type account struct {
		User string
		Pass Secret
	}
	a := account{"ann", hidden}
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("login", "pass", a.Pass)
	asJSON, err := json.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"String": a.Pass.String(),
		"%s":     fmt.Sprintf("%s", a.Pass),
		"%v":     fmt.Sprintf("%v", a),
		"%+v":    fmt.Sprintf("%+v", a),
		"%#v":    fmt.Sprintf("%#v", a.Pass),
		"%q":     fmt.Sprintf("%q", a.Pass),
		"%x":     fmt.Sprintf("%x", a.Pass),
		"JSON":   string(asJSON),
		"slog":   log.String(),
		"error":  fmt.Errorf("log in with %s", a.Pass).Error(),
	} {
		if strings.Contains(text, "sesame") || strings.Contains(text, "736573616d65") || !strings.Contains(text, "***") {
			t.Errorf("%s prints %s", name, text)
		}
	}
	if string(a.Pass) != hidden {
		t.Error("the conversion to a string does not return the secret")
	}
	if s := Secret("").String(); s != "" {
		t.Errorf("an empty secret prints %q, which looks like a value", s)
	}
}

func TestParseListen(t *testing.T) {
	for _, c := range []struct {
		text     string
		want     Listen
		loopback bool
	}{
		{"127.0.0.1:25", Listen{"tcp", "127.0.0.1:25"}, true},
		{"127.1.2.3:25", Listen{"tcp", "127.1.2.3:25"}, true},
		{"192.0.2.1:587", Listen{"tcp", "192.0.2.1:587"}, false},
		{"0.0.0.0:25", Listen{"tcp", "0.0.0.0:25"}, false},
		{":25", Listen{"tcp", ":25"}, false},
		{":0", Listen{"tcp", ":0"}, false},
		{":65535", Listen{"tcp", ":65535"}, false},
		{"[::1]:25", Listen{"tcp", "[::1]:25"}, true},
		{"[2001:DB8::0:1]:25", Listen{"tcp", "[2001:db8::1]:25"}, false},
		{"[::ffff:127.0.0.1]:25", Listen{"tcp", "[::ffff:127.0.0.1]:25"}, true},
		{"unix:lmtp.sock", Listen{"unix", "lmtp.sock"}, true},
		{"unix:/run/hoplite/lmtp.sock", Listen{"unix", "/run/hoplite/lmtp.sock"}, true},
		{"systemd:smtp", Listen{"systemd", "smtp"}, false},
	} {
		got, err := ParseListen(c.text)
		if err != nil || got != c.want {
			t.Errorf("ParseListen(%q) = %+v, %v; want %+v", c.text, got, err, c.want)
		}
		if got.Loopback() != c.loopback {
			t.Errorf("%q: Loopback is %v", c.text, got.Loopback())
		}
		if back, err := ParseListen(got.String()); err != nil || back != got {
			t.Errorf("%q is written %q, which parses as %+v, %v", c.text, got, back, err)
		}
	}
	if (Listen{}).Loopback() || (Listen{}).String() != "" {
		t.Error("the zero Listen is an address")
	}
}

func TestParseListenErrors(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"127.0.0.1", `"127.0.0.1" is not a listen address: the port is missing: write "127.0.0.1:25"`},
		{"::1", `"::1" is not a listen address: the port is missing: write "[::1]:25"`},
		{"/run/lmtp.sock", `"/run/lmtp.sock" is not a listen address: a socket file is written "unix:/run/lmtp.sock"`},
		{"25", `"25" is not a listen address: write "127.0.0.1:25", "[::1]:25", ":25", "unix:path" or "systemd:name"`},
		{"", `"" is not a listen address: write "127.0.0.1:25", "[::1]:25", ":25", "unix:path" or "systemd:name"`},
		{"::1:25:x", `"::1:25:x" is not a listen address: write "127.0.0.1:25", "[::1]:25", ":25", "unix:path" or "systemd:name"`},
		{":smtp", `":smtp" has no port between 0 and 65535`},
		{":65536", `":65536" has no port between 0 and 65535`},
		{":-1", `":-1" has no port between 0 and 65535`},
		{"127.0.0.1:", `"127.0.0.1:" has no port between 0 and 65535`},
		{"localhost:25", `"localhost:25": must be an IP address, not the name "localhost"`},
		{"mail.example.org:25", `"mail.example.org:25": must be an IP address, not the name "mail.example.org"`},
		{"unix:", `"unix:" lacks a name after "unix:"`},
		{"systemd:", `"systemd:" lacks a name after "systemd:"`},
		{"unix:a\x00b", `"unix:a\x00b" lacks a name after "unix:"`},
	} {
		if got, err := ParseListen(c.text); err == nil || err.Error() != c.want || got != (Listen{}) {
			t.Errorf("ParseListen(%q) = %+v, %v; want %s", c.text, got, err, c.want)
		}
	}
}

func TestFieldErrors(t *testing.T) {
	base := errors.New("broken")
	for _, c := range []struct {
		name string
		err  error
		text string
		is   bool
	}{
		{"Field", Field("max", base), "max: broken", true},
		{"Fieldf", Fieldf("max", "%w: use %d or more", base, 3), "max: broken: use 3 or more", true},
		{"At", At(Range{Filename: "relay.hcl"}, base), "broken", true},
		{"At Field", At(Range{}, Field("max", base)), "max: broken", true},
		{"other", Fieldf("max", "is 0"), "max: is 0", false},
	} {
		if c.err.Error() != c.text || errors.Is(c.err, base) != c.is {
			t.Errorf("%s: %q, wraps the cause: %v", c.name, c.err, errors.Is(c.err, base))
		}
	}
	if Field("max", nil) != nil || At(Range{}, nil) != nil {
		t.Error("no error becomes one")
	}
	var fe *FieldError
	if !errors.As(fmt.Errorf("check: %w", Field("max", base)), &fe) || fe.Name != "max" {
		t.Error("the attribute is not found in a wrapped error")
	}
}
