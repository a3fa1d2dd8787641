package check

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"hoplite/cmd/hoplite/internal/config"
	"hoplite/cmd/hoplite/internal/sitetest"
	"hoplite/internal/listen"
)

// report returns the output of Report for a configuration and the files in its
// data folder, on one line.
func report(t *testing.T, text string, files map[string]string) string {
	t.Helper()
	return reportAt(t, sitetest.Write(t, text, files))
}

// reportAt is like report, for a configuration that has already been written to
// a file.
func reportAt(t *testing.T, path string) string {
	t.Helper()
	t.Chdir(filepath.Dir(path))
	cfg, file, err := config.Read("relay.hcl")
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	Report(&out, cfg, file)
	// Undo the wrapping, so that tests can look for whole sentences.
	return strings.Join(strings.Fields(out.String()), " ")
}

// makeCertificate writes a new certificate for a name, and its key.
func makeCertificate(t *testing.T, dir, name string) {
	t.Helper()
	pair, err := listen.SelfSigned(dir, zerolog.Nop(), name)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(pair.Cert)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "self-signed.key"), text, 0o600); err != nil {
		t.Fatal(err)
	}
}

const (
	inbound = `hostname = "mail.example.org"
smtp "in" {
  listen = [":25"]
  chain  = "in"
}
`
	chainIn = `chain "in" {
  filter "hops" {}
  route "in" {
    to  = ["example.org"]
    hop = "boxes"
  }
}
`
	boxes   = "maildrop \"boxes\" {}\n"
	serving = inbound + chainIn + boxes
)

func TestExposure(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       string // part of the warning
		not        string // the same configuration, made safe
	}{
		{"everyone is trusted", "trusted = [\"10.0.0.0/8\", \"0.0.0.0/0\"]\n" + serving, "warning: 0.0.0.0/0 trusts a large part of the Internet",
			"trusted = [\"10.0.0.0/8\"]\n" + serving},
		{"no filters for any client", strings.Replace(serving, "  filter \"hops\" {}\n", "", 1),
			`warning: smtp "in" accepts mail from any client, and chain "in" has no filters`,
			strings.Replace(serving, "  filter \"hops\" {}\n  route \"in\" {\n", "  route \"in\" {\n    client = [\"192.0.2.0/24\"]\n", 1)},
		{"PROXY from anyone", strings.Replace(serving, "  chain  =", "  proxy_protocol = true\n  chain  =", 1),
			`warning: any client of smtp "in" can claim any address`,
			strings.Replace(serving, "[\":25\"]\n", "[\"127.0.0.1:25\"]\n  proxy_protocol = true\n", 1)},
		{"clear-text login by SMTP", strings.Replace(serving, "  chain  =", "  auth = \"optional\"\n  cleartext_login = true\n  chain  =", 1),
			`warning: smtp "in" accepts passwords in clear text from the network`,
			strings.Replace(serving, "[\":25\"]\n", "[\"[::1]:25\"]\n  auth = \"optional\"\n  cleartext_login = true\n", 1)},
		{"clear-text login by IMAP", serving + "imap \"i\" {\n  listen = [\"0.0.0.0:143\"]\n  cleartext_login = true\n}\n",
			`warning: imap "i" accepts passwords in clear text from the network`,
			serving + "imap \"i\" {\n  listen = [\"unix:i\"]\n  cleartext_login = true\n}\n"},
		{"reverse proxy on a public address", serving + "web \"w\" {\n  listen = [\"0.0.0.0:8025\"]\n  reverse_proxy = true\n}\n", `warning: reverse_proxy has no effect at addresses of web "w"`,
			serving + "web \"w\" {\n  listen = [\"127.0.0.1:8025\"]\n  reverse_proxy = true\n}\n"},
		{"clear-text login by POP3", serving + "pop3 \"p\" {\n  listen = [\"192.0.2.1:110\"]\n  cleartext_login = true\n}\n",
			`warning: pop3 "p" accepts passwords in clear text from the network`,
			serving + "pop3 \"p\" {\n  listen = [\"192.0.2.1:995\"]\n  tls = \"implicit\"\n  cleartext_login = true\n}\n"},
		{"login without proof of the server", "postmaster = \"ann@example.org\"\n" + strings.Replace(serving, boxes, "", 1) + insecureUpstream("192.0.2.10"),
			`warning: upstream "boxes" receives the password without proof of its identity`,
			"postmaster = \"ann@example.org\"\n" + strings.Replace(serving, boxes, "", 1) + insecureUpstream("127.0.0.1:2626")},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := report(t, c.text, nil); !strings.Contains(got, c.want) {
				t.Errorf("it lacks %q:\n%s", c.want, got)
			}
			if got := report(t, c.not, nil); strings.Contains(got, "warning") || !strings.Contains(got, "no errors") {
				t.Errorf("the safe one:\n%s", got)
			}
		})
	}
}

func insecureUpstream(host string) string {
	return "upstream \"boxes\" {\n  servers = [\"smtp://" + host + "\"]\n  auth {\n    user = \"relay\"\n    password = \"x\"\n    insecure = true\n  }\n}\n"
}
