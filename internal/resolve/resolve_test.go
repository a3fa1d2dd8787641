package resolve_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"hoplite/internal/resolve"
	"hoplite/internal/resolve/resolvetest"
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

func preferences(mx []resolve.Record) (list []string) {
	for _, r := range mx {
		list = append(list, fmt.Sprint(r.Pref, r.Host))
	}
	return list
}

func zone(t testing.TB) *resolvetest.Zone {
	t.Helper()
	text := strings.Replace(testZone, "bücher", "xn--bcher-kva", 1) +
		"long.example.org TXT \"" + strings.Repeat("0123456789", 200) + "\"\n"
	z, err := resolvetest.ParseZone(text)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

// The zone itself and a client querying a server of the zone must give the same
// answers.
func TestLookups(t *testing.T) {
	z := zone(t)
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	at, err := z.Serve(ctx)
	if err != nil {
		t.Fatal(err)
	}
	client := resolve.NewClient(false, at)
	client.SetHosts(filepath.Join(t.TempDir(), "none"))
	for name, r := range map[string]resolve.Resolver{"zone": z, "client": client, "cached": resolve.NewCached(client, 100)} {
		t.Run(name, func(t *testing.T) {
			for _, c := range []struct {
				what string
				get  func() (any, error)
				want string
			}{
				{"txt", func() (any, error) { return resolve.LookupTXT(ctx, r, "Example.ORG.") }, "[v=spf1 mx -all second]"},
				{"mx by preference", func() (any, error) {
					mx, err := resolve.LookupMX(ctx, r, "example.org")
					return preferences(mx), err
				}, "[10mx1.example.org 20mx2.example.org]"},
				{"null mx", func() (any, error) { mx, err := resolve.LookupMX(ctx, r, "null.example"); return len(mx[0].Host), err }, "0"},
				{"hosts", func() (any, error) { return resolve.LookupHosts(ctx, r, "mx1.example.org") }, "[2001:db8::1 192.0.2.1]"},
				{"through cnames", func() (any, error) { return resolve.LookupHosts(ctx, r, "www.example.org") }, "[2001:db8::1 192.0.2.1]"},
				{"u-label", func() (any, error) { return resolve.LookupHosts(ctx, r, "BÜCHER.example") }, "[192.0.2.7]"},
				{"ptr", func() (any, error) { return resolve.LookupPTR(ctx, r, netip.MustParseAddr("192.0.2.1")) }, "[mx1.example.org]"},
				{"ptr 6", func() (any, error) { return resolve.LookupPTR(ctx, r, netip.MustParseAddr("2001:db8::1")) }, "[mx1.example.org]"},
				{"longer than a datagram", func() (any, error) { s, err := resolve.LookupTXT(ctx, r, "long.example.org"); return len(s[0]), err }, "2000"},
				{"localhost", func() (any, error) { return resolve.LookupHosts(ctx, client, "localhost") }, "[::1 127.0.0.1]"},
			} {
				got, err := c.get()
				if err != nil || fmt.Sprint(got) != c.want {
					t.Errorf("%s: %v, %v, want %s", c.what, got, err, c.want)
				}
			}
			for _, c := range []struct {
				name            string
				t               resolve.Type
				temporary, gone bool
			}{
				{"no.example", resolve.A, false, true},
				{"example.org", resolve.AAAA, false, false},
				{"dead.example", resolve.A, true, false},
				{"ring.example.org", resolve.A, false, false},
				{"nowhere.example.org", resolve.A, false, true},
				{"a..b", resolve.A, false, true},
				{strings.Repeat("x", 64) + ".example", resolve.A, false, true},
				{strings.Repeat("x.", 200), resolve.A, false, true},
			} {
				_, err := r.Lookup(ctx, c.name, c.t)
				e := (*resolve.Error)(nil)
				if !errors.As(err, &e) || e.Temporary != c.temporary || e.NoDomain != c.gone ||
					errors.Is(err, resolve.ErrNotFound) == c.temporary || errors.Is(err, resolve.ErrTemporary) != c.temporary {
					t.Errorf("%.40s %v: %#v", c.name, c.t, err)
				}
			}
		})
	}
	a, err := client.Lookup(ctx, "mx1.example.org", resolve.A)
	if err != nil || a.Authentic || a.TTL != 5*time.Minute {
		t.Errorf("answer %+v, %v", a, err)
	}
	validating, err := resolvetest.ParseZone("mx1.example.org A 192.0.2.1")
	if err != nil {
		t.Fatal(err)
	}
	validating.Authentic = true
	if at, err = validating.Serve(ctx); err != nil {
		t.Fatal(err)
	}
	client = resolve.NewClient(false, at)
	if a, _ := client.Lookup(ctx, "mx1.example.org", resolve.A); !a.Authentic {
		t.Error("a server on this machine is not believed")
	}
}

// The server sends prepared answers, and the test checks how the client
// interprets them.
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
				send(fake) // wrong id
				fake.ID--
				fake.Response = false
				send(fake) // a query instead of an answer
				fake.Response = true
				fake.Questions = []dnsmessage.Question{{Name: dnsmessage.MustNewName("x."), Type: resolve.A, Class: dnsmessage.ClassINET}}
				send(fake) // wrong question
				conn.WriteTo([]byte("rubbish"), from)
				m.RCode = dnsmessage.RCodeNameError
				send(m)
			case "stranger.example.":
				m.Answers = []dnsmessage.Resource{record("other.example.")}
				send(m)
			}
		}
	}()
	c := resolve.NewClient(false, conn.LocalAddr().(*net.UDPAddr).AddrPort())
	for _, name := range []string{"spoofed.example", "stranger.example"} {
		if a, err := c.Lookup(ctx, name, resolve.A); !errors.Is(err, resolve.ErrNotFound) {
			t.Errorf("%s: %v, %v", name, a, err)
		}
	}
	short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	if _, err := c.Lookup(short, "silent.example", resolve.A); !errors.Is(err, resolve.ErrTemporary) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a silent server: %v", err)
	}
	if _, err := resolve.NewClient(false).Lookup(ctx, "example.org", resolve.A); !errors.Is(err, resolve.ErrTemporary) {
		t.Errorf("no servers: %v", err)
	}
}

func TestCache(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := zone(t)
		c := resolve.NewCached(z, 10)
		ctx := context.Background()
		ask := func(name string, want int) {
			t.Helper()
			c.Lookup(ctx, name, resolve.A)
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
		time.Sleep(resolve.FailureTTL + time.Second)
		ask("dead.example", 2)
		if a, _ := c.Lookup(ctx, "mx1.example.org", resolve.A); a.TTL != 5*time.Minute-resolve.FailureTTL-time.Second {
			t.Errorf("the TTL did not count down: %v", a.TTL)
		}
		time.Sleep(resolve.DefaultNoTTL)
		ask("no.example", 2)
		time.Sleep(5 * time.Minute)
		ask("mx1.example.org", 2)
		for i := range 100 {
			c.Lookup(ctx, fmt.Sprintf("n%d.example", i), resolve.A)
		}
		if n := c.Kept(); n != 10 {
			t.Errorf("%d answers are kept", n)
		}
	})
}

func TestOneFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := resolvetest.MustZone("slow.example SLOW 3s\nslow.example A 192.0.2.1")
		c := resolve.NewCached(z, 10)
		ctx := context.Background()
		hasty, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := c.Lookup(hasty, "slow.example", resolve.A); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("the hasty one: %v", err)
			}
		})
		for range 20 {
			wg.Go(func() {
				if _, err := c.Lookup(ctx, "slow.example", resolve.A); err != nil {
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

func FuzzParseAnswer(f *testing.F) {
	z := zone(f)
	for _, q := range []struct {
		name string
		t    resolve.Type
	}{{"example.org", resolve.TXT}, {"www.example.org", resolve.A}, {"no.example", resolve.A}, {"example.org", resolve.MX}} {
		query, _, err := resolve.NewQuery(q.name, q.t)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(z.Answer(context.Background(), query, 65535), q.name, uint16(q.t))
	}
	f.Fuzz(func(t *testing.T, msg []byte, name string, typ uint16) {
		if len(msg) < 2 {
			return
		}
		a, err := resolve.ParseAnswer(msg, uint16(msg[0])<<8|uint16(msg[1]), name, resolve.Type(typ))
		if err == nil && len(a.Records) == 0 && a.Name == name {
			t.Fatal("neither records nor an error nor a way on")
		}
		if len(a.Records) > resolve.MaxRecords || a.TTL < 0 {
			t.Fatalf("%d records for %v", len(a.Records), a.TTL)
		}
	})
}
