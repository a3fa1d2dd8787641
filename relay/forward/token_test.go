package forward

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hoplite/internal/conf"
)

// A token from a file is sent with XOAUTH2 or OAUTHBEARER, and the file is read
// for each login. A refused token delays mail but never bounces it.
func TestToken(t *testing.T) {
	xoauth2 := base64.StdEncoding.EncodeToString([]byte("user=relay@example.org\x01auth=Bearer t0ken\x01\x01"))
	bearer := base64.StdEncoding.EncodeToString([]byte("n,a=relay@example.org,\x01"))
	for name, tt := range map[string]struct {
		offer, answer, said, want string
	}{
		"xoauth2":     {"XOAUTH2 PLAIN", "235 2.7.0 welcome", "AUTH XOAUTH2 " + xoauth2, "250 2.0.0"},
		"oauthbearer": {"OAUTHBEARER", "235 2.7.0 welcome", "AUTH OAUTHBEARER " + strings.TrimRight(bearer, "=")[:20], "250 2.0.0"},
		"expired":     {"XOAUTH2", "535 5.7.8 token expired", "AUTH XOAUTH2 " + xoauth2, "451 4"},
		"no such way": {"PLAIN", "235 2.7.0 welcome", "", "451 4"},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "token")
			if err := os.WriteFile(file, []byte("t0ken\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			p := newPeer(t, map[string]string{"EHLO": "250-old\r\n250 AUTH " + tt.offer, "AUTH": tt.answer})
			u := upstream(t, []string{p.url()}, func(c *Config) {
				c.Auth = &AuthConfig{User: "relay@example.org", Mechanism: "auto", TokenFile: file, Password: conf.Secret("")}
			})
			got := replies(handOver(t, u, "A: b\r\n\r\n", "ann@example.org"))
			if !strings.HasPrefix(got, "ann@example.org: "+tt.want) {
				t.Errorf("outcome %s, want %s", got, tt.want)
			}
			if tt.said != "" && !strings.Contains(p.said(), tt.said) {
				t.Errorf("said\n%s\nwant %s", p.said(), tt.said)
			}
		})
	}
}
