package server

import (
	"crypto/x509"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hoplite/cmd/hoplite/internal/config"
	"hoplite/internal/acme"
)

// The postmaster is notified 14 and 3 days before a certificate expires, once
// each even after a restart.
func TestExpiryNotices(t *testing.T) {
	path := filepath.Join(t.TempDir(), "certificates.json")
	start := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	old := &x509.Certificate{Raw: []byte("old"), DNSNames: []string{"mail.example.org"}, NotAfter: start.AddDate(0, 0, 20)}
	fresh := &x509.Certificate{Raw: []byte("fresh"), DNSNames: []string{"mail.example.org"}, NotAfter: start.AddDate(0, 0, 90)}
	n := loadNotices(path)
	var days []string
	for day := range 25 {
		if day == 10 { // a restart
			if err := n.save(); err != nil {
				t.Fatal(err)
			}
			n = loadNotices(path)
		}
		for range n.due([]*x509.Certificate{old, fresh}, start.AddDate(0, 0, day)) {
			days = append(days, fmt.Sprint(day))
		}
	}
	if got := strings.Join(days, " "); got != "6 17" {
		t.Errorf("told on days %s", got)
	}
	n.due([]*x509.Certificate{fresh}, start)
	if len(n.Sent) != 0 {
		t.Errorf("a replaced certificate is remembered: %v", n.Sent)
	}
}

func TestExpiryText(t *testing.T) {
	now := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	leaf := &x509.Certificate{DNSNames: []string{"mail.example.org"}, NotAfter: now.Add(73 * time.Hour)}
	cfg := &config.Config{Hostname: "mail.example.org"}
	subject, text := expiryText(cfg, leaf, now)
	if subject != "The certificate of mail.example.org expires in 3 days" || !strings.Contains(text, "Replace its files") {
		t.Errorf("%s\n%s", subject, text)
	}
	cfg.ACME = &acme.Config{}
	if _, text = expiryText(cfg, leaf, now); !strings.Contains(text, `"hoplite certificate renew mail.example.org"`) {
		t.Errorf("%s", text)
	}
}

// A reload keeps the manager unless the block, including its secrets, or the
// names change. The block's position in the file does not matter.
func TestIssuanceKey(t *testing.T) {
	base := func() acme.Config {
		return acme.Config{Email: "a@example.org", DNS: &acme.DNSConfig{Server: "192.0.2.1:53", Secret: "one"}}
	}
	key := issuanceKey(base(), []string{"a.example"})
	if issuanceKey(base(), []string{"a.example"}) != key {
		t.Error("the same block has another key")
	}
	other := base()
	other.DNS.Secret = "two"
	for name, k := range map[string]string{"secret": issuanceKey(other, []string{"a.example"}), "names": issuanceKey(base(), []string{"b.example"})} {
		if k == key {
			t.Errorf("another %s, the same key", name)
		}
	}
	if strings.Contains(key, "one") {
		t.Error("the key shows the secret")
	}
}
