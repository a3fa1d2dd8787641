//go:build interop

package test

import (
	"os/exec"
	"strings"
	"testing"
)

// clientConfig adds a client certificate to the upstream.
const clientConfig = `
certificate "partner" {
  cert   = "CERT"
  key    = "KEY"
  client = true
}
upstream "old" {
  certificate = "partner"
`

// withClient starts a server whose upstream has the client certificate called
// name. auth is added to the upstream.
func withClient(t *testing.T, p *peerServer, name, auth string) *server {
	t.Helper()
	text := strings.NewReplacer("PORT", p.port, "\"TLS\"", `"require"`, "CLIENT", "no").Replace(upstreamConfig)
	text = strings.Replace(text, "upstream \"old\" {\n", strings.NewReplacer("CERT", p.path(name+".pem"), "KEY", p.path(name+"key.pem")).Replace(clientConfig)+auth, 1)
	s := prepare(t, text)
	s.start()
	return s
}

// clientCertificate creates a certificate for relay@example.org.
func (p *peerServer) clientCertificate() {
	p.sh("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=relay.example.org",
		"-addext", "subjectAltName=email:relay@example.org", "-keyout", p.path("clientkey.pem"), "-out", p.path("client.pem"))
}

// Postfix requires a client certificate. It trusts its own, which is therefore
// used as ours.
func TestInteropPostfixClientCertificate(t *testing.T) {
	p := startPostfix(t, "encrypt", "smtpd_tls_req_ccert = yes\nsmtpd_tls_CAfile = DIR/cert.pem\n"+
		"relay_clientcerts = static:ok\nsmtpd_client_restrictions = permit_tls_clientcerts, reject\n")
	p.sh("cp", p.path("key.pem"), p.path("certkey.pem"))
	s := withClient(t, p, "cert", "")
	s.talk("inbound", strings.ReplaceAll(inlineTalk, "SUBJECT", "first"))
	p.got("Subject: first\n")
}

// Exim accepts the address in the certificate as the login with EXTERNAL, and
// no mail without a login.
func TestInteropEximExternal(t *testing.T) {
	if out, err := exec.Command(eximPath, "-C", "/dev/null", "-bV").CombinedOutput(); err != nil || !strings.Contains(string(out), " external ") {
		t.Skipf("exim without EXTERNAL: %v\n%s", err, out)
	}
	for auth, accepted := range map[string]bool{"auth {\n user = \"relay@example.org\"\n}\n": true, "": false} {
		p := newPeerServer(t)
		p.certificate()
		p.clientCertificate()
		conf := strings.Replace(eximConf, "\nTLS\n", "\ntls_certificate = DIR/cert.pem\ntls_privatekey = DIR/key.pem\ntls_advertise_hosts = *\n"+
			"tls_verify_certificates = DIR/client.pem\ntls_try_verify_hosts = *\n", 1)
		conf = strings.Replace(conf, "rcpt:\n", "rcpt:\n  deny !authenticated = *\n       message = 5.7.0 login required\n", 1)
		conf += "begin authenticators\nexternal:\n  driver = external\n  public_name = EXTERNAL\n" +
			"  server_advertise_condition = ${if eq{$tls_in_certificate_verified}{1}}\n" +
			"  server_param2 = ${certextract{subj_altname,mail,>:}{$tls_in_peercert}}\n" +
			"  server_condition = ${if forany{$auth2}{eq{$item}{$auth1}}}\n  server_set_id = $auth1\n"
		p.write("exim.conf", strings.NewReplacer("DIR", p.dir, "PORT", p.port, "EXIM", eximPath).Replace(conf))
		p.sh("mkdir", p.path("spool"), p.path("mail"))
		p.sh("chown", "mail:mail", p.path("spool"), p.path("mail"))
		p.start(eximPath, "-C", p.path("exim.conf"), "-bdf")
		s := withClient(t, p, "client", auth)
		if accepted {
			s.talk("inbound", strings.ReplaceAll(inlineTalk, "SUBJECT", "first"))
			p.got("Subject: first\n")
			continue
		}
		s.talk("inbound", "S: 220 *\nC: EHLO client.example.net\nS+ 250 *\nC: MAIL FROM:<bob@example.com>\nS: 250 *\nC: RCPT TO:<ann@example.org>\nS: 550 5.7.0 *login required*\nC: QUIT\nS: 221 *\n")
	}
}
