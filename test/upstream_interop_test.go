//go:build interop

package test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// These tests run Debian's Postfix and Exim as the upstream of this server, and
// Postfix as its client, in clear text and with TLS.

// peerServer is another mail server with its own folder.
type peerServer struct {
	t    *testing.T
	dir  string
	port string
}

// newPeerServer returns a server with a free port and a folder that other users
// can access.
func newPeerServer(t *testing.T) *peerServer {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: mail servers change their user")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	dir, err := os.MkdirTemp("", "hoplite-peer-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return &peerServer{t, dir, port}
}

func (p *peerServer) path(name string) string { return filepath.Join(p.dir, name) }

func (p *peerServer) write(name, text string) {
	p.t.Helper()
	if err := os.MkdirAll(filepath.Dir(p.path(name)), 0o755); err != nil {
		p.t.Fatal(err)
	}
	if err := os.WriteFile(p.path(name), []byte(text), 0o644); err != nil {
		p.t.Fatal(err)
	}
}

func (p *peerServer) sh(name string, args ...string) string {
	p.t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		p.t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// start runs the server in the foreground until the test ends.
func (p *peerServer) start(name string, args ...string) {
	p.t.Helper()
	log := &syncBuffer{}
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = log, log
	// The server gets its own process group, so that its child processes end
	// with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() {
		syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
		cmd.Wait()
		if p.t.Failed() {
			p.t.Logf("%s: %s", name, log)
		}
	})
	for end := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		c, err := net.Dial("tcp", "127.0.0.1:"+p.port)
		if err == nil {
			c.Close()
			return
		}
		if time.Now().After(end) {
			p.t.Fatalf("%s does not listen: %v\n%s", name, err, log)
		}
	}
}

// certificate creates a certificate for the server.
func (p *peerServer) certificate() {
	if _, err := exec.LookPath("openssl"); err != nil {
		p.t.Skip("openssl is not installed: make interop installs it")
	}
	p.sh("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
		"-keyout", p.path("key.pem"), "-out", p.path("cert.pem"))
	p.sh("chmod", "644", p.path("key.pem"))
}

// got waits for a message that contains text in ann's mailbox.
func (p *peerServer) got(text string) {
	p.t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		mails, _ := filepath.Glob(p.path("mail/ann/new/*"))
		var last []byte
		for _, m := range mails {
			b, err := os.ReadFile(m)
			if err == nil && strings.Contains(string(b), text) {
				return
			}
			last = b
		}
		if time.Now().After(end) {
			p.t.Fatalf("no mail with %q among %d, the last is\n%s", text, len(mails), last)
		}
	}
}

const postfixMain = `compatibility_level = 3.6
queue_directory = DIR/spool
data_directory = DIR/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
myhostname = peer.invalid
mydestination =
mynetworks = 127.0.0.0/8
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
disable_dns_lookups = yes
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_authorized_xclient_hosts = 127.0.0.1
smtpd_tls_security_level = TLS
smtpd_tls_cert_file = DIR/cert.pem
smtpd_tls_key_file = DIR/key.pem
smtp_tls_security_level = TLS
alias_maps =
local_recipient_maps =
virtual_mailbox_domains = example.org
virtual_mailbox_base = DIR/mail
virtual_mailbox_maps = inline:{ ann@example.org=ann/ }
virtual_uid_maps = static:UID
virtual_gid_maps = static:GID
maillog_file = DIR/log
maillog_file_prefixes = DIR
`

const postfixMaster = `PORT inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
`

// startPostfix runs Postfix; tls is the security level, and extra is added to
// main.cf.
func startPostfix(t *testing.T, tls, extra string) *peerServer {
	t.Helper()
	p := preparePostfix(t, tls, extra)
	p.start(postfixProgram, "-c", p.path("etc"), "-d")
	return p
}

// postfixProgram is the path of Postfix's main process.
const postfixProgram = "/usr/lib/postfix/sbin/master"

// preparePostfix writes the configuration of startPostfix without starting
// Postfix.
func preparePostfix(t *testing.T, tls, extra string) *peerServer {
	t.Helper()
	if _, err := os.Stat(postfixProgram); err != nil {
		t.Skip("postfix is not installed: make interop installs it")
	}
	p := newPeerServer(t)
	p.certificate()
	r := strings.NewReplacer("DIR", p.dir, "PORT", p.port, "= TLS", "= "+tls, "UID", p.sh("id", "-u", "postfix"), "GID", p.sh("id", "-g", "postfix"))
	main := extra
	for line := range strings.Lines(postfixMain) {
		// Postfix warns about a parameter that is set twice, and many warnings
		// block its log process.
		if name, _, _ := strings.Cut(line, " = "); !strings.Contains("\n"+extra, "\n"+strings.TrimSuffix(name, " =\n")+" =") {
			main += line
		}
	}
	p.write("etc/main.cf", r.Replace(main))
	p.write("etc/master.cf", r.Replace(postfixMaster))
	for _, d := range []string{"data", "mail", "spool"} {
		p.sh("mkdir", "-p", p.path(d))
	}
	p.sh("chown", "postfix", p.path("data"), p.path("mail"))
	p.sh("postfix", "-c", p.path("etc"), "check")
	return p
}

const upstreamConfig = `
hostname = "mail.example.org"
smtp "inbound" {
  listen = ["127.0.0.1:0"]
  chain  = "inbound"
}
chain "inbound" {
  route "old" {
    to  = ["example.org"]
    hop = "old"
  }
}
upstream "old" {
  servers = ["smtp://127.0.0.1:PORT"]
  mode    = "inline"
  tls     = "TLS"
  tell_client = "CLIENT"
}
`

func inFrontOf(t *testing.T, p *peerServer, tls, client string) *server {
	s := prepare(t, strings.NewReplacer("PORT", p.port, "\"TLS\"", `"`+tls+`"`, "CLIENT", client).Replace(upstreamConfig))
	s.start()
	return s
}

// inlineTalk checks that an unknown address is refused with the old server's
// reply, and that mail for ann is accepted, with its dots.
const inlineTalk = `S: 220 *
C: EHLO client.example.net
S+ 250 *
C: MAIL FROM:<bob@example.com>
S: 250 *
C: RCPT TO:<nobody@example.org>
S: 550 5.1.1 *
C: RCPT TO:<ann@example.org>
S: 250 *
C: DATA
S: 354 *
C: From: bob@example.com
C: Date: Mon, 23 Nov 2026 05:00:00 +0000
C: Message-ID: <SUBJECT@example.com>
C: Subject: SUBJECT
C: 
C: ..a dot
C: ...two
C: end
C: .
S+ 250 *
C: QUIT
S: 221 *
`

func TestInteropPostfixUpstream(t *testing.T) {
	for _, tt := range []struct{ postfix, ours, client string }{
		{"none", "off", "no"}, {"none", "may", "xclient"}, {"may", "may", "no"}, {"encrypt", "require", "xforward"}, {"may", "require", "xclient"},
	} {
		t.Run(fmt.Sprintf("%s %s %s", tt.postfix, tt.ours, tt.client), func(t *testing.T) {
			p := startPostfix(t, tt.postfix, "")
			s := inFrontOf(t, p, tt.ours, tt.client)
			for _, subject := range []string{"first", "second"} { // the second message uses a kept connection
				s.talk("inbound", strings.ReplaceAll(inlineTalk, "SUBJECT", subject))
				p.got("Subject: " + subject + "\n\n.a dot\n..two\nend\n")
			}
		})
	}
}

const eximConf = `primary_hostname = peer.invalid
spool_directory = DIR/spool
log_file_path = DIR/spool/%slog
exim_path = EXIM
exim_user = mail
exim_group = mail
never_users =
local_interfaces = 127.0.0.1
daemon_smtp_ports = PORT
pid_file_path = DIR/exim.pid
keep_environment =
host_lookup =
rfc1413_query_timeout = 0s
TLS
acl_smtp_rcpt = rcpt
acl_smtp_data = open
begin acl
rcpt:
  accept verify = recipient
  deny message = 5.1.1 unknown user
open:
  accept
begin routers
boxes:
  driver = accept
  domains = example.org
  local_parts = ann
  transport = maildir
begin transports
maildir:
  driver = appendfile
  directory = DIR/mail/ann
  maildir_format
  create_directory
  user = mail
  group = mail
`

// eximPath is the path at which test/interop/install unpacks Exim, because
// Debian cannot install it alongside Postfix.
const eximPath = "/usr/local/lib/hoplite-interop/exim4"

func TestInteropEximUpstream(t *testing.T) {
	if out, err := exec.Command(eximPath, "-C", "/dev/null", "-bV").CombinedOutput(); err != nil {
		t.Skipf("exim does not run (make interop unpacks it): %v\n%s", err, out)
	}
	for _, tt := range []struct{ exim, ours string }{
		{"tls_advertise_hosts =", "off"},
		{"tls_certificate = DIR/cert.pem\ntls_privatekey = DIR/key.pem\ntls_advertise_hosts = *", "require"},
	} {
		t.Run(tt.ours, func(t *testing.T) {
			p := newPeerServer(t)
			p.certificate()
			conf := strings.Replace(eximConf, "\nTLS\n", "\n"+tt.exim+"\n", 1)
			p.write("exim.conf", strings.NewReplacer("DIR", p.dir, "PORT", p.port, "EXIM", eximPath).Replace(conf))
			p.sh("mkdir", p.path("spool"), p.path("mail"))
			p.sh("chown", "mail:mail", p.path("spool"), p.path("mail"))
			p.start(eximPath, "-C", p.path("exim.conf"), "-bdf", "-odi")
			s := inFrontOf(t, p, tt.ours, "no")
			for _, subject := range []string{"first", "second"} {
				s.talk("inbound", strings.ReplaceAll(inlineTalk, "SUBJECT", subject))
				p.got("Subject: " + subject + "\n\n.a dot\n..two\nend\n")
			}
		})
	}
}

func TestInteropPostfixClient(t *testing.T) {
	for _, tls := range []string{"none", "encrypt"} {
		t.Run(tls, func(t *testing.T) {
			s := interopServer(t)
			p := startPostfix(t, tls, "virtual_mailbox_domains =\nrelayhost = [127.0.0.1]:"+s.port("inbound")+"\n")
			s.addr["postfix"] = "127.0.0.1:" + p.port
			talk := "S: 220 *\nC: EHLO client.example.net\nS+ 250 *\n"
			if tls == "encrypt" {
				talk += "C: STARTTLS\nS: 220 *\nTLS\nC: EHLO client.example.net\nS+ 250 *\n"
			}
			s.talk("postfix", talk+`C: MAIL FROM:<ann@example.org>
S: 250 *
C: RCPT TO:<ann@example.org>
S: 250 *
C: DATA
S: 354 *
C: Subject: by postfix
C: 
C: ..hello
C: .
S: 250 *
C: QUIT
S: 221 *
`)
			s.arrived("by postfix")
		})
	}
}
