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
	local := mail.Client{Trusted: true, Addr: netip.MustParseAddrPort("127.0.0.1:2000")}
	socket := mail.Client{Trusted: true}
	remote := mail.Client{Trusted: true, Addr: netip.MustParseAddrPort("192.0.2.9:2000")}
	proxied := mail.Client{Addr: netip.MustParseAddrPort("127.0.0.1:2000")} // set by PROXY or XCLIENT, or on another listener
	for _, c := range []struct {
		client               mail.Client
		name, head, ip, helo string
	}{
		{remote, "one server of ours", line("mx.example.com", "198.51.100.7") + line("forged", "203.0.113.1"), "198.51.100.7", "mx.example.com"},
		{remote, "two", line("in.example.org", "192.0.2.5") + line("mx.example.com", "198.51.100.7") + line("forged", "203.0.113.1"), "198.51.100.7", "mx.example.com"},
		{local, "a scanner between", line("localhost", "127.0.0.1") + line("mx.example.com", "198.51.100.7"), "198.51.100.7", "mx.example.com"},
		{socket, "a scanner, by a socket file", line("localhost", "127.0.0.1") + line("mx.example.com", "198.51.100.7"), "198.51.100.7", "mx.example.com"},
		{local, "two programs on this machine", line("localhost", "127.0.0.1") + line("localhost", "IPv6:::1") + line("mx.example.com", "198.51.100.7"), "198.51.100.7", "mx.example.com"},
		{remote, "a client behind a proxy of one of our servers", line("localhost", "127.0.0.1") + line("forged", "198.51.100.7"), "invalid IP", ""},
		{local, "the same, through a program here", line("in.example.org", "192.0.2.5") + line("localhost", "127.0.0.1") + line("forged", "198.51.100.7"), "invalid IP", ""},
		{proxied, "loopback that proves nothing", line("localhost", "127.0.0.1") + line("forged", "198.51.100.7"), "invalid IP", ""},
		{remote, "IPv6", line("mx.example.com", "IPv6:2001:db8::7"), "2001:db8::7", "mx.example.com"},
		{remote, "only ours", line("in.example.org", "192.0.2.5"), "invalid IP", ""},
		{remote, "no client named", "Received: by mx.example.org (Postfix, from userid 33)\r\n\tid 12; Mon, 23 Nov 2026 04:00:00 +0000 (UTC)\r\n" + line("forged", "203.0.113.1"), "invalid IP", ""},
		{remote, "none", "Subject: x\r\n", "invalid IP", ""},
	} {
		m, err := mail.NewMessage(mail.Bytes(c.head + "\r\n"))
		if err != nil {
			t.Fatal(err)
		}
		ip, helo, ok := Origin(&c.client, m, trusted)
		if ip.String() != c.ip || helo != c.helo || ok != ip.IsValid() {
			t.Errorf("%s: %s %q %v", c.name, ip, helo, ok)
		}
	}
	// An admin may trust the scanners of other servers.
	m, err := mail.NewMessage(mail.Bytes(line("localhost", "127.0.0.1") + line("mx.example.com", "198.51.100.7") + "\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	if ip, _, _ := Origin(&remote, m, append(trusted, netip.MustParsePrefix("127.0.0.0/8"))); ip.String() != "198.51.100.7" {
		t.Errorf("with loopback in trusted: %s", ip)
	}
}
