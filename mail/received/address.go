package received

import (
	"net/netip"
	"strings"
)

// small parses the decimal number at the start of s. It returns 0 for numbers
// above 65535.
func small(s string) int {
	n := 0
	for i := 0; i < len(s) && isDigit(s[i]); i++ {
		if n = n*10 + int(s[i]-'0'); n > 65535 {
			return 0
		}
	}
	return n
}

// parseAddr reads 192.0.2.1, [192.0.2.1], [IPv6:2001:db8::1], 192.0.2.1:25,
// 192.0.2.1.40000 (Exim 3) and fe80::1%5.
func parseAddr(s string) (addr netip.Addr, port uint16, ok bool) {
	for len(s) > 0 && (s[0] == '[' || s[0] == '(') {
		s = s[1:]
		if end := strings.IndexByte(s, ']'); end >= 0 {
			if rest := s[end+1:]; len(rest) > 1 && (rest[0] == ':' || rest[0] == '.') {
				port = uint16(small(rest[1:]))
			}
			s = s[:end]
		}
	}
	for len(s) > 0 && (class[s[len(s)-1]] == space || s[len(s)-1] == ')' || s[len(s)-1] == '.' || s[len(s)-1] == ',') {
		s = s[:len(s)-1]
	}
	for len(s) > 0 && class[s[0]] == space {
		s = s[1:]
	}
	if len(s) > 5 && s[4] == ':' && foldPrefix(s, "ipv6") {
		s = s[5:]
	}
	if len(s) < 2 || len(s) > 80 || !isHex(s[0]) && s[0] != ':' {
		return addr, 0, false
	}
	dots, colons, last := 0, 0, 0
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '.':
			dots++
			last = i
		case c == ':':
			colons++
			if dots == 3 || colons == 1 {
				last = i
			}
		case !isHex(c):
			if c == '%' && colons > 1 {
				i = len(s)
				continue
			}
			return addr, 0, false
		}
	}
	if colons < 2 && dots >= 3 && (dots == 4 || colons == 1) {
		port = uint16(small(s[last+1:]))
		s = s[:last]
	} else if colons < 2 && dots != 3 {
		return addr, 0, false
	}
	if colons < 2 {
		addr, ok = parse4(s)
		return addr, port, ok
	}
	addr, err := netip.ParseAddr(s)
	return addr, port, err == nil
}

// parse4 is like netip.ParseAddr for IPv4, but avoids the cost of its errors.
func parse4(s string) (netip.Addr, bool) {
	var b [4]byte
	n, v, digits := 0, 0, 0
	for i := 0; i <= len(s); i++ {
		if i == len(s) || s[i] == '.' {
			if digits == 0 || n == 4 {
				return netip.Addr{}, false
			}
			b[n] = byte(v)
			n, v, digits = n+1, 0, 0
			continue
		}
		if !isDigit(s[i]) || digits > 0 && v == 0 {
			return netip.Addr{}, false
		}
		if v = v*10 + int(s[i]-'0'); v > 255 {
			return netip.Addr{}, false
		}
		digits++
	}
	if n != 4 {
		return netip.Addr{}, false
	}
	return netip.AddrFrom4(b), true
}

func isHex(c byte) bool { return isDigit(c) || c|0x20 >= 'a' && c|0x20 <= 'f' }
