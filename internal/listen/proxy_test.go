package listen

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/rs/zerolog"
)

func v2(cmd, family byte, body ...byte) string {
	return string(proxyV2) + string([]byte{cmd, family, byte(len(body) >> 8), byte(len(body))}) + string(body)
}

func TestReadProxy(t *testing.T) {
	v4 := []byte{192, 0, 2, 1, 203, 0, 113, 1, 0x12, 0x67, 0, 25}
	v6 := append(append(netip.MustParseAddr("2001:db8::1").AsSlice(), netip.MustParseAddr("2001:db8::2").AsSlice()...), 0x12, 0x67, 0, 25)
	for name, tt := range map[string]struct {
		in, client string
		bad        bool
	}{
		"v1 ipv4":              {in: "PROXY TCP4 192.0.2.1 203.0.113.1 4711 25\r\n", client: "192.0.2.1:4711"},
		"v1 ipv6":              {in: "PROXY TCP6 2001:db8::1 2001:db8::2 4711 25\r\n", client: "[2001:db8::1]:4711"},
		"v1 unknown":           {in: "PROXY UNKNOWN\r\n"},
		"v1 unknown with more": {in: "PROXY UNKNOWN ffff::1 ffff::1 65535 65535\r\n"},
		"v1 family mixed":      {in: "PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n", bad: true},
		"v1 port too large":    {in: "PROXY TCP4 192.0.2.1 203.0.113.1 65536 25\r\n", bad: true},
		"v1 bare LF":           {in: "PROXY TCP4 192.0.2.1 203.0.113.1 4711 25\n", bad: true},
		"v1 too long":          {in: "PROXY TCP4 " + strings.Repeat("1", 200) + "\r\n", bad: true},
		"v1 two spaces":        {in: "PROXY TCP4  192.0.2.1 203.0.113.1 4711 25\r\n", bad: true},
		"smtp":                 {in: "EHLO client.example.org\r\n", bad: true},
		"cut":                  {in: "PROXY TCP4 192.0", bad: true},
		"empty":                {bad: true},
		"v2 ipv4":              {in: v2(0x21, 0x11, v4...), client: "192.0.2.1:4711"},
		"v2 with extensions":   {in: v2(0x21, 0x11, append(v4[:12:12], 4, 0, 1, 0)...), client: "192.0.2.1:4711"},
		"v2 ipv6":              {in: v2(0x21, 0x21, v6...), client: "[2001:db8::1]:4711"},
		"v2 local":             {in: v2(0x20, 0)},
		"v2 unix":              {in: v2(0x21, 0x31, make([]byte, 216)...)},
		"v2 short":             {in: v2(0x21, 0x11, v4[:11]...), bad: true},
		"v2 cut":               {in: v2(0x21, 0x11, v4...)[:20], bad: true},
		"v2 version 3":         {in: v2(0x31, 0x11, v4...), bad: true},
		"v2 unknown command":   {in: v2(0x22, 0x11, v4...), bad: true},
		"v2 udp":               {in: v2(0x21, 0x12, v4...)},
		"v2 unspecified":       {in: v2(0x21, 0x00)},
		"v2 crc of nothing":    {in: v2(0x21, 0x11, append(v4[:12:12], 3, 0, 4, 1, 2, 3, 4)...), client: "192.0.2.1:4711"},
		"v1 zone":              {in: "PROXY TCP6 fe80::1%eth0 fe80::2 4711 25\r\n", bad: true},
		"v1 leading zero":      {in: "PROXY TCP4 192.0.2.1 203.0.113.1 04711 25\r\n", bad: true},
		"v1 word run together": {in: "PROXYTCP4 192.0.2.1 203.0.113.1 4711 25\r\n", bad: true},
		"v2 huge":              {in: v2(0x21, 0x11, make([]byte, proxyV2Max+1)...), bad: true},
	} {
		t.Run(name, func(t *testing.T) {
			r := strings.NewReader(tt.in + "rest")
			if name == "cut" || name == "empty" || name == "v2 cut" {
				r = strings.NewReader(tt.in)
			}
			// The header is read even if every segment contains a single octet.
			client, _, err := readProxy(iotest.OneByteReader(r))
			if (err != nil) != tt.bad {
				t.Fatalf("error %v", err)
			}
			if err != nil {
				return
			}
			if tt.client == "" && client.IsValid() || tt.client != "" && client.String() != tt.client {
				t.Errorf("client %s, want %s", client, tt.client)
			}
			if rest, _ := io.ReadAll(r); string(rest) != "rest" {
				t.Errorf("read beyond the header: %q left", rest)
			}
		})
	}
}

// A client is on this machine only if it connects to a socket file or a loopback
// address, and not through a proxy.
func TestOnHost(t *testing.T) {
	const header = "PROXY TCP4 127.0.0.1 127.0.0.1 4711 25\r\n"
	for name, tt := range map[string]struct {
		network, address, header string
		want                     bool
	}{
		"loopback":               {network: "tcp", address: "127.0.0.1:0", want: true},
		"all addresses":          {network: "tcp4", address: "0.0.0.0:0"},
		"socket file":            {network: "unix", want: true},
		"proxy names loopback":   {network: "tcp", address: "127.0.0.1:0", header: header},
		"proxy names no client":  {network: "tcp", address: "127.0.0.1:0", header: "PROXY UNKNOWN\r\n"},
		"socket file of a proxy": {network: "unix", header: header},
		"all addresses, proxy":   {network: "tcp4", address: "0.0.0.0:0", header: header},
	} {
		t.Run(name, func(t *testing.T) {
			if tt.network == "unix" {
				tt.address = filepath.Join(t.TempDir(), "socket")
			}
			socket, err := net.Listen(tt.network, tt.address)
			if err != nil {
				t.Fatal(err)
			}
			l := New(socket, Options{Proxy: tt.header != "", Log: zerolog.Nop()})
			run(t, l, func(c *Conn) {
				defer c.Close()
				fmt.Fprintln(c, c.OnHost())
			})
			addr := l.Addr().String()
			if tt.network != "unix" {
				addr = fmt.Sprintf("127.0.0.1:%d", l.Addr().(*net.TCPAddr).Port)
			}
			c, err := net.Dial(tt.network, addr)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			c.SetDeadline(time.Now().Add(20 * time.Second))
			io.WriteString(c, tt.header)
			if got := line(t, c); got != fmt.Sprint(tt.want) {
				t.Errorf("on this host: %s, want %v", got, tt.want)
			}
		})
	}
}

func FuzzReadProxy(f *testing.F) {
	f.Add([]byte("PROXY TCP4 192.0.2.1 203.0.113.1 4711 25\r\n"))
	f.Add([]byte(v2(0x21, 0x11, 192, 0, 2, 1, 203, 0, 113, 1, 0x12, 0x67, 0, 25)))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bytes.NewReader(b)
		client, local, err := readProxy(r)
		if err != nil && (client.IsValid() || local.IsValid()) {
			t.Error("an address beside an error")
		}
		if used := len(b) - r.Len(); used > 16+proxyV2Max {
			t.Errorf("%d octets read", used)
		}
	})
}
