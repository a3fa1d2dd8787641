//go:build interop

package milter

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"

	"hoplite/filters"
	"hoplite/mail"
)

// counted forwards connections to a socket and counts them.
func counted(t *testing.T, dir, sock string) (string, *atomic.Int32) {
	t.Helper()
	l, err := net.Listen("unix", dir+"/counted"+fmt.Sprint(len(sock))+".sock")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	var n atomic.Int32
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			n.Add(1)
			up, err := net.Dial("unix", sock)
			if err != nil {
				c.Close()
				continue
			}
			go func() { io.Copy(up, c); up.Close() }()
			go func() { io.Copy(c, up); c.Close() }()
		}
	}()
	return l.Addr().String(), &n
}

// Debian's milters accept several messages from a client on one connection,
// even after a refused or aborted one, and judge each independently.
func TestInteropReuse(t *testing.T) {
	dir := scratch(t)
	signer := dir + "/dkim.sock"
	conf := write(t, dir+"/opendkim.conf", fmt.Sprintf("Mode v\nSocket local:%s\nAuthservID mail.example.org\nAlwaysAddARHeader yes\nTestDNSData %s\nBackground no\nSyslog no\n", signer, write(t, dir+"/dns", "")))
	daemon(t, "unix", signer, "opendkim", "-f", "-x", conf)
	_, clam, _ := clamav(t, dir)
	for _, c := range []struct {
		name, sock, bad string
		good            string // text in the header of a clean message
	}{
		{"opendkim", signer, "", "Authentication-Results: mail.example.org"},
		{"clamav-milter", clam, marker + "\r\n", "X-Virus-Status: Clean"},
		{"rspamd", rspamd(t, dir), gtube, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			sock, n := counted(t, dir, c.sock)
			f := newFilter(t, "unix:"+sock, "headers")
			for i := range 12 {
				bad := c.bad != "" && i%3 == 1
				text := interopMail
				if bad {
					text += c.bad
				}
				v, out := judgeFrom(t, f, text, netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(i / 4)}), 2525))
				if refused := v.Action == filters.Reject; refused != bad || !bad && !strings.Contains(out, c.good) {
					t.Fatalf("message %d: %s %v\n%s", i, v.Action, v.Reply, out)
				}
				if i%4 == 3 { // the client aborts this one
					if _, err := f.AtMail(context.Background(), mail.NewTransaction(mail.Client{Addr: netip.MustParseAddrPort("192.0.2.99:1")}, "")); err != nil {
						t.Fatal(err)
					}
				}
			}
			if n.Load() != 4 {
				t.Errorf("%d connections for 15 messages of 4 clients", n.Load())
			}
		})
	}
}
