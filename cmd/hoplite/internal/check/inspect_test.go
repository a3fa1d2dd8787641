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

// pointing is a configuration that refers to missing or broken files.
const pointing = `hostname = "mail.example.org"
aliases = "virtual"
certificate {
  cert = "tls/none.pem"
  key  = "tls/none.key"
}
certificate "other" {
  cert = "a/self-signed.pem"
  key  = "b/self-signed.pem"
}
smtp "inbound" {
  listen = ["127.0.0.1:0"]
  chain  = "inbound"
}
chain "inbound" {
  filter "smime" {
    roots = "roots.pem"
    trust {
      from  = ["example.com"]
      roots = "partner.pem"
    }
  }
  filter "milter" {
    address = "localhost:no-such-port"
  }
  route "here" {
    to  = ["local"]
    hop = "boxes"
    filter "sign" {
      domain "example.org" {
        selector = "s1"
        second   = "e1"
      }
      domain "example.net" {
        selector = "s1"
        key      = "users"
      }
    }
    filter "arc" {
      domain   = "example.org"
      selector = "s2"
    }
    filter "size" {}
  }
  route "up" {
    to  = ["up.example"]
    hop = "up"
  }
}
maildrop "boxes" {
  path = "users/{domain}/{user}"
}
upstream "up" {
  servers    = ["smtp://192.0.2.10:25"]
  recipients = "file:known.txt"
}
`

// One run examines everything the configuration refers to, and creates or
// changes nothing.
func TestReferencesAreExamined(t *testing.T) {
	path := sitetest.Write(t, pointing, map[string]string{
		"users":   "ann@example.org\n  quota x\n  bogus y\n",
		"virtual": "info@example.org ann@example.org\nalone@example.org\n",
	})
	dir := filepath.Dir(path)
	for _, name := range []string{"a", "b"} {
		if _, err := listen.SelfSigned(filepath.Join(dir, "var", name), zerolog.Nop(), "mail.example.org"); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Join(dir, "var", "b", "self-signed.pem"), 0o644); err != nil {
		t.Fatal(err)
	}
	before := sitetest.Tree(t, dir)
	t.Chdir(dir)
	cfg, file, err := config.Read("relay.hcl")
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if Report(&out, cfg, file) {
		t.Error("no mistakes")
	}
	if after := sitetest.Tree(t, dir); after != before {
		t.Errorf("it changed something: before\n%s\nafter\n%s", before, after)
	}
	got := strings.ReplaceAll(out.String(), "\n    ", " ")
	for _, want := range []string{
		"var/users:2: quota",
		"var/users:3: unknown setting",
		"var/virtual:2:1: ",
		"relay.hcl:4:3: cert: var/tls/none.pem: no such file",
		"relay.hcl:5:3: key: var/tls/none.key: no such file",
		"Correct the path, which is relative to the data folder.",
		"relay.hcl:8:3: certificate var/a/self-signed.pem: tls: private key does not match",
		"relay.hcl:9:3: warning: any user of this machine can read the private key",
		"relay.hcl:17:5: read roots var/roots.pem",
		"relay.hcl:20:7: read roots var/partner.pem",
		"relay.hcl:24:5: address: \"",
		"relay.hcl:31:9: no DKIM key for example.org in var/dkim/example.org/s1.pem",
		"relay.hcl:32:9: no DKIM key for example.org in var/dkim/example.org/e1.pem",
		"relay.hcl:36:9: DKIM key of example.net",
		"relay.hcl:41:7: no DKIM key for example.org in var/dkim/example.org/s2.pem",
		"relay.hcl:43:5: filter \"size\" does nothing in a route",
		"relay.hcl:51:3: maildrop \"boxes\" can't be used: var/users is not a folder",
		"relay.hcl:55:3: upstream \"up\": recipients: var/known.txt: no such file",
		"16 errors",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("it lacks %q", want)
		}
	}
	if t.Failed() {
		t.Log(out.String())
	}
}

// If the file cannot be parsed, no missing data folder is reported.
func TestUnparsableFile(t *testing.T) {
	t.Chdir(t.TempDir())
	for name, text := range map[string]string{"binary": "\x00\x01\x02", "an unclosed block": "smtp \"in\" {\n", "a list": "hostname = [:25]\n"} {
		if err := os.WriteFile("relay.hcl", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		cfg, file, err := config.Read("relay.hcl")
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		Report(&out, cfg, file)
		for i, line := range strings.Split(out.String(), "\n") {
			if i == 0 && !strings.HasPrefix(line, "relay.hcl:") {
				t.Errorf("%s: %s", name, &out)
			}
		}
	}
}
