package dryrun

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"

	"hoplite/cmd/hoplite/internal/config"
	"hoplite/cmd/hoplite/internal/sitetest"
	"hoplite/relay/forward"
)

const ruled = `hostname = "mail.example.org"
trusted  = ["192.0.2.64/26"]
smtp "in" {
  listen     = ["127.0.0.1:0"]
  relay_from = ["192.0.2.32/27"]
  chain      = "in"
}
smtp "open" {
  listen = [":0"]
  chain  = "in"
}
smtp "tls" {
  listen = ["127.0.0.1:465"]
  chain  = "in"
}
smtp "clear" {
  listen = ["127.0.0.1:0"]
  tls    = "off"
  chain  = "in"
}
smtp "ours" {
  listen          = ["127.0.0.1:0"]
  auth            = "required"
  chain           = "in"
}
chain "in" {
  filter "size" {
    max = "1MiB"
  }
  filter "smime" {
    only = ["else.example"]
  }
  route "here" {
    to  = ["local"]
    hop = "boxes"
  }
  route "up" {
    to  = ["up.example"]
    hop = "up"
    filter "sign" {
      domain "example.org" {
        selector = "s1"
      }
    }
  }
}
maildrop "boxes" {}
upstream "up" {
  servers    = ["smtp://127.0.0.1:1"]
  recipients = "any"
}
`

// site writes the configuration with an account, an alias to another server and a
// key.
func site(t *testing.T) string {
	t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return sitetest.Write(t, ruled, map[string]string{
		"users":                   "ann@mail.example.org\n",
		"aliases":                 "away@mail.example.org bob@up.example\n",
		"dkim/example.org/s1.pem": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
	})
}

func explain(t *testing.T, path string, q Question) *Explanation {
	t.Helper()
	cfg, file, err := config.Read(path)
	if err != nil {
		t.Fatal(err)
	}
	if !q.IP.IsValid() {
		q.IP = netip.MustParseAddr("198.51.100.7")
	}
	q.Helo = "client.example.com"
	x, err := Run(t.Context(), cfg, file.Diags, q)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// Every rule is listed, including those that need a message, apply to outgoing
// mail, or depend on the client.
func TestRules(t *testing.T) {
	path := site(t)
	ip := netip.MustParseAddr
	message := []byte("Subject: x\n\nx\n")
	for _, c := range []struct {
		name string
		q    Question
		want string // a rule, as "stage name text"
		not  string
	}{
		{"a data filter without a message", Question{To: []string{"ann@mail.example.org"}}, "data size needs the message: name a FILE", ""},
		{"a data filter with a message", Question{To: []string{"ann@mail.example.org"}, Message: message}, "data loop", "data size"},
		{"a filter for other recipients", Question{To: []string{"ann@mail.example.org"}, Message: message}, "data smime does not apply to the recipients", ""},
		{"a filter that was not reached", Question{To: []string{"x@nowhere.example"}, Message: message}, "data size not reached", ""},
		{"the limit of hops", Question{To: []string{"ann@mail.example.org"}}, "data hops no filter hops: a message with more than 100", ""},
		{"signing", Question{From: "eve@example.com", To: []string{"bob@up.example"}}, `send sign runs in route "up"`, "send srs"},
		{"no signing into a maildrop", Question{From: "eve@example.com", To: []string{"ann@mail.example.org"}}, "data loop", "send sign"},
		{"a rewritten sender", Question{From: "eve@example.com", To: []string{"away@mail.example.org"}}, "send srs the sender is rewritten", ""},
		{"no rewriting of our own sender", Question{From: "ann@mail.example.org", To: []string{"away@mail.example.org"}}, "send sign", "send srs"},
		{"a program on this machine", Question{IP: ip("127.0.0.1"), To: []string{"ann@mail.example.org"}}, "connect client is trusted, and exempt from sender checks: a program on this machine", ""},
		{"loopback at a public listener", Question{IP: ip("127.0.0.1"), Listener: "open", To: []string{"ann@mail.example.org"}}, "connect client is not trusted: the listener is open", ""},
		{"a trusted network", Question{IP: ip("192.0.2.70"), To: []string{"ann@mail.example.org"}}, "connect client is trusted, and exempt from sender checks: it is in trusted", ""},
		{"relay_from", Question{IP: ip("192.0.2.33"), To: []string{"ann@mail.example.org"}}, "connect client may relay, and is exempt from sender checks: it is in relay_from", ""},
		{"a login", Question{Listener: "ours", User: "ann@mail.example.org", From: "ann@mail.example.org", To: []string{"bob@up.example"}}, "connect client may relay, and is exempt from sender checks: it has logged in", ""},
		{"any other client", Question{To: []string{"ann@mail.example.org"}}, "data loop", "connect client"},
	} {
		x := explain(t, path, c.q)
		var all strings.Builder
		for _, r := range x.Rules {
			all.WriteString(string(r.Stage) + " " + r.Name + " " + r.Text + "\n")
		}
		if !strings.Contains(all.String(), c.want) || c.not != "" && strings.Contains(all.String(), c.not) {
			t.Errorf("%s: want %q, not %q:\n%s", c.name, c.want, c.not, &all)
		}
		if x.Result != x.Verdict() || x.Result == "" {
			t.Errorf("%s: verdict %q in JSON, %q", c.name, x.Result, x.Verdict())
		}
		var out strings.Builder
		x.Print(&out)
		for line := range strings.Lines(out.String()) {
			if len([]rune(strings.TrimRight(line, "\n"))) > 80 {
				t.Errorf("%s: over 80 columns: %s", c.name, line)
			}
		}
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), "var", "*")); len(left) != 3 {
		t.Errorf("the data folder has %v", left)
	}
}

// The dry run ends with a QUIT before DATA, which is not an error of the message.
func TestOwnQuitIsNotAnEvent(t *testing.T) {
	x := explain(t, site(t), Question{To: []string{"ann@mail.example.org"}})
	var out strings.Builder
	x.Print(&out)
	if strings.Contains(out.String(), "QUIT") || !strings.Contains(out.String(), "accepted") {
		t.Errorf("got\n%s", &out)
	}
}

// The dialogue begins as with the running server: STARTTLS is offered, TLS
// starts immediately on port 465, and the known extensions of the upstreams
// determine the ones offered.
func TestOffersOfTheServer(t *testing.T) {
	path := site(t)
	to := []string{"bob@up.example"}
	old := map[string]forward.Offer{"up": {Known: true, Size: 1000}}
	for _, c := range []struct {
		name string
		q    Question
		has  string
		not  string
	}{
		{"STARTTLS", Question{To: to}, "250-STARTTLS", ""},
		{"TLS from the first octet", Question{Listener: "tls", To: to}, "250-REQUIRETLS", "STARTTLS"},
		{"no TLS", Question{Listener: "clear", To: to}, "250-PIPELINING", "STARTTLS"},
		{"a login by STARTTLS", Question{Listener: "ours", User: "ann@mail.example.org", From: "ann@mail.example.org", To: to}, "235 2.7.0", ""},
		{"an upstream beside a maildrop", Question{To: to, Offers: old}, "250-8BITMIME", ""},
	} {
		var said strings.Builder
		for _, l := range explain(t, path, c.q).Dialogue {
			said.WriteString(l.Client + "\n" + strings.Join(l.Server, "\n") + "\n")
		}
		if !strings.Contains(said.String(), c.has) || c.not != "" && strings.Contains(said.String(), c.not) {
			t.Errorf("%s: want %q, not %q:\n%s", c.name, c.has, c.not, &said)
		}
	}
}
