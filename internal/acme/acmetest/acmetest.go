// Package acmetest provides an ACME authority for tests: pebble, Let's
// Encrypt's small test server, and a DNS server in which every name resolves to
// loopback.
package acmetest

import (
	"encoding/pem"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/letsencrypt/pebble/v2/ca"
	"github.com/letsencrypt/pebble/v2/db"
	"github.com/letsencrypt/pebble/v2/va"
	"github.com/letsencrypt/pebble/v2/wfe"
	"github.com/miekg/dns"
)

// Secret is the TSIG key "acme" that signs updates to the Zone.
const Secret = "c2VjcmV0IGtleSBvZiB0aGUgem9uZQ=="

// Authority is a running pebble.
type Authority struct {
	URL  string // directory URL
	Root string // file with the server's certificate
	DNS  *Zone
	HTTP int         // port it contacts for http-01
	TLS  int         // port it contacts for tls-alpn-01
	Down atomic.Bool // when set, every request is answered with 503
}

// New starts an authority that runs until the test ends.
func New(t *testing.T) *Authority {
	t.Helper()
	t.Setenv("PEBBLE_VA_NOSLEEP", "1")
	t.Setenv("PEBBLE_WFE_NONCEREJECT", "0")
	a := &Authority{DNS: newZone(t), HTTP: freePort(t), TLS: freePort(t)}
	quiet := log.New(io.Discard, "", 0)
	store := db.NewMemoryStore()
	issuer := ca.New(quiet, store, "", "ecdsa", 0, 1, map[string]ca.Profile{"default": {ValidityPeriod: 90 * 24 * 3600}})
	checks := va.New(quiet, a.HTTP, a.TLS, false, a.DNS.Addr, store)
	front := wfe.New(quiet, store, checks, issuer, []string{"pebble.letsencrypt.org"}, false, false, 1, 1)
	handler := front.Handler()
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if a.Down.Load() {
			http.Error(w, "down", http.StatusServiceUnavailable)
			return
		}
		handler.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	a.URL = server.URL + wfe.DirectoryPath
	a.Root = filepath.Join(t.TempDir(), "root.pem")
	if err := os.WriteFile(a.Root, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	return a
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// Zone is a DNS server that resolves every name to a loopback address, has an
// SOA record for example.org, and accepts updates of TXT records.
type Zone struct {
	Addr    string
	Updates atomic.Int64
	txt     chan map[string][]string
}

func newZone(t *testing.T) *Zone {
	t.Helper()
	z := &Zone{txt: make(chan map[string][]string, 1)}
	z.txt <- map[string][]string{}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p, err := net.ListenPacket("udp", l.Addr().String())
	if err != nil {
		t.Skip("no UDP port beside the TCP port: ", err)
	}
	z.Addr = l.Addr().String()
	for _, s := range []*dns.Server{{Listener: l}, {PacketConn: p}} {
		s.Handler = z
		s.TsigSecret = map[string]string{"acme.": Secret}
		s.MsgAcceptFunc = func(dns.Header) dns.MsgAcceptAction { return dns.MsgAccept }
		go s.ActivateAndServe()
		t.Cleanup(func() { s.Shutdown() })
	}
	return z
}

// Records returns the currently published TXT records.
func (z *Zone) Records() map[string][]string {
	m := <-z.txt
	defer func() { z.txt <- m }()
	c := make(map[string][]string, len(m))
	for name, texts := range m {
		c[name] = slices.Clone(texts)
	}
	return c
}

// ServeDNS implements dns.Handler.
func (z *Zone) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	r := new(dns.Msg)
	r.SetReply(q)
	r.Authoritative = true
	defer func() { w.WriteMsg(r) }()
	if q.Opcode == dns.OpcodeUpdate {
		if q.IsTsig() == nil || w.TsigStatus() != nil {
			r.Rcode = dns.RcodeRefused
			return
		}
		z.Updates.Add(1)
		m := <-z.txt
		for _, rr := range q.Ns {
			if t, ok := rr.(*dns.TXT); ok && t.Hdr.Class == dns.ClassINET {
				m[t.Hdr.Name] = append(m[t.Hdr.Name], t.Txt[0])
			} else {
				delete(m, rr.Header().Name)
			}
		}
		z.txt <- m
		r.SetTsig("acme.", dns.HmacSHA256, 300, time.Now().Unix())
		return
	}
	question := q.Question[0]
	head := dns.RR_Header{Name: question.Name, Rrtype: question.Qtype, Class: dns.ClassINET}
	switch question.Qtype {
	case dns.TypeA:
		r.Answer = append(r.Answer, &dns.A{Hdr: head, A: net.IPv4(127, 0, 0, 1)})
	case dns.TypeTXT:
		for _, text := range z.Records()[question.Name] {
			r.Answer = append(r.Answer, &dns.TXT{Hdr: head, Txt: []string{text}})
		}
	case dns.TypeSOA:
		soa := &dns.SOA{Hdr: dns.RR_Header{Name: "example.org.", Rrtype: dns.TypeSOA, Class: dns.ClassINET}, Ns: "ns.example.org.", Mbox: "x.example.org."}
		if question.Name == "example.org." {
			r.Answer = append(r.Answer, soa)
		} else {
			r.Ns = append(r.Ns, soa)
		}
	case dns.TypeNS:
		r.Answer = append(r.Answer, &dns.NS{Hdr: dns.RR_Header{Name: "example.org.", Rrtype: dns.TypeNS, Class: dns.ClassINET}, Ns: "localhost."})
	}
}
