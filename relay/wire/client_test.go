package wire

import (
	"net/netip"
	"testing"
)

func TestXClientArguments(t *testing.T) {
	start := Ident{Client: netip.MustParseAddrPort("127.0.0.1:1000"), Local: netip.MustParseAddrPort("127.0.0.1:25"), Name: "front.example.org"}
	for name, tt := range map[string]struct {
		in, client, local, name string
		bad                     bool
	}{
		"address":               {in: "ADDR=192.0.2.7", client: "192.0.2.7:1000", local: "127.0.0.1:25", name: "front.example.org"},
		"address and port":      {in: "ADDR=192.0.2.7 PORT=4711", client: "192.0.2.7:4711", local: "127.0.0.1:25", name: "front.example.org"},
		"lower case":            {in: "addr=192.0.2.7", client: "192.0.2.7:1000", local: "127.0.0.1:25", name: "front.example.org"},
		"IPv6":                  {in: "ADDR=IPV6:2001:db8::1", client: "[2001:db8::1]:1000", local: "127.0.0.1:25", name: "front.example.org"},
		"IPv6 without a prefix": {in: "ADDR=2001:db8::1", client: "[2001:db8::1]:1000", local: "127.0.0.1:25", name: "front.example.org"},
		"mapped":                {in: "ADDR=::ffff:192.0.2.7", client: "192.0.2.7:1000", local: "127.0.0.1:25", name: "front.example.org"},
		"name":                  {in: "NAME=client.example.net", client: "127.0.0.1:1000", local: "127.0.0.1:25", name: "client.example.net"},
		"unavailable":           {in: "NAME=[UNAVAILABLE] ADDR=[TEMPUNAVAIL] PORT=[UNAVAILABLE]", client: "invalid AddrPort", local: "127.0.0.1:25"},
		"destination":           {in: "DESTADDR=192.0.2.25 DESTPORT=2525", client: "127.0.0.1:1000", local: "192.0.2.25:2525", name: "front.example.org"},
		"ignored":               {in: "PROTO=ESMTP HELO=x", client: "127.0.0.1:1000", local: "127.0.0.1:25", name: "front.example.org"},
		"xtext":                 {in: "NAME=a+2Db", client: "127.0.0.1:1000", local: "127.0.0.1:25", name: "a-b"},
		"xtext, cut":            {in: "NAME=a+2", bad: true},
		"xtext, not hex":        {in: "NAME=a+ZZ", bad: true},
		"xtext, line feed":      {in: "NAME=a+0Ab", bad: true},
		"nothing":               {bad: true},
		"no value":              {in: "ADDR", bad: true},
		"unknown attribute":     {in: "LOGIN=root", bad: true},
		"a bad address":         {in: "ADDR=client", bad: true},
		"an address with zone":  {in: "ADDR=fe80::1%eth0", bad: true},
		"a bad port":            {in: "PORT=65536", bad: true},
		"the last one is bad":   {in: "ADDR=192.0.2.7 PORT=x", bad: true},
	} {
		t.Run(name, func(t *testing.T) {
			id, ok := start.with(tt.in)
			if ok == tt.bad {
				t.Fatalf("accepted %v", ok)
			}
			if ok && (id.Client.String() != tt.client || id.Local.String() != tt.local || id.Name != tt.name) {
				t.Errorf("client %s, local %s, name %q", id.Client, id.Local, id.Name)
			}
		})
	}
}
