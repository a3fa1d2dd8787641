package arc

import (
	"encoding/base64"
	"strings"
	"testing"

	"hoplite/internal/resolve/resolvetest"
	"hoplite/mail"
	"hoplite/mail/authres"
	"hoplite/mail/dkim"
	"hoplite/mail/dkim/dkimtest"
)

// Tags of a valid set, without bh= and b=.
const (
	goodAMS  = "i=1; a=ed25519-sha256; c=relaxed/relaxed; d=one.example; s=s; t=1000; h=From:Subject"
	goodSeal = "i=1; a=ed25519-sha256; t=1000; cv=none; d=one.example; s=s"
)

// sealedAs adds a set with the given tags to plain. The signatures are valid
// for the fields' text even if its content is invalid.
func sealedAs(t *testing.T, ams, seal string, can dkim.Canon) string {
	t.Helper()
	m := message(t, plain)
	h := dkim.NewHeader(m.Header())
	s := &Sealer{Signer: dkim.Signer{Domain: "one.example", Selector: "s", Key: sealKey}}
	sum, err := dkim.HashBody(m, can)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for tag := range strings.SplitSeq(ams, ";") {
		if list, ok := strings.CutPrefix(strings.TrimSpace(tag), "h="); ok && list != "" {
			names = strings.Split(list, ":")
		}
	}
	aar := append(authres.ARCField("1", "mx.one.example", nil), "\r\n"...)
	amsField := []byte("ARC-Message-Signature: " + ams + "; bh=" + base64.StdEncoding.EncodeToString(sum) + "; b=\r\n")
	if amsField, err = s.finish(amsField, h.Sum(names, can, amsField)); err != nil {
		t.Fatal(err)
	}
	sealField := []byte("ARC-Seal: " + seal + "; b=\r\n")
	if sealField, err = s.finish(sealField, sumFields(aar, amsField, sealField)); err != nil {
		t.Fatal(err)
	}
	return string(sealField) + string(amsField) + string(aar) + plain
}

// The rules of RFC 8617, 4.1 for the fields of a set, with valid signatures.
func TestRules(t *testing.T) {
	ams := func(old, new string) string { return strings.Replace(goodAMS, old, new, 1) }
	seal := func(old, new string) string { return strings.Replace(goodSeal, old, new, 1) }
	for _, c := range []struct {
		name, ams, seal string
		can             dkim.Canon
		want, reason    string
	}{
		{"valid", goodAMS, goodSeal, dkim.Relaxed, "pass", ""},
		{"simple", ams("relaxed/relaxed", "simple/simple"), goodSeal, dkim.Simple, "pass", ""},
		{"no c= is simple/simple", ams(" c=relaxed/relaxed;", ""), goodSeal, dkim.Simple, "pass", ""},
		{"no c=, but signed as relaxed", ams(" c=relaxed/relaxed;", ""), goodSeal, dkim.Relaxed, "fail", "does not match"},
		{"an unknown c=", ams("relaxed/relaxed", "nofws"), goodSeal, dkim.Relaxed, "fail", "canonicalisation"},
		{"no t=", ams(" t=1000;", ""), seal(" t=1000;", ""), dkim.Relaxed, "pass", ""},
		{"an unknown tag", goodAMS + "; n=note", goodSeal + "; n=note", dkim.Relaxed, "pass", ""},
		{"white space", ams("; ", " ;\r\n\t"), seal("; ", " ;\r\n\t"), dkim.Relaxed, "pass", ""},

		{"an empty tag in the signature", ams("; d=", ";; d="), goodSeal, dkim.Relaxed, "fail", "empty tag"},
		{"an empty tag in the seal", goodAMS, seal("; d=", ";; d="), dkim.Relaxed, "fail", "empty tag"},
		{"white space as a tag of the seal", goodAMS, seal("; d=", "; ; d="), dkim.Relaxed, "fail", "empty tag"},
		{"a tag twice in the signature", ams("s=s", "s=s; s=s"), goodSeal, dkim.Relaxed, "fail", "repeated"},
		{"a tag twice in the seal", goodAMS, seal("s=s", "s=s; s=s"), dkim.Relaxed, "fail", "repeated"},
		{"an invalid name in the signature", goodAMS + "; _=x", goodSeal, dkim.Relaxed, "fail", "tags"},
		{"an invalid name in the seal", goodAMS, goodSeal + "; _=x", dkim.Relaxed, "fail", "tags"},
		{"a name in capitals in the signature", ams("s=s", "S=s"), goodSeal, dkim.Relaxed, "fail", "s= is missing"},
		{"a name in capitals in the seal", goodAMS, seal("s=s", "S=s"), dkim.Relaxed, "fail", "no key"},

		{"no h=", ams("; h=From:Subject", ""), goodSeal, dkim.Relaxed, "fail", "h= is missing"},
		{"an empty h=", ams("h=From:Subject", "h="), goodSeal, dkim.Relaxed, "fail", "h= is missing"},
		{"From is not signed", ams("h=From:Subject", "h=Subject"), goodSeal, dkim.Relaxed, "fail", "From"},
		{"the signature covers seals", ams("h=From:Subject", "h=From:ARC-Seal"), goodSeal, dkim.Relaxed, "fail", "signs a seal"},
		{"h= in the seal", goodAMS, goodSeal + "; h=From", dkim.Relaxed, "fail", "no h="},
		{"an empty h= in the seal", goodAMS, goodSeal + "; h=", dkim.Relaxed, "fail", "no h="},

		{"no algorithm in the signature", ams(" a=ed25519-sha256;", ""), goodSeal, dkim.Relaxed, "fail", "a= is missing"},
		{"no algorithm in the seal", goodAMS, seal(" a=ed25519-sha256;", ""), dkim.Relaxed, "fail", "does not match"},
		{"an unknown algorithm in the signature", ams("a=ed25519-sha256", "a=ed25519-sha512"), goodSeal, dkim.Relaxed, "fail", "unknown"},
		{"an unknown algorithm in the seal", goodAMS, seal("a=ed25519-sha256", "a=ed25519-sha512"), dkim.Relaxed, "fail", "does not match"},
		{"the algorithm of another key in the seal", goodAMS, seal("a=ed25519-sha256", "a=rsa-sha256"), dkim.Relaxed, "fail", "does not match"},

		{"no domain in the seal", goodAMS, seal(" d=one.example;", ""), dkim.Relaxed, "fail", "no key"},
		{"another domain in the seal", goodAMS, seal("d=one.example", "d=two.example"), dkim.Relaxed, "pass", ""},
		{"a domain in capitals", ams("d=one", "d=ONE"), seal("d=one", "d=ONE"), dkim.Relaxed, "pass", ""},
		{"no selector in the signature", ams(" s=s;", ""), goodSeal, dkim.Relaxed, "fail", "s= is missing"},
		{"a selector without a key", goodAMS, seal("s=s", "s=other"), dkim.Relaxed, "fail", "no key"},

		{"no cv=", goodAMS, seal(" cv=none;", ""), dkim.Relaxed, "fail", "cv="},
		{"cv=pass in the first set", goodAMS, seal("cv=none", "cv=pass"), dkim.Relaxed, "fail", "cv=pass"},
		{"cv=fail", goodAMS, seal("cv=none", "cv=fail"), dkim.Relaxed, "fail", "cv=fail"},
		{"an unknown cv=", goodAMS, seal("cv=none", "cv=maybe"), dkim.Relaxed, "fail", "cv=maybe"},

		{"a space in t= of the seal", goodAMS, seal("t=1000", "t=10 00"), dkim.Relaxed, "fail", "t=10 00"},
		{"a word in t= of the seal", goodAMS, seal("t=1000", "t=now"), dkim.Relaxed, "fail", "t=now"},
		{"a signature from the future", ams("t=1000", "t=99999999999"), goodSeal, dkim.Relaxed, "fail", "future"},

		{"no instance of the signature", ams("i=1; ", ""), goodSeal, dkim.Relaxed, "fail", "instance"},
		{"no instance of the seal", goodAMS, seal("i=1; ", ""), dkim.Relaxed, "fail", "instance"},
		{"instance 0", ams("i=1", "i=0"), goodSeal, dkim.Relaxed, "fail", "instance"},
		{"instance 51", ams("i=1", "i=51"), goodSeal, dkim.Relaxed, "fail", "instance"},
		{"instances that differ", ams("i=1", "i=2"), goodSeal, dkim.Relaxed, "fail", "incomplete"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := validate(t, sealedAs(t, c.ams, c.seal, c.can), zone())
			if got.CV != c.want || !strings.Contains(got.Reason, c.reason) {
				t.Errorf("%s (%s), want %s (%s)", got.CV, got.Reason, c.want, c.reason)
			}
		})
	}
}

// The instance of each kind of field (RFC 8617, 4.2.1).
func TestInstance(t *testing.T) {
	for _, c := range []struct {
		field string
		want  int
	}{
		{"ARC-Seal: i=3; a=x", 3},
		{"ARC-Seal: a=x; i=3", 3},
		{"ARC-Seal: a=x;\r\n\ti = 12 ", 12},
		{"ARC-Seal: a=x", 0},
		{"ARC-Seal: i=", 0},
		{"ARC-Seal: i=1x", 0},
		{"ARC-Seal: i=-1", 0},
		{"ARC-Seal: i=+1", 0},
		{"ARC-Seal: ii=1", 0},
		{"ARC-Authentication-Results: i=2; mx.example; none", 2},
		{"ARC-Authentication-Results: mx.example; i=2", 0},
		{"ARC-Authentication-Results: none", 0},
		{"ARC-Message-Signature: h=From; i=7; b=", 7},
	} {
		for f := range mail.Fields([]byte(c.field + "\r\n\r\n")) {
			if got := instance(f); got != c.want {
				t.Errorf("%s: %d, want %d", c.field, got, c.want)
			}
		}
	}
}

// A key that cannot be looked up results in temperror; one that is revoked or
// missing results in fail.
func TestSealKeys(t *testing.T) {
	good := dkimtest.Record(key.Public())
	for _, c := range []struct{ name, zone, want, reason string }{
		{"present", "TXT \"" + good + "\"", "pass", ""},
		{"beside SPF", "TXT \"v=spf1 -all\"\ns._domainkey.one.example TXT \"" + good + "\"", "pass", ""},
		{"no answer", "SERVFAIL", "temperror", ""},
		{"revoked", "TXT \"v=DKIM1; k=ed25519; p=\"", "fail", "revoked"},
		{"missing", "TXT \"hello\"", "fail", "no key"},
		{"of a domain that is testing", "TXT \"" + good + "; t=y\"", "pass", ""},
	} {
		got := validate(t, sealedAs(t, goodAMS, goodSeal, dkim.Relaxed), resolvetest.MustZone("s._domainkey.one.example "+c.zone))
		if got.CV != c.want || !strings.Contains(got.Reason, c.reason) {
			t.Errorf("%s: %s (%s), want %s", c.name, got.CV, got.Reason, c.want)
		}
	}
}

// Messages that could not be validated later are not sealed.
func TestNotSealed(t *testing.T) {
	s := &Sealer{Signer: dkim.Signer{Domain: "one.example", Selector: "s", Key: sealKey}, Host: "mx.one.example"}
	for _, c := range []struct{ name, text, cv string }{
		{"the chain could not be validated", plain, "temperror"},
		{"the chain was sealed as broken", "ARC-Seal: i=1; cv=fail\r\n" + plain, "fail"},
		{"the chain is full", "ARC-Seal: i=50; cv=pass\r\n" + plain, "pass"},
	} {
		if out, err := s.Seal(message(t, c.text), &Chain{}, c.cv, nil); err != nil || out != nil {
			t.Errorf("%s: %q, %v", c.name, out, err)
		}
	}
}

// Fields are folded into lines of at most 78 octets, except for longer words.
func TestFolding(t *testing.T) {
	text := server(t, "one.example", "To: "+strings.Repeat("someone@example.org, ", 10)+"x@example.org\r\n"+plain, zone(), dmarcPass)
	for line := range strings.SplitSeq(text[:strings.Index(text, "To:")], "\r\n") {
		if len(line) > 78 {
			t.Errorf("%d octets: %s", len(line), line)
		}
	}
	if c := validate(t, text, zone()); c.CV != "pass" {
		t.Errorf("%s (%s)", c.CV, c.Reason)
	}
}
