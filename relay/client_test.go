package relay

import (
	"context"
	"crypto/tls"
	"errors"
	"net/netip"
	"testing"

	"github.com/emersion/go-smtp"

	"github.com/rs/zerolog"

	"hoplite/internal/resolve"
	"hoplite/internal/resolve/resolvetest"
	"hoplite/internal/users"
	"hoplite/relay/wire"
)

func TestReverseName(t *testing.T) {
	zone := resolvetest.MustZone(`
192.0.2.1         PTR Good.example.net
good.example.net  A   192.0.2.1
192.0.2.2         PTR forged.bank.example
forged.bank.example A 198.51.100.1
192.0.2.3         PTR first.example.net
192.0.2.3         PTR second.example.net
second.example.net A  192.0.2.3
2001:db8::1       PTR six.example.net
six.example.net   AAAA 2001:db8::1
`)
	for name, tt := range map[string]struct {
		id   wire.Ident
		none bool // no resolver
		want string
	}{
		"confirmed":       {id: wire.Ident{Client: netip.MustParseAddrPort("192.0.2.1:25")}, want: "good.example.net"},
		"not confirmed":   {id: wire.Ident{Client: netip.MustParseAddrPort("192.0.2.2:25")}},
		"the second name": {id: wire.Ident{Client: netip.MustParseAddrPort("192.0.2.3:25")}, want: "second.example.net"},
		"IPv6":            {id: wire.Ident{Client: netip.MustParseAddrPort("[2001:db8::1]:25")}, want: "six.example.net"},
		"no name":         {id: wire.Ident{Client: netip.MustParseAddrPort("192.0.2.9:25")}},
		"from XCLIENT":    {id: wire.Ident{Client: netip.MustParseAddrPort("192.0.2.1:25"), Name: "front.example.org"}, want: "front.example.org"},
		"loopback":        {id: wire.Ident{Client: netip.MustParseAddrPort("127.0.0.1:25")}},
		"a socket file":   {},
		"no resolver":     {id: wire.Ident{Client: netip.MustParseAddrPort("192.0.2.1:25")}, none: true},
	} {
		t.Run(name, func(t *testing.T) {
			var dns resolve.Resolver
			if !tt.none {
				dns = zone
			}
			var n reverseName
			n.find(t.Context(), dns, tt.id, &zerolog.Logger{})
			for range 2 {
				if got := n.get(); got != tt.want {
					t.Errorf("%q, want %q", got, tt.want)
				}
			}
		})
	}
}

func TestLoginReplies(t *testing.T) {
	for name, tt := range map[string]struct {
		err  error
		want string
	}{
		"a wrong password": {users.ErrBadLogin, "535 5.7.8"},
		"too many":         {users.ErrThrottled, "454 4.7.0"},
		"too slow":         {context.DeadlineExceeded, "454 4.7.0"},
		"shut down":        {context.Canceled, "454 4.7.0"},
		"a mechanism":      {&smtp.SMTPError{Code: 535, Message: "no"}, "535 "},
		"a bad message":    {errors.New("internal detail"), "501 5.5.2"},
	} {
		t.Run(name, func(t *testing.T) {
			got := loginReply(tt.err).String()
			if len(got) < len(tt.want) || got[:len(tt.want)] != tt.want {
				t.Errorf("%s, want %s", got, tt.want)
			}
		})
	}
}

func TestTLSVersions(t *testing.T) {
	for v, want := range map[uint16]string{tls.VersionTLS13: "TLSv1.3", tls.VersionTLS12: "TLSv1.2", tls.VersionTLS11: "TLSv1.1", tls.VersionTLS10: "TLSv1"} {
		if got := tlsVersion(v); got != want {
			t.Errorf("%x is %s, want %s", v, got, want)
		}
	}
}
