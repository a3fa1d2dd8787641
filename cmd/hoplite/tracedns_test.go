package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hoplite/internal/resolve/resolvetest"
)

// TestTraceDNS evaluates a message with the resolver and the lists of relay.hcl.
func TestTraceDNS(t *testing.T) {
	t.Setenv("LANG", "C.UTF-8")
	zone := resolvetest.MustZone(`
a.example TXT "v=spf1 ip4:8.8.4.0/24 -all"
_dmarc.a.example TXT "v=DMARC1; p=reject"
4.4.8.8.bl.example A 127.0.0.2
4.4.8.8.bl.example TXT "sends spam"
4.4.8.8.wl.example A 127.0.4.1
`)
	server, err := zone.Serve(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	conf := filepath.Join(t.TempDir(), "relay.hcl")
	text := fmt.Sprintf(`hostname = "mx.b.example"
data = "var"
dns {
  server = %q
}
smtp "in" {
  listen = ["127.0.0.1:0"]
  chain  = "inbound"
}
chain "inbound" {
  filter "dnsbl" {
    list "bl.example" {}
    list "wl.example" {
      weight = -1
    }
  }
  filter "size" {
    max = "1MiB"
  }
}
`, server)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	const hop = "Return-Path: <ann@a.example>\nReceived: from mail.a.example (mail.a.example [%s]) by mx.b.example (Postfix) with ESMTPS id 4F1Zpz0YBvz9sWn; Tue, 12 May 2026 08:30:06 +0000\nFrom: ann@a.example\nTo: bob@b.example\nDate: Tue, 12 May 2026 08:30:05 +0000\nMessage-ID: <1@a.example>\n\nhi\n"
	for _, c := range []struct {
		name, addr string
		code       int
		want       []string
	}{
		{"listed", "8.8.4.4", 1, []string{"spf      pass      evaluated now. smtp.mailfrom=ann@a.example", "dmarc    pass", "8.8.4.4 is listed in bl.example (127.0.0.2): sends spam", "is on wl.example, a list of good addresses"}},
		{"not listed, not authorised", "8.8.8.8", 1, []string{"spf      fail", "dmarc    fail", "DMARC fails now for the From domain a.example"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, code := hopliteRun(t, fmt.Sprintf(hop, c.addr), "trace", "-c", conf, "--dns", "-")
			if code != c.code {
				t.Errorf("exit code %d, want %d\n%s", code, c.code, out)
			}
			flat := strings.Join(strings.Fields(out), " ")
			for _, w := range c.want {
				if !strings.Contains(flat, strings.Join(strings.Fields(w), " ")) {
					t.Errorf("%q is missing in\n%s", w, out)
				}
			}
		})
	}
}
