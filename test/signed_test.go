package test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/smtp"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Every signed or encrypted sample that is sent through each kind of hop
// arrives unchanged below the fields that this server adds.
func TestSignedMailPassesThrough(t *testing.T) {
	filterChain := `chain "inbound" {
  filter "smime" {
    revocation = "off"
  }
  filter "attach" {}
`
	boxes := `maildrop "boxes" {
  path = "mail/{domain}/{user}"
}
`
	behind := prepare(t, completed(`chain "inbound" {
  route "here" {
    to  = ["inline.example", "queue.example", "lmtp.example"]
    hop = "boxes"
  }
}
lmtp "local" {
  listen = ["127.0.0.1:0"]
  chain  = "inbound"
}
smtp "inbound" {
  listen = ["127.0.0.1:0"]
  chain  = "inbound"
}
`+boxes))
	domains := []string{"box.example", "inline.example", "queue.example", "lmtp.example"}
	for _, d := range domains[1:] {
		behind.must("secret\n", "user", "add", "ann@"+d)
	}
	behind.start()
	front := prepare(t, completed(filterChain+fmt.Sprintf(`  route "box" {
    to  = ["box.example"]
    hop = "boxes"
  }
  route "inline" {
    to  = ["inline.example"]
    hop = "inline"
  }
  route "queue" {
    to  = ["queue.example"]
    hop = "queue"
  }
  route "lmtp" {
    to  = ["lmtp.example"]
    hop = "lmtp"
  }
}
upstream "inline" {
  servers = ["smtp://%[1]s"]
  mode    = "inline"
}
upstream "queue" {
  servers = ["smtp://%[1]s"]
  mode    = "queue"
}
upstream "lmtp" {
  servers = ["lmtp://%[2]s"]
  mode    = "inline"
}
`, behind.addr["inbound"], behind.addr["local"])+boxes))
	front.must("secret\n", "user", "add", "ann@box.example")
	front.start()
	for name, msg := range signedSamples(t) {
		for _, d := range domains {
			s := behind
			if d == "box.example" {
				s = front
			}
			got := sendAndRead(t, front, s, "ann@"+d, name, msg)
			if !bytes.HasSuffix(got, msg) {
				t.Errorf("%s to %s was changed on the way:\n%s", name, d, firstDifference(got, msg))
			}
		}
		if name == "thunderbird-signed.txt" {
			continue
		}
		before, after := verdict(t, front, msg), verdict(t, front, sendAndRead(t, front, behind, "ann@inline.example", name, msg))
		if before != after {
			t.Errorf("%s: %s before, %s after", name, before, after)
		}
	}
}

// signedSamples returns messages with content that other relays change: 8-bit
// text, trailing white space, dots, long lines, and parts without a final
// newline.
func signedSamples(t *testing.T) map[string][]byte {
	out := map[string][]byte{}
	dir := "../mail/cms/testdata/"
	for _, pattern := range []string{"james/*.eml", "rfc4134/*.eml", "openssl/*.eml", "mimekit/*.txt"} {
		files, err := filepath.Glob(dir + pattern)
		if err != nil || len(files) == 0 {
			t.Fatal(pattern, err)
		}
		for _, f := range files {
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			b = bytes.ReplaceAll(b, []byte("\r\n"), []byte("\n"))
			out[filepath.Base(f)] = bytes.ReplaceAll(b, []byte("\n"), []byte("\r\n"))
		}
	}
	sig, err := os.ReadFile(dir + "generated/s_rsa_sha256_det.der")
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := os.ReadFile(dir + "generated/e_rsa_aes256cbc.der")
	if err != nil {
		t.Fatal(err)
	}
	head := "From: ann@example.org\r\nTo:\tbob@example.com,\r\n\tcarl@example.com\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nMIME-Version: 1.0\r\n"
	out["awkward"] = []byte(head + "Content-Type: multipart/signed; protocol=\"application/pkcs7-signature\"; micalg=sha-256; boundary=\"b\"\r\n\r\npreamble \r\n" +
		"--b\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\nGrüße \t\r\n.\r\n..\r\nFrom here\r\n-- \r\n" +
		strings.Repeat("long ", 190) + "\r\nno newline\r\n--b\r\nContent-Type: application/pkcs7-signature\r\nContent-Transfer-Encoding: base64\r\n\r\n" +
		base64.StdEncoding.EncodeToString(sig)[:800] + "\r\n--b--\r\nepilogue \r\n\r\n\r\n")
	out["encrypted"] = []byte(head + "Content-Type: application/pkcs7-mime; smime-type=enveloped-data\r\nContent-Transfer-Encoding: base64\r\n\r\n" +
		base64.StdEncoding.EncodeToString(sealed) + "\r\n")
	return out
}

// sendAndRead sends a message to front and returns the message that arrived at
// s.
func sendAndRead(t *testing.T, front, s *server, to, name string, msg []byte) []byte {
	t.Helper()
	before := s.mails(to, "")
	c, err := smtp.Dial(front.addr["inbound"])
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Mail("ann@example.org"); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if err := c.Rcpt(to); err != nil {
		t.Fatalf("%s to %s: %v", name, to, err)
	}
	w, err := c.Data()
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	w.Write(msg)
	if err := w.Close(); err != nil {
		t.Fatalf("%s to %s: %v", name, to, err)
	}
	c.Quit()
	s.waitFor(name+" to "+to, func() bool { return len(s.mails(to, "")) > len(before) })
	arrived := slices.DeleteFunc(s.mails(to, ""), func(m string) bool { return slices.Contains(before, m) })
	b, err := os.ReadFile(arrived[0])
	if err != nil {
		t.Fatal(err)
	}
	return bytes.ReplaceAll(b, []byte("\n"), []byte("\r\n"))
}

// verdict returns the verdict of hoplite smime for a message's signatures.
func verdict(t *testing.T, s *server, msg []byte) string {
	t.Helper()
	out, _ := s.run(string(msg), "smime", "--any-root", "--json", "-")
	var rep struct{ Verdict string }
	if err := json.Unmarshal([]byte(out), &rep); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return rep.Verdict
}

func firstDifference(got, want []byte) string {
	i := 1
	for i <= len(want) && i <= len(got) && got[len(got)-i] == want[len(want)-i] {
		i++
	}
	at := max(0, len(got)-i-40)
	return fmt.Sprintf("%d octets from the end: %q", i, got[at:min(len(got), at+80)])
}
