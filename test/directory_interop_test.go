//go:build interop

package test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const slapdConf = `include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
include /etc/ldap/schema/nis.schema
include SCHEMA
modulepath /usr/lib/ldap
moduleload back_mdb
pidfile DIR/slapd.pid
argsfile DIR/slapd.args
TLSCertificateFile DIR/cert.pem
TLSCertificateKeyFile DIR/key.pem
database mdb
directory DIR/db
suffix "dc=example,dc=org"
access to attrs=userPassword by anonymous auth by * none
access to * by dn.exact="cn=hoplite,dc=example,dc=org" read by * none
`

const slapdEntries = `dn: dc=example,dc=org
objectClass: domain
dc: example

dn: cn=hoplite,dc=example,dc=org
objectClass: organizationalRole
objectClass: simpleSecurityObject
cn: hoplite
userPassword: search-secret

dn: cn=ann,dc=example,dc=org
objectClass: inetOrgPerson
objectClass: user
cn: ann
sn: Smith
mail: ann@example.org
proxyAddresses: SMTP:Ann@example.org
proxyAddresses: smtp:a.smith@example.org
userPrincipalName: asmith@corp.example.org
userAccountControl: 512
userPassword: ann-secret

dn: cn=info,dc=example,dc=org
objectClass: inetOrgPerson
objectClass: user
cn: info
sn: info
mail: info@example.org
userAccountControl: 514
userPassword: info-secret

dn: uid=carl,dc=example,dc=org
objectClass: inetOrgPerson
objectClass: posixAccount
cn: carl
sn: carl
uid: carl
uidNumber: 1000
gidNumber: 1000
homeDirectory: /home/carl

dn: cn=staff,dc=example,dc=org
objectClass: groupOfNames
objectClass: group
cn: staff
mail: staff@example.org
member: cn=ann,dc=example,dc=org
member: cn=info,dc=example,dc=org
`

const dovecotAuthority = `base_dir = DIR/run
log_path = DIR/dovecot.log
protocols = imap
listen = 127.0.0.1
ssl = required
ssl_cert = <DIR/cert.pem
ssl_key = <DIR/key.pem
mail_location = maildir:DIR/mail
passdb {
  driver = passwd-file
  args = scheme=PLAIN DIR/passwd
}
userdb {
  driver = static
  args = uid=65534 gid=65534 home=DIR/mail
}
service imap-login {
  inet_listener imap {
    port = 0
  }
  inet_listener imaps {
    port = PORT
    ssl = yes
  }
}
service anvil {
  chroot =
}
service auth {
  unix_listener DIR/auth {
    mode = 0666
  }
}
`

// peerProgram runs a server in the foreground until the test ends, and waits
// until its port answers. stop ends it earlier.
func peerProgram(t *testing.T, port, name string, args ...string) (stop func()) {
	t.Helper()
	cmd := exec.Command(name, args...)
	var out syncBuffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	stopped := false
	stop = func() {
		if !stopped {
			stopped = true
			cmd.Process.Signal(os.Interrupt)
			select {
			case <-done:
			case <-time.After(10 * time.Second):
				cmd.Process.Kill()
			}
		}
	}
	t.Cleanup(stop)
	for end := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		if c, err := net.Dial("tcp", "127.0.0.1:"+port); err == nil {
			c.Close()
			return stop
		}
		if time.Now().After(end) {
			t.Fatalf("%s does not answer: %s", name, &out)
		}
	}
}

// authorityFolder returns a folder with a certificate for localhost.
func authorityFolder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for at := dir; at != "/tmp" && at != "/"; at = filepath.Dir(at) {
		os.Chmod(at, 0o755) // Dovecot's processes run as other users
	}
	out, err := exec.Command("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
		"-addext", "subjectAltName=DNS:localhost", "-keyout", filepath.Join(dir, "key.pem"), "-out", filepath.Join(dir, "cert.pem")).CombinedOutput()
	if err != nil {
		t.Fatalf("openssl: %v\n%s", err, out)
	}
	return dir
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// startSlapd runs Debian's slapd with a few people, and returns its URL.
func startSlapd(t *testing.T, dir string) (url string, stop func()) {
	t.Helper()
	if _, err := os.Stat("/usr/sbin/slapd"); err != nil {
		t.Skip("slapd is not installed: make interop installs it")
	}
	schema, err := filepath.Abs("interop/ldap/ad.schema")
	if err != nil {
		t.Fatal(err)
	}
	port := freePort(t)
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(strings.NewReplacer("SCHEMA", schema, "DIR", dir).Replace(text)), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	conf, entries := write("slapd.conf", slapdConf), write("entries.ldif", slapdEntries)
	if err := os.Mkdir(filepath.Join(dir, "db"), 0o700); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("/usr/sbin/slapadd", "-f", conf, "-l", entries).CombinedOutput(); err != nil {
		t.Fatalf("slapadd: %v\n%s", err, out)
	}
	url = "ldaps://localhost:" + port
	return url, peerProgram(t, port, "/usr/sbin/slapd", "-d", "0", "-f", conf, "-h", url+"/")
}

// The addresses and passwords of a real LDAP server, by each schema.
func TestInteropSlapd(t *testing.T) {
	dir := authorityFolder(t)
	url, stop := startSlapd(t, dir)
	old := newPeer(t, "")
	recipients := strings.NewReplacer("$SERVER", old.l.Addr().String(), "$DIRECTORY", url, "  known_for =", "  ca = \""+dir+"/cert.pem\"\n  known_for =").Replace(directoryConfig)
	for schema, want := range map[string]map[string]string{
		"ad":      {"ann": "250 *", "a.smith": "250 *", "info": "250 *", "staff": "250 *", "carl": "550 5.1.1 *", "*": "550 5.1.1 *"},
		"inetorg": {"ann": "250 *", "a.smith": "550 5.1.1 *", "staff": "250 *", "carl": "550 5.1.1 *", "a)(cn=*": "550 5.1.1 *"},
		"posix":   {"ann": "250 *", "carl": "250 *", "hoplite": "550 5.1.1 *"},
	} {
		t.Run(schema, func(t *testing.T) {
			s := prepare(t, strings.Replace(recipients, `schema    = "ad"`, `schema    = "`+schema+`"`, 1))
			if out := s.must("", "check", "--probe", "-c", "relay.hcl"); !strings.Contains(out, "answers.") {
				t.Errorf("check: %s", out)
			}
			s.start()
			talk := "S: 220 *\nC: HELO x\nS: 250 *\nC: MAIL FROM:<>\nS: 250 *\n"
			for local, reply := range want {
				talk += "C: RCPT TO:<" + localPart(local) + "@example.org>\nS: " + reply + "\n"
			}
			s.talk("inbound", talk+"C: QUIT\nS: 221 *\n")
		})
	}
	t.Run("logins", func(t *testing.T) {
		s := prepare(t, strings.NewReplacer("$LOGIN", "directory:ad", "$DIRECTORY", url+"\"\n  ca = \""+dir+"/cert.pem").Replace(accountsConfig))
		s.start()
		s.tryLogin("ann@example.org", "ann-secret", "235 *", "a OK *", "+OK *")
		s.tryLogin("asmith@corp.example.org", "ann-secret", "535 *", "a NO *", "-ERR *") // another domain than the block's
		s.tryLogin("info@example.org", "info-secret", "535 *", "a NO [AUTHENTICATIONFAILED] *", "-ERR [AUTH] *")
		stop()
		s.tryLogin("a.smith@example.org", "ann-secret", "454 4.7.0 *", "a NO [UNAVAILABLE] *", "-ERR [SYS/TEMP] *")
		if strings.Contains(s.log.String(), "-secret") {
			t.Errorf("a password is in the log: %s", s.log)
		}
	})
}

// localPart quotes a local part with characters that an atom cannot contain.
func localPart(local string) string {
	if strings.ContainsAny(local, "()") {
		return `"` + local + `"`
	}
	return local
}

// Passwords that Debian's Dovecot and Postfix know.
func TestInteropAuthorities(t *testing.T) {
	dir := authorityFolder(t)
	port := freePort(t)
	write := func(name, text string, mode os.FileMode) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(strings.NewReplacer("DIR", dir, "PORT", port).Replace(text)), mode); err != nil {
			t.Fatal(err)
		}
	}
	write("passwd", "ann@example.org:ann-secret\n", 0o644)
	write("dovecot.conf", dovecotAuthority, 0o644)
	if err := os.Mkdir(filepath.Join(dir, "mail"), 0o777); err != nil {
		t.Fatal(err)
	}
	stop := peerProgram(t, port, "dovecot", "-F", "-c", filepath.Join(dir, "dovecot.conf"))
	p := startPostfix(t, "may", fmt.Sprintf("smtpd_sasl_auth_enable = yes\nsmtpd_sasl_type = dovecot\nsmtpd_sasl_path = %s/auth\n", dir))
	for name, login := range map[string]string{"Postfix": "smtp://127.0.0.1:" + p.port, "Dovecot": "imaps://localhost:" + port} {
		t.Run(name, func(t *testing.T) {
			config := strings.NewReplacer("$LOGIN", login, "$DIRECTORY", "ldap://127.0.0.1:1").Replace(accountsConfig)
			if name == "Dovecot" {
				config = strings.Replace(config, "  known_for", "  ca = \""+dir+"/cert.pem\"\n  known_for", 1)
			}
			s := prepare(t, config)
			s.start()
			s.tryLogin("ann@example.org", "ann-secret", "235 *", "a OK *", "+OK *")
			s.tryLogin("ann@example.org", "mistyped", "535 *", "a NO [AUTHENTICATIONFAILED] *", "-ERR [AUTH] *")
			s.tryLogin("eve@example.org", "ann-secret", "535 *", "a NO [AUTHENTICATIONFAILED] *", "-ERR [AUTH] *")
			if name != "Dovecot" {
				return
			}
			s.write("relay.hcl", strings.Replace(config, "  ca = \""+dir+"/cert.pem\"\n", "", 1))
			s.must("", "reload", "-c", "relay.hcl")
			s.tryLogin("ann@example.org", "ann-secret", "454 *", "a NO [UNAVAILABLE] *", "-ERR [SYS/TEMP] *")
		})
	}
	stop()
}
