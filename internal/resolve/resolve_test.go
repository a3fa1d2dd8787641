package resolve

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

const testZone = `
example.org TXT "v=spf1 mx -all"
example.org TXT "second"
example.org MX 20 mx2.example.org
example.org MX 10 mx1.example.org.
mx1.example.org A 192.0.2.1
mx1.example.org AAAA 2001:db8::1
mx2.example.org A 192.0.2.2
www.example.org CNAME w2.example.org
w2.example.org CNAME mx1.example.org
ring.example.org CNAME ring2.example.org
ring2.example.org CNAME ring.example.org
nowhere.example.org CNAME gone.example.org
192.0.2.1 PTR mx1.example.org
2001:db8::1 PTR mx1.example.org
null.example MX 0 .
dead.example SERVFAIL
bücher.example A 192.0.2.7
`

func zone(t testing.TB) *Zone {
	t.Helper()
	text := strings.Replace(testZone, "bücher", "xn--bcher-kva", 1) +
		"long.example.org TXT \"" + strings.Repeat("0123456789", 200) + "\"\n"
	z, err := ParseZone(text)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

// Both resolvers must give the same answers: the zone itself, and a client
// over the wire to a server of the zone.
func TestLookups(t *testing.T) {
	z := zone(t)
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	at, err := z.Serve(ctx)
	if err != nil {
		t.Fatal(err)
	}
	client := NewClient(false, at)
	client.hosts.path = filepath.Join(t.TempDir(), "none")
	for name, r := range map[string]Resolver{"zone": z, "client": client, "cached": NewCached(client, 100)} {
		t.Run(name, func(t *testing.T) {
			for _, c := range []struct {
				what string
				get  func() (any, error)
				want string
			}{
				{"txt", func() (any, error) { return LookupTXT(ctx, r, "Example.ORG.") }, "[v=spf1 mx -all second]"},
				{"mx by preference", func() (any, error) {
					mx, err := LookupMX(ctx, r, "example.org")
					return collect(Answer{Records: mx}, func(r Record) string { return fmt.Sprint(r.Pref, r.Host) }), err
				}, "[10mx1.example.org 20mx2.example.org]"},
				{"null mx", func() (any, error) { mx, err := LookupMX(ctx, r, "null.example"); return len(mx[0].Host), err }, "0"},
				{"hosts", func() (any, error) { return LookupHosts(ctx, r, "mx1.example.org") }, "[2001:db8::1 192.0.2.1]"},
				{"through cnames", func() (any, error) { return LookupHosts(ctx, r, "www.example.org") }, "[2001:db8::1 192.0.2.1]"},
				{"u-label", func() (any, error) { return LookupHosts(ctx, r, "BÜCHER.example") }, "[192.0.2.7]"},
				{"ptr", func() (any, error) { return LookupPTR(ctx, r, netip.MustParseAddr("192.0.2.1")) }, "[mx1.example.org]"},
				{"ptr 6", func() (any, error) { return LookupPTR(ctx, r, netip.MustParseAddr("2001:db8::1")) }, "[mx1.example.org]"},
				{"longer than a datagram", func() (any, error) { s, err := LookupTXT(ctx, r, "long.example.org"); return len(s[0]), err }, "2000"},
				{"localhost", func() (any, error) { return LookupHosts(ctx, client, "localhost") }, "[::1 127.0.0.1]"},
			} {
				got, err := c.get()
				if err != nil || fmt.Sprint(got) != c.want {
					t.Errorf("%s: %v, %v, want %s", c.what, got, err, c.want)
				}
			}
			for _, c := range []struct {
				name            string
				t               Type
				temporary, gone bool
			}{
				{"no.example", A, false, true},
				{"example.org", AAAA, false, false},
				{"dead.example", A, true, false},
				{"ring.example.org", A, false, false},
				{"nowhere.example.org", A, false, true},
				{"a..b", A, false, true},
				{strings.Repeat("x", 64) + ".example", A, false, true},
				{strings.Repeat("x.", 200), A, false, true},
			} {
				_, err := r.Lookup(ctx, c.name, c.t)
				e := (*Error)(nil)
				if !errors.As(err, &e) || e.Temporary != c.temporary || e.NoDomain != c.gone ||
					errors.Is(err, ErrNotFound) == c.temporary || errors.Is(err, ErrTemporary) != c.temporary {
					t.Errorf("%.40s %v: %#v", c.name, c.t, err)
				}
			}
		})
	}
	a, err := client.Lookup(ctx, "mx1.example.org", A)
	if err != nil || a.Authentic || a.TTL != 5*time.Minute {
		t.Errorf("answer %+v, %v", a, err)
	}
	validating, err := ParseZone("mx1.example.org A 192.0.2.1")
	if err != nil {
		t.Fatal(err)
	}
	validating.Authentic = true
	if at, err = validating.Serve(ctx); err != nil {
		t.Fatal(err)
	}
	client = NewClient(false, at)
	if a, _ := client.Lookup(ctx, "mx1.example.org", A); !a.Authentic {
		t.Error("a server on this machine is not believed")
	}
}

// A server of its own mind: what it says decides what the client makes of it.
func TestClientAgainstLiars(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	record := func(owner string) dnsmessage.Resource {
		return dnsmessage.Resource{
			Header: dnsmessage.ResourceHeader{Name: dnsmessage.MustNewName(owner), Class: dnsmessage.ClassINET, TTL: 60},
			Body:   &dnsmessage.AResource{A: [4]byte{192, 0, 2, 1}},
		}
	}
	go func() {
		buf := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(buf[:n]) != nil {
				continue
			}
			m.Response, m.Additionals = true, nil
			send := func(m dnsmessage.Message) {
				if b, err := m.Pack(); err == nil {
					conn.WriteTo(b, from)
				}
			}
			switch q := m.Questions[0].Name.String(); q {
			case "spoofed.example.":
				fake := m
				fake.Answers = []dnsmessage.Resource{record("spoofed.example.")}
				fake.ID++
				send(fake) // another id
				fake.ID--
				fake.Response = false
				send(fake) // a question
				fake.Response = true
				fake.Questions = []dnsmessage.Question{{Name: dnsmessage.MustNewName("x."), Type: A, Class: dnsmessage.ClassINET}}
				send(fake) // another question
				conn.WriteTo([]byte("rubbish"), from)
				m.RCode = dnsmessage.RCodeNameError
				send(m)
			case "stranger.example.":
				m.Answers = []dnsmessage.Resource{record("other.example.")}
				send(m)
			}
		}
	}()
	c := NewClient(false, conn.LocalAddr().(*net.UDPAddr).AddrPort())
	for _, name := range []string{"spoofed.example", "stranger.example"} {
		if a, err := c.Lookup(ctx, name, A); !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: %v, %v", name, a, err)
		}
	}
	short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	if _, err := c.Lookup(short, "silent.example", A); !errors.Is(err, ErrTemporary) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a silent server: %v", err)
	}
	if _, err := NewClient(false).Lookup(ctx, "example.org", A); !errors.Is(err, ErrTemporary) {
		t.Errorf("no servers: %v", err)
	}
}

func TestCache(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := zone(t)
		c := NewCached(z, 10)
		ctx := context.Background()
		ask := func(name string, want int) {
			t.Helper()
			c.Lookup(ctx, name, A)
			if n := z.Asked(name); n != want {
				t.Errorf("%s was asked %d times, want %d", name, n, want)
			}
		}
		ask("mx1.example.org", 1)
		ask("MX1.example.org.", 1)
		ask("no.example", 1)
		ask("no.example", 1)
		ask("dead.example", 1)
		ask("dead.example", 1)
		time.Sleep(failureTTL + time.Second)
		ask("dead.example", 2)
		if a, _ := c.Lookup(ctx, "mx1.example.org", A); a.TTL != 5*time.Minute-failureTTL-time.Second {
			t.Errorf("the TTL did not count down: %v", a.TTL)
		}
		time.Sleep(defaultNoTTL)
		ask("no.example", 2)
		time.Sleep(5 * time.Minute)
		ask("mx1.example.org", 2)
		for i := range 100 {
			c.Lookup(ctx, fmt.Sprintf("n%d.example", i), A)
		}
		if n := c.kept.Len(); n != 10 {
			t.Errorf("%d answers are kept", n)
		}
	})
}

func TestOneFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := MustZone("slow.example SLOW 3s\nslow.example A 192.0.2.1")
		c := NewCached(z, 10)
		ctx := context.Background()
		hasty, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := c.Lookup(hasty, "slow.example", A); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("the hasty one: %v", err)
			}
		})
		for range 20 {
			wg.Go(func() {
				if _, err := c.Lookup(ctx, "slow.example", A); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if z.Asked() != 1 {
			t.Errorf("asked %d times", z.Asked())
		}
	})
}

func TestResolvConf(t *testing.T) {
	servers, trusted := parseConf("# c\nnameserver 192.0.2.53\nsearch x\nnameserver fe80::1%eth0\nnameserver bad\noptions edns0 trust-ad\n")
	if fmt.Sprint(servers, trusted) != "[192.0.2.53:53 [fe80::1%eth0]:53] true" {
		t.Errorf("read %v, %v", servers, trusted)
	}
	c, err := System(filepath.Join(t.TempDir(), "none"))
	if err != nil || fmt.Sprint(c.servers) != "[127.0.0.1:53]" || !c.trusted {
		t.Errorf("without a file: %+v, %v", c, err)
	}
}

func TestHostsFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hosts")
	if err := os.WriteFile(path, []byte("192.0.2.9 Upstream up # comment\n::9 upstream\nrubbish x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := NewClient(false)
	c.hosts.path = path
	if got, err := LookupHosts(context.Background(), c, "upstream"); fmt.Sprint(got) != "[::9 192.0.2.9]" {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := c.Lookup(context.Background(), "up", AAAA); !errors.Is(err, ErrNotFound) {
		t.Errorf("a name with another kind of address: %v", err)
	}
}

func TestReverse(t *testing.T) {
	for addr, want := range map[string]string{
		"192.0.2.1":          "1.2.0.192",
		"::ffff:192.0.2.1":   "1.2.0.192",
		"2001:db8::567:89ab": "b.a.9.8.7.6.5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2",
	} {
		if got := Reverse(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s: %s", addr, got)
		}
	}
}

func FuzzParseAnswer(f *testing.F) {
	z := zone(f)
	for _, q := range []struct {
		name string
		t    Type
	}{{"example.org", TXT}, {"www.example.org", A}, {"no.example", A}, {"example.org", MX}} {
		query, _, err := newQuery(q.name, q.t)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(z.answer(context.Background(), query, 65535), q.name, uint16(q.t))
	}
	f.Fuzz(func(t *testing.T, msg []byte, name string, typ uint16) {
		if len(msg) < 2 {
			return
		}
		a, err := parseAnswer(msg, uint16(msg[0])<<8|uint16(msg[1]), name, Type(typ))
		if err == nil && len(a.Records) == 0 && a.Name == name {
			t.Fatal("neither records nor an error nor a way on")
		}
		if len(a.Records) > maxRecords || a.TTL < 0 {
			t.Fatalf("%d records for %v", len(a.Records), a.TTL)
		}
	})
}
