package check

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hoplite/cmd/hoplite/internal/owner"
	"hoplite/cmd/hoplite/internal/sitetest"
)

const (
	upstreamUp = "upstream \"up\" {\n  servers = [\"smtp://192.0.2.10\"]\n"
	submission = "smtp \"sub\" {\n  listen = [\"127.0.0.1:587\"]\n  auth = \"required\"\n  chain = \"in\"\n}\n"
	acmeBlock  = "acme {\n email = \"ann@example.org\"\n}\n"
	relayRoute = "  route \"out\" {\n    relay = true\n    hop = \"up\"\n  }\n"
)

// manyAliases has faults in its second and tenth line.
var manyAliases = strings.Join([]string{
	"a1@example.org ann@example.org", "a2@example.org eve@example.org", "a3@example.org ann@example.org", "a4@example.org ann@example.org",
	"a5@example.org ann@example.org", "a6@example.org ann@example.org", "a7@example.org ann@example.org", "a8@example.org ann@example.org",
	"a9@example.org ann@example.org", "b@example.org eve@example.org",
}, "\n") + "\n"

// toMX is a configuration that sends mail to other domains, with a dns block.
func toMX(dns string) string {
	return dns + strings.Replace(serving, "chain \"in\" {\n", "chain \"in\" {\n"+strings.Replace(relayRoute, "relay = true", "relay = true\n    to = [\"example.net\"]", 1), 1) + submission +
		"upstream \"up\" {\n  mx = true\n  mode = \"queue\"\n}\n"
}

func testKey(t *testing.T) string {
	t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// Each faulty configuration is reported, and the same configuration without the
// fault is not.
func TestFindings(t *testing.T) {
	withUp := "postmaster = \"ann@example.org\"\n" + strings.Replace(serving, `hop = "boxes"`, `hop = "up"`, 1)
	withUp = strings.Replace(withUp, boxes, "", 1)
	filter := func(list string) string { return strings.Replace(serving, "  filter \"hops\" {}\n", list, 1) }
	out := strings.Replace(serving, "chain \"in\" {\n", "chain \"in\" {\n"+strings.Replace(relayRoute, "relay = true", "relay = true\n    to = [\"example.net\"]", 1), 1) + upstreamUp + "}\n"
	for _, c := range []struct {
		name, text string
		files      map[string]string
		want       string
	}{
		{"dmarc alone", filter("filter \"dmarc\" {\n mode = \"enforce\"\n}\n"), nil, `filter "dmarc" enforces without filters "spf" and "dkim" before it`},
		{"dmarc before dkim", filter("filter \"spf\" {}\nfilter \"dmarc\" {\n mode = \"enforce\"\n}\nfilter \"dkim\" {}\n"), nil, `filter "dmarc" enforces without`},
		{"dmarc after both", filter("filter \"spf\" {}\nfilter \"dkim\" {}\nfilter \"dmarc\" {\n mode = \"enforce\"\n}\n"), nil, ""},
		{"greylist first", filter("filter \"greylist\" {}\nfilter \"spf\" {}\n"), nil, `filter "greylist" has no filter "spf" before it`},
		{"greylist after spf", filter("filter \"spf\" {}\nfilter \"greylist\" {}\n"), nil, ""},
		{"a number without a unit", filter("filter \"size\" {\n max = 25\n}\n"), nil, "max: 25 without a unit is a number of octets"},
		{"a number of octets", filter("filter \"size\" {\n max = \"25B\"\n}\n"), nil, ""},
		{"host name with an underscore", strings.Replace(serving, "mail.example", "my_mail.example", 1), nil, `hostname "my_mail.example.org" is not a host name`},
		{"host name that is an address", strings.Replace(serving, "mail.example.org", "192.0.2.1", 1), nil, `hostname "192.0.2.1" is not a host name`},
		{"a certificate for a name without a domain", strings.Replace(serving, "mail.example.org", "mail", 1) + "acme {\n email = \"ann@example.org\"\n}\n", nil, `no authority certifies the name "mail"`},
		{"a certificate", serving + "acme {\n email = \"ann@example.org\"\n}\n", nil, ""},
		{"pattern with a star", strings.Replace(serving, "[\"example.org", "[\"*.example.net", 1), nil, `to: pattern "*.example.net"`},
		{"pattern that is a URL", strings.Replace(serving, "[\"example.org", "[\"http://x", 1), nil, `to: pattern "http://x"`},
		{"unused upstream", serving + upstreamUp + "}\n", nil, `no route uses upstream "up", and it is no fallback`},
		{"own listener", strings.Replace(withUp+upstreamUp+"}\n", "192.0.2.10", "127.0.0.1:25", 1), nil, `upstream "up" leads to this server itself: smtp "in"`},
		{"own listener by name", strings.Replace(withUp+upstreamUp+"}\n", "192.0.2.10", "mail.example.org", 1), nil, `leads to this server itself`},
		{"another port", strings.Replace(withUp+upstreamUp+"}\n", "192.0.2.10", "127.0.0.1:2525", 1), nil, ""},
		{"fallbacks in a circle", withUp + upstreamUp + "fallback = \"b\"\n}\n" + strings.Replace(upstreamUp, "\"up\"", "\"b\"", 1) + "fallback = \"up\"\n}\n", nil,
			"fallbacks lead back to the same upstream: up -> b -> up"},
		{"a client certificate that is missing", out[:len(out)-2] + "certificate = \"partner\"\n}\n", nil, `there is no certificate "partner"`},
		{"EXTERNAL without a certificate", out[:len(out)-2] + "auth {\n mechanism = \"external\"\n}\n}\n", nil, `EXTERNAL needs a client certificate`},
		{"a policy host without TLS", serving + acmeBlock + "web \"w\" {\n listen = [\":80\"]\n mta_sts \"example.org\" {}\n}\n", nil, `other servers cannot fetch the policy of example.org`},
		{"a policy host behind a proxy", serving + "web \"w\" {\n listen = [\"127.0.0.1:80\"]\n reverse_proxy = true\n mta_sts \"example.org\" {}\n}\n", nil, ""},
		{"a policy host without a certificate", serving + "web \"w\" {\n listen = [\":443\"]\n mta_sts \"example.org\" {}\n}\n", nil, `no certificate is for mta-sts.example.org`},
		{"a policy without this server", serving + acmeBlock + "web \"w\" {\n listen = [\":443\"]\n mta_sts \"example.org\" {\n mx = [\"mx9.example.org\"]\n}\n}\n", nil, `the policy of example.org does not list this server, mail.example.org`},
		{"a policy host", serving + acmeBlock + "web \"w\" {\n listen = [\":443\"]\n mta_sts \"example.org\" {}\n}\n", nil, ""},
		{"TLS reports without MX", serving + "tls_reports {\n from = \"tls@example.org\"\n}\n", nil, `there is nothing to report, because no upstream has mx = true`},
		{"TLS reports without a signature", toMX("") + "tls_reports {\n from = \"tls@example.org\"\n}\n", nil, `TLS reports are not signed, because no route has a sign filter`},
		{"a policy that has ended", toMX("") + "policy \"partner.example\" {\n tls = \"off\"\n until = \"2026-01-31\"\n}\n", nil, `policy "partner.example" ended on 2026-01-31 and has no effect`},
		{"a policy that ends soon", toMX("") + "policy \"partner.example\" {\n tls = \"off\"\n until = \"" + time.Now().Format(time.DateOnly) + "\"\n}\n", nil, `policy "partner.example" ends on`},
		{"a weak policy without an end", toMX("") + "policy \"partner.example\" {\n tls = \"may\"\n}\n", nil, `tls = "may" weakens the protection and needs a last day`},
		{"a policy for fixed servers", out + "policy \"example.net\" {\n tls = \"verify\"\n}\n", nil, `policy "example.net" has no effect, because upstream "up" has fixed servers`},
		{"a policy without MX", withUp + upstreamUp + "}\npolicy \"partner.example\" {\n tls = \"verify\"\n}\n", nil, `has no effect, because no upstream has mx = true`},
		{"a policy", toMX("") + "policy \"example.net\" {\n tls = \"verify\"\n}\n", nil, ""},
		{"a sender without a postmaster", strings.Replace(withUp, "postmaster = \"ann@example.org\"\n", "", 1) + upstreamUp + "sender = \"s@example.org\"\n}\n", nil, "reports about mail whose sender is replaced have no recipient"},
		{"a fallback with another sender", withUp + upstreamUp + "fallback = \"b\"\n}\n" + strings.Replace(upstreamUp, "\"up\"", "\"b\"", 1) + "sender = \"s@example.org\"\n}\n", nil,
			`upstream "up" falls back to "b", which sends all mail as s@example.org`},
		{"a sender that is not an address", withUp + upstreamUp + "sender = \"scanner\"\n}\n", nil, "sender: not an address"},
		{"a rewrite that is not an address", strings.Replace(serving, `hop = "boxes"`, "hop = \"boxes\"\n    rewrite = { \"host.lan\" = \"example.org\" }", 1), nil, `"example.org" is neither an address nor @domain`},
		{"a fallback", withUp + upstreamUp + "fallback = \"b\"\n}\n" + strings.Replace(upstreamUp, "\"up\"", "\"b\"", 1) + "}\n", nil, ""},
		{"postmaster without account", "postmaster = \"eve@example.org\"\n" + serving, map[string]string{"users": "ann@example.org\n"}, "mail for the postmaster can't be delivered: there is no account eve@example.org"},
		{"postmaster without route", "postmaster = \"eve@example.net\"\n" + serving, nil, "no route takes mail for eve@example.net"},
		{"postmaster", "postmaster = \"ann@example.org\"\n" + serving, map[string]string{"users": "ann@example.org\n"}, ""},
		{"account without route", serving, map[string]string{"users": "ann@example.com\n"}, "no route takes mail for ann@example.com, although it is an account"},
		{"alias loop", serving, map[string]string{"aliases": "a@example.org b@example.org\nb@example.org a@example.org\n"}, "var/aliases:1:1: a@example.org: address resolves to itself"},
		{"many aliases with problems", serving, map[string]string{"users": "ann@example.org\n", "aliases": badAliases(25)}, "var/aliases:20:1: warning: a20@example.org: there is no account eve@example.org var/aliases:25:1: warning: 5 more aliases have problems, which are not listed"},
		{"as many as are listed", serving, map[string]string{"users": "ann@example.org\n", "aliases": badAliases(20)}, "var/aliases:20:1: warning: a20@example.org: there is no account eve@example.org"},
		{"aliases that can't be read", serving, map[string]string{"users": "ann@example.org\n", "aliases/x": ""}, "var/aliases: the aliases can't be read: is a directory Mail for addresses that the file may contain waits until it can be read."},
		{"aliases in the order of the file", serving, map[string]string{"users": "ann@example.org\n", "aliases": manyAliases}, "var/aliases:2:1: warning: a2@example.org: there is no account eve@example.org var/aliases:10:1: warning:"},
		{"no postmaster", strings.Replace(withUp, "postmaster = \"ann@example.org\"\n", "", 1) + upstreamUp + "}\n", nil, "warning: mail for the postmaster has no recipient"},
		{"sign in a chain", filter("filter \"hops\" {}\nfilter \"arc\" {\n domain = \"example.org\"\n selector = \"s1\"\n}\n"), map[string]string{"dkim/example.org/s1.pem": testKey(t)}, ""},
		{"sign alone in a chain", filter("filter \"hops\" {}\nfilter \"sign\" {\n domain \"example.org\" {\n selector = \"s1\"\n }\n}\n"), map[string]string{"dkim/example.org/s1.pem": testKey(t)}, `filter "sign" does nothing in a chain`},
		{"RSA suites with an ECDSA certificate", strings.Replace(serving, "smtp \"in\" {", "smtp \"in\" {\n  tls_suites = [\"TLS_RSA_WITH_AES_128_CBC_SHA\"]\n  tls_legacy_until = \"2099-01-01\"", 1), nil, "no certificate of smtp \"in\" can be used with its tls_suites"},
		{"RSA suites beside others", strings.Replace(serving, "smtp \"in\" {", "smtp \"in\" {\n  tls_suites = [\"TLS_RSA_WITH_AES_128_CBC_SHA\", \"TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256\"]\n  tls_legacy_until = \"2099-01-01\"", 1), nil, ""},
		{"RSA suites with a certificate to come", strings.Replace(serving, "smtp \"in\" {", "smtp \"in\" {\n  tls_suites = [\"TLS_RSA_WITH_AES_128_CBC_SHA\"]\n  tls_legacy_until = \"2099-01-01\"", 1) + "acme {\n email = \"ann@example.org\"\n keys = [\"ecdsa\", \"rsa\"]\n}\n", nil, ""},
		{"weak TLS that ended", strings.Replace(serving, "smtp \"in\" {", "smtp \"in\" {\n  tls_min = \"1.0\"\n  tls_legacy_until = \"2020-01-31\"", 1), nil, "smtp \"in\" no longer uses weak TLS: tls_legacy_until was 2020-01-31"},
		{"weak TLS to an upstream that ended", withUp + upstreamUp + "tls_min = \"1.0\"\ntls_legacy_until = \"2020-01-31\"\n}\n", nil, "upstream \"up\" no longer uses weak TLS"},
		{"a proxy that hides its clients", "trusted = [\"192.0.2.7/32\"]\n" + serving, map[string]string{"state/proxied": "192.0.2.7 " + time.Now().UTC().Format(time.RFC3339) + "\n"}, "most clients of the last days came from the trusted address 192.0.2.7, which looks like a proxy"},
		{"a proxy that is no longer trusted", serving, map[string]string{"state/proxied": "192.0.2.7 " + time.Now().UTC().Format(time.RFC3339) + "\n"}, ""},
		{"a proxy a year ago", "trusted = [\"192.0.2.7/32\"]\n" + serving, map[string]string{"state/proxied": "192.0.2.7 2025-01-01T00:00:00Z\n"}, ""},
		{"no DANE", toMX("dns {\n server = \"192.0.2.53:53\"\n}\n"), nil, "DANE cannot be used: the answers of DNS server 192.0.2.53:53 are not trusted"},
		{"DANE by a local resolver", toMX("dns {\n server = \"127.0.0.1:53\"\n}\n"), nil, ""},
		{"DANE by a trusted resolver", toMX("dns {\n server = \"192.0.2.53:53\"\n validates = true\n}\n"), nil, ""},
		{"recipients beside another mistake", strings.Replace(withUp+upstreamUp+"}\n", "192.0.2.10\"]\n", "192.0.2.10\"]\n conections = 3\n recipients = \"people\"\n", 1), nil, `did you mean "file:people"?`},
		{"forward without a route", serving, map[string]string{"users": "ann@example.org\n\tforward bob@example.net\n\tforward ann@example.org\n"}, `chain "in" delivers mail for ann@example.org only in part: it has no route for bob@example.net`},
		{"alias without a route for one address", serving, map[string]string{"users": "ann@example.org\n", "aliases": "a@example.org ann@example.org, bob@example.net\n"}, `no route takes mail for bob@example.net`},
		{"forward with a route", out, map[string]string{"users": "ann@example.org\n\tforward bob@example.net\n\tforward ann@example.org\n"}, ""},
		{"alias to a nonexistent account", serving, map[string]string{"users": "ann@example.org\n", "aliases": "a@example.org eve@example.org\n"}, "a@example.org: there is no account eve@example.org"},
		{"alias with an expression", serving, map[string]string{"aliases": "/^info/ ann@example.org\n"}, "regular expressions are not supported"},
		{"alias", serving, map[string]string{"users": "ann@example.org\n", "aliases": "a@example.org ann@example.org\n"}, ""},
		{"relay route that no forward uses", out, nil, `route "out" matches only what aliases and accounts forward, and none does`},
		{"relay route of a forward", out, map[string]string{"aliases": "a@example.org bob@example.net\n"}, ""},
		{"relay route of a login", out + submission, nil, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := report(t, c.text, c.files)
			if c.want == "" && (strings.Contains(got, "warning") || !strings.Contains(got, "no errors")) || !strings.Contains(got, c.want) {
				t.Errorf("want %q:\n%s", c.want, got)
			}
			if c.want != "" && strings.Count(got, c.want) != 1 {
				t.Errorf("%q is not printed once:\n%s", c.want, got)
			}
		})
	}
}

func TestValidity(t *testing.T) {
	now := time.Date(2026, 6, 15, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name      string
		from, end int // days from now
		want      string
	}{
		{"valid", -30, 60, ""},
		{"expired", -90, -1, "the certificate expired on 2026-06-14"},
		{"not yet valid", 1, 90, "the certificate is not valid before 2026-06-16"},
		{"near its end", -80, 10, "the certificate expires soon, on 2026-06-25"},
		{"short-lived", -2, 4, ""},
	} {
		cert := &x509.Certificate{NotBefore: now.AddDate(0, 0, c.from), NotAfter: now.AddDate(0, 0, c.end)}
		if got := validity(cert, now); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// A certificate for a different name is reported, and so are subfolders of the
// data folder that the server's user cannot write to.
func TestFilesOfTheServer(t *testing.T) {
	certificate := "certificate {\n  cert = \"tls/self-signed.pem\"\n  key = \"tls/self-signed.key\"\n}\n"
	for name, want := range map[string]string{"mail.example.org": "", "other.example.org": "warning: no certificate is for mail.example.org"} {
		path := sitetest.Write(t, certificate+serving, nil)
		makeCertificate(t, filepath.Join(filepath.Dir(path), "var", "tls"), name)
		got := reportAt(t, path)
		if want == "" && strings.Contains(got, "warning") || !strings.Contains(got, want) {
			t.Errorf("certificate for %s:\n%s", name, got)
		}
	}
	path := sitetest.Write(t, serving, map[string]string{"queue": "a file\n"})
	if got := reportAt(t, path); !strings.Contains(got, "the folder var/queue can't be used: var/queue is not a folder") {
		t.Error(got)
	}
}

// When run as root, check reports folders that the owner of the data folder
// cannot write to.
func TestUnwritableFolders(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	path := sitetest.Write(t, serving, map[string]string{"queue/log/1": ""})
	data := filepath.Join(filepath.Dir(path), "var")
	for _, dir := range []string{filepath.Dir(filepath.Dir(path)), filepath.Dir(path)} {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chown(data, 4711, 4711); err != nil {
		t.Fatal(err)
	}
	t.Chdir(filepath.Dir(path))
	if err := os.Chmod("relay.hcl", 0o644); err != nil {
		t.Fatal(err)
	}
	restore, err := owner.Become("var")
	if err != nil {
		t.Fatal(err)
	}
	got := reportAt(t, path)
	restore()
	if !strings.Contains(got, "the folder var/queue can't be used: write to var/queue: permission denied") {
		t.Error(got)
	}
}

// badAliases returns aliases whose address does not exist.
func badAliases(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "a%d@example.org eve@example.org\n", i+1)
	}
	return b.String()
}
