//go:build interop

package test

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/smtp"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// authority is a certificate authority that all programs of the test trust.
type authority struct {
	t    *testing.T
	leaf *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	a := &authority{t: t}
	c := a.issue("Matrix CA")
	a.leaf, a.key = c.Leaf, c.PrivateKey.(*ecdsa.PrivateKey)
	return a
}

// issue returns a certificate for names with its chain. Before the authority has a
// certificate, the new one is self-signed.
func (a *authority) issue(names ...string) tls.Certificate {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	serial, _ := rand.Int(rand.Reader, big.NewInt(1<<60))
	template := &x509.Certificate{SerialNumber: serial, Subject: pkix.Name{CommonName: names[0]}, DNSNames: names,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	parent, signer := a.leaf, a.key
	if parent == nil {
		parent, signer = template, key
		template.IsCA, template.KeyUsage, template.ExtKeyUsage, template.DNSNames = true, x509.KeyUsageCertSign, nil, nil
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	c := tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	if c.Leaf, err = x509.ParseCertificate(der); err != nil {
		a.t.Fatal(err)
	}
	if a.leaf != nil {
		c.Certificate = append(c.Certificate, a.leaf.Raw)
	}
	return c
}

// matrix holds the servers of all situations.
type matrix struct {
	t    *testing.T
	ca   *authority
	root string // file with the authority's certificate
	net  string // the first three octets of all addresses
	all  []*situation

	mu       sync.Mutex
	received map[string]bool // by EHLO name and domain
}

func (m *matrix) address(n int) string { return fmt.Sprintf("%s.%d", m.net, n) }

// newMatrix starts the mail servers and the policy host.
func newMatrix(t *testing.T, dir string) *matrix {
	for _, program := range []string{"named", "dnssec-signzone", "unbound", "mta-sts-daemon", "unshare"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("%s is not installed: make interop installs it", program)
		}
	}
	m := &matrix{t: t, ca: newAuthority(t), net: fmt.Sprintf("127.%d.%d", 1+os.Getpid()>>8&127, os.Getpid()&255), all: situations(), received: map[string]bool{}}
	m.root = dir + "/root.pem"
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: m.ca.leaf.Raw})
	if err := os.WriteFile(m.root, text, 0o644); err != nil {
		t.Fatal(err)
	}
	var hosts []string
	policies := map[string]string{}
	for i, s := range m.all {
		s.ip = m.address(100 + i)
		switch s.cert {
		case "":
			s.leaf = (&authority{t: t}).issue("self-signed")
		case "ca":
			s.leaf = m.ca.issue("mx." + s.domain())
		default:
			s.leaf = m.ca.issue(s.cert)
		}
		if mode, mx, ok := strings.Cut(s.expand(s.sts, ""), " "); ok {
			hosts = append(hosts, "mta-sts."+s.domain())
			policies["mta-sts."+s.domain()] = "version: STSv1\r\nmode: " + mode + "\r\nmx: " + mx + "\r\nmax_age: 86400\r\n"
		}
		go m.serve(s, m.listen(s.ip+":25"))
	}
	web := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		io.WriteString(w, policies[r.Host])
	})}
	l := m.listen(m.address(80) + ":443")
	go web.Serve(tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{m.ca.issue(hosts...)}}))
	return m
}

func (m *matrix) listen(address string) net.Listener {
	m.t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() { l.Close() })
	return l
}

// serve is the mail server of a situation.
func (m *matrix) serve(s *situation, l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go m.session(s, c)
	}
}

func (m *matrix) session(s *situation, c net.Conn) {
	defer func() { c.Close() }()
	c.SetDeadline(time.Now().Add(patience))
	in := bufio.NewReader(c)
	fmt.Fprint(c, "220 mx ready\r\n")
	helo, reading, secure := "", false, s.clear
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		verb, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch {
		case reading && line == ".\r\n":
			reading = false
			m.mu.Lock()
			m.received[helo+" "+s.name] = true
			m.mu.Unlock()
			fmt.Fprint(c, "250 2.0.0 accepted\r\n")
		case reading:
		case verb == "EHLO" && secure:
			helo = rest
			fmt.Fprint(c, "250 mx\r\n")
		case verb == "EHLO":
			fmt.Fprint(c, "250-mx\r\n250 STARTTLS\r\n")
			helo = rest
		case verb == "STARTTLS":
			fmt.Fprint(c, "220 ready\r\n")
			t := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{s.leaf}})
			if t.Handshake() != nil {
				return
			}
			c, in, secure = t, bufio.NewReader(t), true
		case verb == "DATA":
			reading = true
			fmt.Fprint(c, "354 go on\r\n")
		case verb == "QUIT":
			fmt.Fprint(c, "221 bye\r\n")
			return
		default:
			fmt.Fprint(c, "250 2.0.0 ok\r\n")
		}
	}
}

// has reports whether the mail server of a situation received mail from the client
// with an EHLO name.
func (m *matrix) has(helo string, s *situation) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.received[helo+" "+s.name]
}

// sign writes the zones, and signs the upper one with dnssec-signzone.
func (m *matrix) sign(p *peerServer) {
	zones := map[bool]string{}
	for _, plain := range []bool{false, true} {
		zones[plain] = "$TTL 300\n@ SOA ns hostmaster 1 3600 600 86400 300\n@ NS ns\nns A 127.0.0.1\n"
	}
	zones[false] += "plain NS ns.plain\nns.plain A 127.0.0.1\n"
	other := m.ca.issue("other").Leaf.RawSubjectPublicKeyInfo
	for _, s := range m.all {
		for line := range strings.Lines(s.records(other, m.ca.leaf.Raw, m.address(80))) {
			owner, _, _ := strings.Cut(line, " ")
			zones[strings.HasSuffix(owner, ".plain.matrix.test.")] += line
		}
	}
	p.write("matrix", zones[false])
	p.write("plain", zones[true])
	p.sh("dnssec-keygen", "-q", "-K", p.dir, "-a", "ECDSAP256SHA256", "matrix.test")
	p.write("anchor", p.keyRecord(p.sh("dnssec-keygen", "-q", "-K", p.dir, "-a", "ECDSAP256SHA256", "-f", "KSK", "matrix.test")))
	p.sh("dnssec-signzone", "-S", "-K", p.dir, "-d", p.dir, "-o", "matrix.test", "-O", "full", "-f", p.path("signed"), p.path("matrix"))
	signed, err := os.ReadFile(p.path("signed"))
	if err != nil {
		m.t.Fatal(err)
	}
	text := string(signed)
	for _, s := range m.all {
		for _, b := range s.bogus {
			text = m.corrupt(text, s.expand(b, "."))
		}
	}
	p.write("signed", text)
}

// keyRecord returns the DNSKEY record of a key file.
func (p *peerServer) keyRecord(name string) string {
	p.t.Helper()
	b, err := os.ReadFile(p.path(name + ".key"))
	if err != nil {
		p.t.Fatal(err)
	}
	return string(b)
}

// corrupt changes the signature of the records with a name and a type.
func (m *matrix) corrupt(zone, what string) string {
	m.t.Helper()
	name, kind, _ := strings.Cut(what, " ")
	re := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(name) + `\s+\d+\s+IN\s+RRSIG\s+` + kind + `\s.*$`)
	line := re.FindString(zone)
	if line == "" {
		m.t.Fatalf("no signature of %s", what)
	}
	at := len(line) - 20
	changed := byte('A')
	if line[at] == changed {
		changed = 'B'
	}
	return strings.Replace(zone, line, line[:at]+string(changed)+line[at+1:], 1)
}

const namedConf = `options {
	directory "DIR";
	listen-on port PORT { 127.0.0.1; };
	listen-on-v6 { none; };
	pid-file "DIR/named.pid";
	session-keyfile "DIR/session.key";
	recursion no;
	dnssec-validation no;
	check-names primary ignore;
	check-mx-cname ignore;
};
controls { };
zone "matrix.test" { type primary; file "DIR/signed"; };
zone "plain.matrix.test" { type primary; file "DIR/plain"; };
`

const unboundConf = `server:
  do-daemonize: no
  username: ""
  chroot: ""
  directory: "DIR"
  pidfile: "DIR/unbound.pid"
  use-syslog: no
  interface: 127.0.0.1@PORT
  interface: RESOLVER@53
  access-control: 127.0.0.0/8 allow
  do-not-query-localhost: no
  do-ip6: no
  module-config: "validator iterator"
  trust-anchor-file: "NAMED/anchor"
  trust-anchor-signaling: no
  local-zone: "test." nodefault
remote-control:
  control-enable: no
stub-zone:
  name: "matrix.test"
  stub-addr: 127.0.0.1@ZONES
stub-zone:
  name: "plain.matrix.test"
  stub-addr: 127.0.0.1@ZONES
`

// resolver serves the zones with BIND and validates them with Unbound. It returns
// the address of Unbound. Programs that cannot be given a port use
// m.address(53).
func (m *matrix) resolver() string {
	zones := newPeerServer(m.t)
	m.sign(zones)
	zones.write("named.conf", strings.NewReplacer("DIR", zones.dir, "PORT", zones.port).Replace(namedConf))
	zones.start("named", "-g", "-c", zones.path("named.conf"))
	p := newPeerServer(m.t)
	p.write("unbound.conf", strings.NewReplacer("DIR", p.dir, "PORT", p.port, "RESOLVER", m.address(53), "NAMED", zones.dir, "ZONES", zones.port).Replace(unboundConf))
	p.start("unbound", "-d", "-p", "-c", p.path("unbound.conf"))
	return "127.0.0.1:" + p.port
}

// own returns the command with its own /etc/resolv.conf, which names Unbound.
func (m *matrix) own(p *peerServer, args ...string) []string {
	p.write("resolv.conf", "nameserver "+m.address(53)+"\noptions trust-ad edns0\n")
	return append([]string{"unshare", "-m", "sh", "-c", `mount --bind "$0" /etc/resolv.conf && exec "$@"`, p.path("resolv.conf")}, args...)
}

// policyMap starts postfix-mta-sts-resolver and returns its address.
func (m *matrix) policyMap() string {
	p := newPeerServer(m.t)
	p.write("sts.yml", "host: 127.0.0.1\nport: "+p.port+"\ncache:\n  type: internal\n  options:\n    cache_size: 100\ndefault_zone:\n  strict_testing: false\n  timeout: 10\n")
	args := m.own(p, "env", "SSL_CERT_FILE="+m.root, "mta-sts-daemon", "-c", p.path("sts.yml"))
	p.start(args[0], args[1:]...)
	return "127.0.0.1:" + p.port
}

const matrixConfig = `
hostname = "relay.example.org"
smtp "inbound" {
  listen     = ["127.0.0.1:0"]
  chain      = "inbound"
  relay_from = ["127.0.0.0/8"]
  tls        = "off"
}
chain "inbound" {
  route "internet" {
    relay = true
    hop   = "internet"
  }
}
upstream "internet" {
  mx             = true
  mode           = "queue"
  allow_loopback = true
}
dns {
  server = "RESOLVER"
}
`

const matrixMail = "From: bob@example.com\r\nSubject: x\r\nMessage-ID: <1@example.com>\r\n\r\nhello\r\n"

// send sends mail for all domains to a server.
func (m *matrix) send(address string) {
	m.t.Helper()
	for _, s := range m.all {
		if err := smtp.SendMail(address, nil, "bob@example.com", []string{"ann@" + s.domain()}, []byte(matrixMail)); err != nil {
			m.t.Fatal(err)
		}
	}
}

// hoplite sends mail to all domains through Hoplite and returns a function that
// returns its verdict with the reason.
func (m *matrix) hoplite(resolver string) func(*situation) (string, string) {
	server := prepare(m.t, strings.Replace(matrixConfig, "RESOLVER", resolver, 1))
	server.env = append(os.Environ(), "SSL_CERT_FILE="+m.root)
	server.start()
	m.send(server.addr["inbound"])
	return func(s *situation) (string, string) {
		m.t.Helper()
		var attempt logLine
		server.waitFor("an attempt for "+s.domain(), func() bool {
			for text := range strings.Lines(server.log.String()) {
				attempt = logLine{}
				if json.Unmarshal([]byte(text), &attempt) == nil && attempt.Stage != "" && attempt.Trail.Sent[0].Rcpt == "ann@"+s.domain() {
					return true
				}
			}
			return false
		})
		sent := attempt.Trail.Sent[0]
		switch {
		case attempt.Message != "delivered":
			return attempt.Message, sent.Reply
		case strings.HasPrefix(sent.Proof, "clear text"):
			return clearText, sent.Proof
		case strings.Contains(sent.Proof, "DANE") && strings.HasSuffix(sent.Proof, "matched"):
			return byDANE, sent.Proof
		case strings.HasSuffix(sent.Proof, "verified by MTA-STS"):
			return bySTS, sent.Proof
		}
		return encrypted, sent.Proof
	}
}

// postfix sends mail to all domains through Postfix and returns a function that
// returns its verdict with the reason.
func (m *matrix) postfix() func(*situation) (string, string) {
	p := preparePostfix(m.t, "none", strings.NewReplacer("ROOT", m.root, "STS", m.policyMap()).Replace(`virtual_mailbox_domains =
virtual_mailbox_maps =
disable_dns_lookups = no
dnssec_probe =
smtp_dns_support_level = dnssec
smtp_host_lookup = dns
smtp_tls_security_level = dane
smtp_tls_loglevel = 1
smtp_tls_CAfile = ROOT
smtp_tls_policy_maps = socketmap:inet:STS:postfix
`))
	args := m.own(p, postfixProgram, "-c", p.path("etc"), "-d")
	p.start(args[0], args[1:]...)
	m.send("127.0.0.1:" + p.port)
	return func(s *situation) (string, string) {
		status := regexp.MustCompile(`to=<ann@` + regexp.QuoteMeta(s.domain()) + `>.* status=(\w+) \((.*)\)`)
		session := regexp.MustCompile(`(\w+) TLS connection established to [^\[]*\[` + regexp.QuoteMeta(s.ip) + `\]`)
		for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
			log, _ := os.ReadFile(p.path("log"))
			found := status.FindStringSubmatch(string(log))
			if found == nil {
				continue
			}
			proof := session.FindStringSubmatch(string(log))
			switch {
			case found[1] != "sent":
				return found[1], found[2]
			case proof == nil:
				return clearText, ""
			case proof[1] != "Verified":
				return encrypted, proof[0]
			case s.sts != "":
				return bySTS, proof[0]
			}
			return byDANE, proof[0]
		}
		return "no verdict", ""
	}
}

// Hoplite delivers and defers mail like Postfix with DANE and
// postfix-mta-sts-resolver, apart from the listed differences.
func TestInteropDestinations(t *testing.T) {
	home := newPeerServer(t)
	m := newMatrix(t, home.dir)
	hoplite, postfix := m.hoplite(m.resolver()), m.postfix()
	for _, c := range m.all {
		got, reason := hoplite(c)
		t.Logf("%-24s %s (%s)", c.name, got, reason)
		if got != c.want {
			t.Errorf("%s: %s, want %s: %s", c.name, got, c.want, reason)
		}
		if has := m.has("relay.example.org", c); has != strings.HasPrefix(c.want, "sent") {
			t.Errorf("%s: mail received by the server: %v, want %s", c.name, has, c.want)
		}
		want := c.want
		if c.why != "" {
			want = c.postfix
		}
		got, reason = postfix(c)
		t.Logf("%-24s Postfix: %s (%s)", "", got, reason)
		if got != want {
			t.Errorf("%s: Postfix: %s, want %s: %s", c.name, got, want, reason)
		}
		if has := m.has("peer.invalid", c); has != strings.HasPrefix(want, "sent") {
			t.Errorf("%s: mail from Postfix received by the server: %v, want %s", c.name, has, want)
		}
		if c.why != "" {
			t.Logf("%-24s Difference: %s", "", c.why)
		}
	}
}
