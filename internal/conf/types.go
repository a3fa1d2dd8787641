package conf

import (
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// Bytes is a number of octets, written "25MiB", "10KiB", "100KB" or as a plain number.
type Bytes int64

// byteUnits is ordered for String: the largest first.
var byteUnits = []struct {
	name string
	size int64
}{
	{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10},
	{"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"KB", 1e3}, {"kB", 1e3}, {"B", 1},
}

// ParseBytes reads a size; the error says how one is written.
func ParseBytes(s string) (Bytes, error) {
	num, unit := strings.TrimSpace(s), int64(1)
	for _, u := range byteUnits {
		if rest, ok := strings.CutSuffix(num, u.name); ok {
			num, unit = strings.TrimSpace(rest), u.size
			break
		}
	}
	if n, err := strconv.ParseInt(num, 10, 64); err == nil && n >= 0 {
		if n > math.MaxInt64/unit {
			return 0, fmt.Errorf("%q is more than fits", s)
		}
		return Bytes(n * unit), nil
	}
	f, err := strconv.ParseFloat(num, 64)
	if err != nil || !(f >= 0) || strings.ContainsAny(num, "eExXpPnN_") {
		return 0, fmt.Errorf(`%q is not a size; units are KiB, MiB, GiB (1024) and KB, MB, GB (1000)`, s)
	}
	if f*float64(unit) >= math.MaxInt64 {
		return 0, fmt.Errorf("%q is more than fits", s)
	}
	return Bytes(f * float64(unit)), nil
}

// String writes b in the largest unit that divides it, else rounded to one decimal.
func (b Bytes) String() string {
	if b < 1<<10 {
		return strconv.FormatInt(int64(b), 10) + "B"
	}
	for _, u := range byteUnits[:4] {
		if int64(b) >= u.size && int64(b)%u.size == 0 {
			return strconv.FormatInt(int64(b)/u.size, 10) + u.name
		}
	}
	for _, u := range byteUnits[:4] {
		if int64(b) >= u.size {
			return strconv.FormatFloat(float64(b)/float64(u.size), 'f', 1, 64) + u.name
		}
	}
	return strconv.FormatInt(int64(b), 10) + "B"
}

// Secret is a password or a token. No verb of fmt, no JSON and no log shows
// it; string(s) does.
type Secret string

// String hides the secret.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return "***"
}

// Format hides the secret from every verb of fmt, %x and %#v among them.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(s.String())) }

// MarshalText hides the secret from JSON and zerolog.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// LogValue hides the secret from log/slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// Listen is a place to accept connections: "127.0.0.1:25", "[::1]:25", ":25",
// "unix:path" or "systemd:name" (a socket handed over by systemd).
type Listen struct {
	// Network is "tcp", "unix" or "systemd".
	Network string
	// Address is host:port, a path, or the FileDescriptorName of the socket unit.
	Address string
}

// ParseListen reads a listen address; the error says how one is written.
func ParseListen(s string) (Listen, error) {
	for _, network := range []string{"unix", "systemd"} {
		if rest, ok := strings.CutPrefix(s, network+":"); ok {
			if rest == "" || strings.ContainsRune(rest, 0) {
				return Listen{}, fmt.Errorf("%q names nothing after %q", s, network+":")
			}
			return Listen{Network: network, Address: rest}, nil
		}
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return Listen{}, fmt.Errorf("%q is not a listen address: %s", s, listenHint(s))
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return Listen{}, fmt.Errorf("%q has no port between 0 and 65535", s)
	}
	if host != "" {
		addr, err := netip.ParseAddr(host)
		if err != nil {
			return Listen{}, fmt.Errorf("%q: listen wants an IP address, not the name %q", s, host)
		}
		host = addr.String()
	}
	return Listen{Network: "tcp", Address: net.JoinHostPort(host, port)}, nil
}

func listenHint(s string) string {
	addr, err := netip.ParseAddr(s)
	switch {
	case err == nil && addr.Is6():
		return fmt.Sprintf(`the port is missing, as in "[%s]:25"`, s)
	case err == nil:
		return fmt.Sprintf(`the port is missing, as in "%s:25"`, s)
	case strings.HasPrefix(s, "/"):
		return fmt.Sprintf(`a socket file is written "unix:%s"`, s)
	}
	return `write "127.0.0.1:25", "[::1]:25", ":25", "unix:path" or "systemd:name"`
}

// String writes l as it stands in a config file.
func (l Listen) String() string {
	if l.Network == "" || l.Network == "tcp" {
		return l.Address
	}
	return l.Network + ":" + l.Address
}

// Loopback reports whether only programs on this machine can reach l: a
// loopback address or a socket file. What systemd holds is not known.
func (l Listen) Loopback() bool {
	if l.Network != "tcp" {
		return l.Network == "unix"
	}
	ap, err := netip.ParseAddrPort(l.Address)
	return err == nil && ap.Addr().Unmap().IsLoopback()
}

// FieldError is a mistake in one attribute, made with Field.
type FieldError struct {
	// Name is the attribute as written in the file.
	Name string
	// Err says what is wrong with it.
	Err error
}

// Field makes err point at the attribute name; a nil err stays nil.
func Field(name string, err error) error {
	if err == nil {
		return nil
	}
	return &FieldError{Name: name, Err: err}
}

// Fieldf is Field with a message made by fmt.Errorf.
func Fieldf(name, format string, args ...any) error {
	return &FieldError{Name: name, Err: fmt.Errorf(format, args...)}
}

// Error names the attribute in front of the mistake.
func (e *FieldError) Error() string { return e.Name + ": " + e.Err.Error() }

// Unwrap returns the mistake alone.
func (e *FieldError) Unwrap() error { return e.Err }

// PlaceError is a mistake at a place of the file, made with At.
type PlaceError struct {
	// Where it is; the zero Range is no place.
	Where Range
	// Err says what is wrong there.
	Err error
}

// At makes err point at a place, such as a Pos gives; a nil err stays nil.
func At(r Range, err error) error {
	if err == nil {
		return nil
	}
	return &PlaceError{Where: r, Err: err}
}

// Error is the mistake alone: whoever prints it prints the place too.
func (e *PlaceError) Error() string { return e.Err.Error() }

// Unwrap returns the mistake.
func (e *PlaceError) Unwrap() error { return e.Err }
