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

// Bytes is a number of octets, written "25MiB", "10KiB", "100KB" or as a number.
type Bytes int64

// byteUnits is in the order in which String tries the units.
var byteUnits = []struct {
	name string
	size int64
}{
	{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10},
	{"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"KB", 1e3}, {"kB", 1e3}, {"B", 1},
}

// ParseBytes parses a size; the error explains the notation.
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
			return 0, fmt.Errorf("%q is too large", s)
		}
		return Bytes(n * unit), nil
	}
	f, err := strconv.ParseFloat(num, 64)
	if err != nil || !(f >= 0) || strings.ContainsAny(num, "eExXpPnN_") {
		return 0, fmt.Errorf(`%q is not a size; units are KiB, MiB, GiB (1024) and KB, MB, GB (1000)`, s)
	}
	if f*float64(unit) >= math.MaxInt64 {
		return 0, fmt.Errorf("%q is too large", s)
	}
	return Bytes(f * float64(unit)), nil
}

// String returns b in the largest unit that divides it, or else rounded to one
// decimal.
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

// Secret is a password or token. fmt, JSON and logs do not show it; string(s)
// does.
type Secret string

// String hides the secret.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return "***"
}

// Format hides the secret from every verb of fmt, including %x and %#v.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(s.String())) }

// MarshalText hides the secret from JSON and zerolog.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// LogValue hides the secret from log/slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// Listen is an address to listen on: "127.0.0.1:25", "[::1]:25", ":25",
// "unix:path" or "systemd:name" (a socket that systemd opens).
type Listen struct {
	// Network is "tcp", "unix" or "systemd".
	Network string
	// Address is host:port, a path, or the FileDescriptorName of the socket unit.
	Address string
}

// ParseListen parses a listen address; the error explains the notation.
func ParseListen(s string) (Listen, error) {
	for _, network := range []string{"unix", "systemd"} {
		if rest, ok := strings.CutPrefix(s, network+":"); ok {
			if rest == "" || strings.ContainsRune(rest, 0) {
				return Listen{}, fmt.Errorf("%q lacks a name after %q", s, network+":")
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
			return Listen{}, fmt.Errorf("%q: must be an IP address, not the name %q", s, host)
		}
		host = addr.String()
	}
	return Listen{Network: "tcp", Address: net.JoinHostPort(host, port)}, nil
}

func listenHint(s string) string {
	addr, err := netip.ParseAddr(s)
	switch {
	case err == nil && addr.Is6():
		return fmt.Sprintf(`the port is missing: write "[%s]:25"`, s)
	case err == nil:
		return fmt.Sprintf(`the port is missing: write "%s:25"`, s)
	case strings.HasPrefix(s, "/"):
		return fmt.Sprintf(`a socket file is written "unix:%s"`, s)
	}
	return `write "127.0.0.1:25", "[::1]:25", ":25", "unix:path" or "systemd:name"`
}

// String returns l as it is written in the file.
func (l Listen) String() string {
	if l.Network == "" || l.Network == "tcp" {
		return l.Address
	}
	return l.Network + ":" + l.Address
}

// Loopback reports whether l is a loopback address or a socket file, which only
// programs on this machine can reach. The address of a systemd socket is not
// known, so Loopback returns false for it.
func (l Listen) Loopback() bool {
	if l.Network != "tcp" {
		return l.Network == "unix"
	}
	ap, err := netip.ParseAddrPort(l.Address)
	return err == nil && ap.Addr().Unmap().IsLoopback()
}

// FieldError is a mistake in one attribute, created by Field.
type FieldError struct {
	// Name is the name of the attribute.
	Name string
	// Err describes the mistake.
	Err error
}

// Field returns err as a mistake in the attribute name; a nil err stays nil.
func Field(name string, err error) error {
	if err == nil {
		return nil
	}
	return &FieldError{Name: name, Err: err}
}

// Fieldf is like Field, with an error created by fmt.Errorf.
func Fieldf(name, format string, args ...any) error {
	return &FieldError{Name: name, Err: fmt.Errorf(format, args...)}
}

// Error returns the name of the attribute and the mistake.
func (e *FieldError) Error() string { return e.Name + ": " + e.Err.Error() }

// Unwrap returns the mistake without the name.
func (e *FieldError) Unwrap() error { return e.Err }

// PlaceError is a mistake at a position in the file, created by At.
type PlaceError struct {
	// Where is the position; the zero Range means none.
	Where Range
	// Err is the mistake.
	Err error
}

// At returns err as a mistake at a range returned by a Pos; a nil err stays
// nil.
func At(r Range, err error) error {
	if err == nil {
		return nil
	}
	return &PlaceError{Where: r, Err: err}
}

// Error returns the mistake without its position, which the caller prints.
func (e *PlaceError) Error() string { return e.Err.Error() }

// Unwrap returns the mistake.
func (e *PlaceError) Unwrap() error { return e.Err }
