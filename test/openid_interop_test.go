//go:build interop

package test

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// curl and Python's imaplib log in with tokens that oauth2-mock-server has
// issued.
func TestInteropOpenID(t *testing.T) {
	if _, err := os.Stat(oauthMock + "/node_modules"); err != nil {
		t.Skip("oauth2-mock-server is not installed")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	l.Close()
	stop := startTokenService(t, port, 300)
	issuer := "http://localhost:" + port // the name in its tokens
	token := func(user string) string {
		t.Helper()
		resp, err := http.PostForm(issuer+"/token", url.Values{"grant_type": {"client_credentials"}, "scope": {"mail"}, "aud": {"mail.example.org"}, "email": {user}})
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, _ := io.ReadAll(resp.Body)
		var answer struct {
			Token string `json:"access_token"`
		}
		if err := json.Unmarshal(text, &answer); err != nil || answer.Token == "" {
			t.Fatalf("%v: %s", err, text)
		}
		return answer.Token
	}
	s := prepareOpenID(t, issuer)
	if out := s.must("", "check", "--probe", "-c", "relay.hcl"); !strings.Contains(out, "publishes its") {
		t.Errorf("check: %s", out)
	}
	s.start()
	good := token("ann@example.org")
	curl := func(bearer string, args ...string) (string, error) {
		cmd := exec.Command("curl", append([]string{"--silent", "--show-error", "--verbose", "--user", "ann@example.org:", "--oauth2-bearer", bearer}, args...)...)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	for _, mech := range []string{"OAUTHBEARER", "XOAUTH2"} {
		for _, client := range [][]string{
			{"imap://" + s.addr["imap"], "--request", "NOOP"},
			{"pop3://" + s.addr["pop3"], "--list-only"},
			{"smtp://" + s.addr["submission"], "--request", "NOOP"},
		} {
			args := append([]string{"--url"}, client...)
			args = append(args, "--login-options", "AUTH="+mech)
			if out, err := curl(good, args...); err != nil || !strings.Contains(out, "AUTH") || !strings.Contains(out, mech) {
				t.Errorf("%s: %s: %v\n%s", mech, client[0], err, out)
			}
			if out, err := curl(token("eve@example.net"), args...); err == nil {
				t.Errorf("%s: %s accepts a token of another domain\n%s", mech, client[0], out)
			}
		}
	}
	program := fmt.Sprintf(`
import imaplib, sys
c = imaplib.IMAP4(*%q.rsplit(":", 1))
assert "AUTH=OAUTHBEARER" in c.capabilities, c.capabilities
c.authenticate("OAUTHBEARER", lambda _: b"n,a=ann@example.org,\x01auth=Bearer " + sys.argv[1].encode() + b"\x01\x01")
c.select()
print(c.logout()[0])
`, s.addr["imap"])
	if out, err := exec.Command("python3", "-c", program, good).CombinedOutput(); err != nil || strings.TrimSpace(string(out)) != "BYE" {
		t.Errorf("imaplib: %v\n%s", err, out)
	}

	stop()
	if out, err := curl(good, "--url", "imap://"+s.addr["imap"], "--request", "NOOP"); err != nil {
		t.Errorf("known keys while the provider is down: %v\n%s", err, out)
	}
	for part := range strings.SplitSeq(good, ".") {
		if strings.Contains(s.log.String(), part) {
			t.Errorf("the token is in the log:\n%s", s.log)
		}
	}
}
