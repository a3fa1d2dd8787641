package test

import (
	"context"
	"os"
	"regexp"
	"strings"
	"testing"

	"hoplite/mail"
	"hoplite/mail/dkim"
)

const ownConfig = `
hostname   = "mail.example.org"
data       = "var"
postmaster = "ann@example.org"
smtp "devices" {
  listen     = ["127.0.0.1:0"]
  relay_from = ["127.0.0.0/8"]
  chain      = "out"
}
chain "out" {
  route "here" {
    to  = ["example.org"]
    hop = "boxes"
  }
  route "out" {
    relay = true
    hop   = "provider"
    filter "sign" {
      domain "$DOMAIN" {
        selector = "s1"
        }
    }
  }
}
maildrop "boxes" {
  path = "mail/{domain}/{user}"
}
upstream "provider" {
  servers    = ["smtp://$SERVER"]
  mode       = "queue"
  recipients = "any"
}
`

// txtString matches the strings of a TXT record.
var txtString = regexp.MustCompile(`"([^"]*)"`)

// A delivery report is signed if a sign filter covers the domain of its From.
func TestReportsAreSigned(t *testing.T) {
	for domain, signed := range map[string]bool{"example.org": true, "example.net": false} {
		t.Run(domain, func(t *testing.T) {
			old := newPeer(t, "RCPT -> 550 5.1.1 no such user\n")
			s := prepare(t, strings.NewReplacer("$SERVER", old.l.Addr().String(), "$DOMAIN", domain).Replace(ownConfig))
			var record string
			for _, part := range txtString.FindAllStringSubmatch(s.must("", "dkim", "keygen", domain, "--selector", "s1", "-c", "relay.hcl"), -1) {
				record += part[1]
			}
			s.must("secret\n", "user", "add", "scan@example.org", "-c", "relay.hcl")
			s.start()
			s.talk("devices", strings.Replace(shortMail, "$SUBJECT", "refused", 1))
			s.waitFor("the report", func() bool { return len(s.mails("scan@example.org", "")) == 1 })
			text, err := os.ReadFile(s.mails("scan@example.org", "")[0])
			if err != nil {
				t.Fatal(err)
			}
			// The fields above the signature were added at delivery.
			_, sent, _ := strings.Cut("\n"+string(text), "\nReturn-Path: <>\n")
			m, err := mail.NewMessage(mail.Bytes(strings.ReplaceAll(sent, "\n", "\r\n")))
			if err != nil {
				t.Fatal(err)
			}
			results, _, err := dkim.Verify(t.Context(), m, func(context.Context, string) ([]string, error) { return []string{record}, nil })
			if err != nil {
				t.Fatal(err)
			}
			if signed != (len(results) == 1) || signed && results[0].Value != "pass" {
				t.Errorf("signatures %+v in\n%s", results, text)
			}
		})
	}
}
