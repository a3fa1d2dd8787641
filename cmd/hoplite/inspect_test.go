package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hoplite/internal/listen"
)

// pointing is a configuration that points at much that is missing or broken.
const pointing = `hostname = "mail.example.org"
aliases = "virtual"
certificate {
  cert = "tls/none.pem"
  key  = "tls/none.key"
}
certificate "other" {
  cert = "a/self-signed.pem"
  key  = "b/self-signed.key"
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

// writeHouse writes a configuration with a data folder and gives its path.
func writeHouse(t *testing.T, config string, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	files["../relay.hcl"] = config
	for name, text := range files {
		path := filepath.Join(dir, "var", name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "relay.hcl")
}

// tree lists all files below a folder.
func tree(t *testing.T, dir string) string {
	t.Helper()
	var out strings.Builder
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		fmt.Fprintln(&out, path, info.Mode(), info.ModTime())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// What the configuration points at is looked at too, all of it in one run, and
// nothing is made or changed by that.
func TestCheckFindsWhatItPointsAt(t *testing.T) {
	config := writeHouse(t, pointing, map[string]string{
		"users":   "ann@example.org\n  quota x\n  bogus y\n",
		"virtual": "info@example.org ann@example.org\nalone@example.org\n",
	})
	dir := filepath.Dir(config)
	for _, name := range []string{"a", "b"} {
		if _, err := listen.SelfSigned(filepath.Join(dir, "var", name), "mail.example.org"); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Join(dir, "var", "b", "self-signed.key"), 0o644); err != nil {
		t.Fatal(err)
	}
	before := tree(t, dir)
	t.Chdir(dir)
	cfg, file, err := readConfig("relay.hcl")
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if check(&out, cfg, file) {
		t.Error("no mistakes")
	}
	if after := tree(t, dir); after != before {
		t.Errorf("it changed something: before\n%s\nafter\n%s", before, after)
	}
	got := strings.ReplaceAll(out.String(), "\n    ", " ")
	for _, want := range []string{
		"var/users:2: quota",
		"var/users:3: unknown setting",
		"var/virtual:2: ",
		"relay.hcl:4:3: cert: var/tls/none.pem: no such file",
		"relay.hcl:5:3: key: var/tls/none.key: no such file",
		"relay.hcl:8:3: certificate var/a/self-signed.pem: tls: private key does not match",
		"relay.hcl:9:3: warning: everybody on this machine can read the private key",
		"relay.hcl:17:5: roots var/roots.pem can't be read",
		"relay.hcl:20:7: roots var/partner.pem can't be read",
		"relay.hcl:24:5: address: there is no port",
		"relay.hcl:31:9: no DKIM key of example.org in var/dkim/example.org/s1.pem",
		"relay.hcl:32:9: no DKIM key of example.org in var/dkim/example.org/e1.pem",
		"relay.hcl:36:9: DKIM key of example.net",
		"relay.hcl:41:7: no DKIM key of example.org in var/dkim/example.org/s2.pem",
		"relay.hcl:43:5: filter \"size\" does nothing in a route",
		"relay.hcl:51:3: maildrop \"boxes\" can't be used: var/users is not a folder",
		"relay.hcl:55:3: upstream \"up\": recipients: var/known.txt: no such file",
		"16 mistakes",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("it lacks %q", want)
		}
	}
	if t.Failed() {
		t.Log(out.String())
	}
}

// A file that can't be read at all says nothing of a data folder.
func TestCheckOfNonsense(t *testing.T) {
	t.Chdir(t.TempDir())
	for name, text := range map[string]string{"binary": "\x00\x01\x02", "an unclosed block": "smtp \"in\" {\n", "a list": "hostname = [:25]\n"} {
		if err := os.WriteFile("relay.hcl", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		cfg, file, err := readConfig("relay.hcl")
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		check(&out, cfg, file)
		for i, line := range strings.Split(out.String(), "\n") {
			if i == 0 && !strings.HasPrefix(line, "relay.hcl:") {
				t.Errorf("%s: %s", name, &out)
			}
		}
	}
}

// The server does not start with less than what the file asks for: a filter
// that it can't read would otherwise just not be there.
func TestServeRefusesAMistakeInAFilter(t *testing.T) {
	config := writeHouse(t, `smtp "in" {
  listen = ["127.0.0.1:0"]
  chain  = "in"
}
chain "in" {
  filter "size" {
    maxx = "1MiB"
  }
  route "here" {
    hop = "boxes"
  }
}
maildrop "boxes" {}
`, map[string]string{})
	cmd := rootCommand()
	cmd.SetArgs([]string{"serve", "-c", config})
	cmd.SetContext(t.Context())
	if err := cmd.Execute(); err == nil || !strings.Contains(err.Error(), `has no attribute "maxx"`) {
		t.Errorf("serve: %v", err)
	}
}

// A dry run leaves nothing behind: not the boxes of a server that has not
// started yet, which would belong to whoever asked.
func TestExplainMakesNothing(t *testing.T) {
	config := writeHouse(t, `smtp "in" {
  listen = ["127.0.0.1:0"]
  chain  = "in"
}
chain "in" {
  filter "greylist" {}
  route "here" {
    to  = ["local"]
    hop = "boxes"
  }
}
maildrop "boxes" {}
`, map[string]string{"users": "ann@localhost\n"})
	before := tree(t, filepath.Dir(config))
	cmd := rootCommand()
	var out bytes.Buffer
	cmd.SetOut(&out)
	cmd.SetArgs([]string{"explain", "-c", config, "--ip", "192.0.2.1", "--from", "bob@example.com", "--to", "ann@localhost"})
	cmd.SetContext(t.Context())
	err := cmd.Execute()
	if after := tree(t, filepath.Dir(config)); after != before {
		t.Errorf("it changed something: before\n%s\nafter\n%s", before, after)
	}
	if !strings.Contains(out.String(), "greylisted") {
		t.Errorf("%v\n%s", err, &out)
	}
	for args, want := range map[string]string{
		"--user bob":       `there is no account "bob"`,
		"--listener out":   `no smtp or lmtp listener is called "out". Known here: in.`,
		"--ip example.org": `"example.org" is not an address`,
	} {
		cmd := rootCommand()
		cmd.SetArgs(append([]string{"explain", "-c", config, "--to", "ann@localhost"}, strings.Fields(args)...))
		cmd.SetContext(t.Context())
		if err := cmd.Execute(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("explain %s: %v", args, err)
		}
	}
}
