package dkim

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"strings"
	"testing"

	"hoplite/filters"
	"hoplite/internal/resolve/resolvetest"
	"hoplite/mail"
	"hoplite/mail/dkim"
)

const plain = "From: Ann <ann@example.org>\r\nSubject: x\r\n\r\nHello\r\n"

var key = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{3}, 32))

func zone() *resolvetest.Zone {
	pub := base64.StdEncoding.EncodeToString(key.Public().(ed25519.PublicKey))
	return resolvetest.MustZone("s._domainkey.example.org TXT \"v=DKIM1; k=ed25519; p=" + pub + "\"\ndead._domainkey.example.org SERVFAIL\n")
}

func signed(t *testing.T, selector string) string {
	t.Helper()
	m, err := mail.NewMessage(mail.Bytes(plain))
	if err != nil {
		t.Fatal(err)
	}
	s := dkim.Signer{Domain: "example.org", Selector: selector, Key: key}
	field, err := dkim.Sign(m, s)
	if err != nil {
		t.Fatal(err)
	}
	return string(field) + plain
}

func TestFilter(t *testing.T) {
	good := signed(t, "s")
	bad := strings.Replace(good, "Hello", "Hullo", 1)
	for _, c := range []struct {
		name, text, from string
		cfg              Config
		action           filters.Action
		auth             string
	}{
		{"pass", good, "ann@example.org", Config{Fail: "reject", Require: []string{"example.org"}, RequireFail: "reject"}, "", "pass"},
		{"none", plain, "ann@example.org", Config{Fail: "reject"}, "", "none"},
		{"none, but required", plain, "ann@example.org", Config{Require: []string{"Example.org"}, RequireFail: "reject"}, "reject", "none"},
		{"none, required of others", plain, "ann@example.org", Config{Require: []string{"example.com"}, RequireFail: "reject"}, "", "none"},
		{"broken", bad, "ann@example.org", Config{Fail: "pass"}, "", "fail"},
		{"broken, refused", bad, "ann@example.org", Config{Fail: "reject"}, "reject", "fail"},
		{"broken, tagged", bad, "ann@example.org", Config{Fail: "tag"}, "tag", "fail"},
		{"one of two is good", strings.Replace(signed(t, "none"), plain, "", 1) + good, "ann@example.org", Config{Fail: "reject"}, "", "permerror pass"},
		{"no DNS never refuses", signed(t, "dead"), "ann@example.org", Config{Fail: "reject", Require: []string{"example.org"}, RequireFail: "reject"}, "", "temperror"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, _ := New(c.cfg, filters.Env{DNS: zone()})
			m, err := mail.NewMessage(mail.Bytes(c.text))
			if err != nil {
				t.Fatal(err)
			}
			v, err := f.(*Filter).AtData(context.Background(), mail.NewTransaction(mail.Client{}, mail.Address(c.from)), m)
			var auth []string
			for _, a := range v.Auth {
				auth = append(auth, a.Value)
			}
			if err != nil || v.Action != c.action || strings.Join(auth, " ") != c.auth {
				t.Errorf("%s %v, %v", v.Action, auth, err)
			}
		})
	}
}

func TestManySignaturesAreCounted(t *testing.T) {
	one := strings.Replace(signed(t, "s"), plain, "", 1)
	z := zone()
	f, _ := New(Config{}, filters.Env{DNS: z})
	m, err := mail.NewMessage(mail.Bytes(strings.Repeat(one, 200) + plain))
	if err != nil {
		t.Fatal(err)
	}
	v, err := f.(*Filter).AtData(context.Background(), mail.NewTransaction(mail.Client{}, "ann@example.org"), m)
	last := v.Facts[len(v.Facts)-1]
	if err != nil || len(v.Auth) != dkim.MaxSignatures || z.Asked() > dkim.MaxSignatures || last.Value != "195 of 200 signatures" {
		t.Errorf("%d results, %d questions, %v, %v", len(v.Auth), z.Asked(), last, err)
	}
}
