package filters

import (
	"net/netip"
	"testing"

	"hoplite/mail"
)

func TestOrigin(t *testing.T) {
	trusted := []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	line := func(helo, ip string) string {
		return "Received: from " + helo + " (" + helo + " [" + ip + "])\r\n\tby mx.example.org (Postfix) with ESMTP id 1234\r\n\tfor <a@example.org>; Mon, 23 Nov 2026 04:00:00 +0000 (UTC)\r\n"
	}
	for _, c := range []struct{ name, head, ip, helo string }{
		{"one server of ours", line("mx.example.com", "198.51.100.7") + line("forged", "203.0.113.1"), "198.51.100.7", "mx.example.com"},
		{"two", line("in.example.org", "192.0.2.5") + line("mx.example.com", "198.51.100.7") + line("forged", "203.0.113.1"), "198.51.100.7", "mx.example.com"},
		{"a scanner between", line("localhost", "127.0.0.1") + line("mx.example.com", "198.51.100.7"), "198.51.100.7", "mx.example.com"},
		{"IPv6", line("mx.example.com", "IPv6:2001:db8::7"), "2001:db8::7", "mx.example.com"},
		{"only ours", line("in.example.org", "192.0.2.5"), "invalid IP", ""},
		{"no client named", "Received: by mx.example.org (Postfix, from userid 33)\r\n\tid 12; Mon, 23 Nov 2026 04:00:00 +0000 (UTC)\r\n" + line("forged", "203.0.113.1"), "invalid IP", ""},
		{"none", "Subject: x\r\n", "invalid IP", ""},
	} {
		m, err := mail.NewMessage(mail.Bytes(c.head + "\r\n"))
		if err != nil {
			t.Fatal(err)
		}
		ip, helo, ok := Origin(m, trusted)
		if ip.String() != c.ip || helo != c.helo || ok != ip.IsValid() {
			t.Errorf("%s: %s %q %v", c.name, ip, helo, ok)
		}
	}
}
