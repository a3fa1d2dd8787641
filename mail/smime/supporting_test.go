package smime

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"hoplite/mail"
	"hoplite/mail/smime/smimetest"
)

func check(t *testing.T, c *Checker, msg string) *Report {
	t.Helper()
	rep, err := c.Message(context.Background(), mail.Bytes(msg), int64(len(msg)))
	if err != nil {
		t.Fatal(err)
	}
	return rep
}

// found returns the codes of all findings except those about the signer's
// certificate.
func found(r *Report) string {
	var out []string
	for _, f := range r.Findings {
		if strings.Contains(f.Code, "countersignature") || strings.Contains(f.Code, "timestamp") || f.Code == "signing_time" || f.Code == "expired" {
			out = append(out, f.Code)
		}
	}
	return strings.Join(out, " ")
}

// TestSupporting checks that countersignatures (RFC 5652, 11.4) and time stamps
// (RFC 3161) are verified, and that they never make a good signature bad.
func TestSupporting(t *testing.T) {
	root := issue(t, nil, "Root", nil)
	ann := issue(t, root, "ann@example.org", nil)
	notary := issue(t, root, "notary@example.com", nil)
	stranger := issue(t, issue(t, nil, "Other root", nil), "stranger@example.net", nil)
	forStamps := func(c *x509.Certificate) {
		c.ExtKeyUsage, c.EmailAddresses = []x509.ExtKeyUsage{x509.ExtKeyUsageTimeStamping}, nil
	}
	tsa := issue(t, root, "Time Stamp Authority", forStamps)
	otherTSA := issue(t, issue(t, nil, "Third root", nil), "Unknown Authority", forStamps)
	signedAt := now.Add(-time.Hour)
	stampedAt := signedAt.Add(time.Minute)
	other := []byte("another signature")
	tampered := func(attribute []byte) []byte {
		b := bytes.Clone(attribute)
		b[len(b)-1] ^= 1
		return b
	}
	for _, c := range []struct {
		name    string
		attrs   func(sig []byte) [][]byte
		more    []*person
		verdict string // verdict on the countersigner or time stamp, and its Trust
		found   string
	}{
		{"a countersignature", func(sig []byte) [][]byte { return [][]byte{notary.Countersign(t, sig)} }, []*person{notary}, "good trusted", "countersignature"},
		{"two", func(sig []byte) [][]byte { return [][]byte{notary.Countersign(t, sig), ann.Countersign(t, sig)} }, []*person{notary}, "good trusted", "countersignature countersignature"},
		{"without its certificate", func(sig []byte) [][]byte { return [][]byte{notary.Countersign(t, sig)} }, nil, "unknown missing", "countersignature"},
		{"by an unknown authority", func(sig []byte) [][]byte { return [][]byte{stranger.Countersign(t, sig)} }, []*person{stranger}, "unknown unknown_ca", "countersignature"},
		{"of another signature", func([]byte) [][]byte { return [][]byte{notary.Countersign(t, other)} }, []*person{notary}, "bad trusted", "bad_countersignature"},
		{"damaged", func(sig []byte) [][]byte { return [][]byte{tampered(notary.Countersign(t, sig))} }, []*person{notary}, "bad trusted", "bad_countersignature"},
		{"with a content type", func(sig []byte) [][]byte { return [][]byte{notary.CountersignWithType(t, sig)} }, []*person{notary}, "bad trusted", "bad_countersignature"},

		{"a time stamp", func(sig []byte) [][]byte { return [][]byte{tsa.Stamp(t, sig, stampedAt)} }, nil, "good trusted", "timestamp"},
		{"by an unknown authority", func(sig []byte) [][]byte { return [][]byte{otherTSA.Stamp(t, sig, stampedAt)} }, nil, "unknown unknown_ca", "timestamp"},
		{"by a signer of mail", func(sig []byte) [][]byte { return [][]byte{notary.Stamp(t, sig, stampedAt)} }, nil, "bad not_for_mail", "bad_timestamp"},
		{"of another signature", func([]byte) [][]byte { return [][]byte{tsa.Stamp(t, other, stampedAt)} }, nil, "bad trusted", "bad_timestamp"},
		{"damaged", func(sig []byte) [][]byte { return [][]byte{tampered(tsa.Stamp(t, sig, stampedAt))} }, nil, "bad trusted", "bad_timestamp"},
		{"without its certificate in the attributes", func(sig []byte) [][]byte { return [][]byte{smimetest.StampOf(tsa.Token(t, sig, stampedAt, false))} }, nil, "bad trusted", "bad_timestamp"},
		{"that is something else", func(sig []byte) [][]byte { return [][]byte{smimetest.StampOf(ann.Sign(t, sig, false, now))} }, nil, "bad missing", "bad_timestamp"},
		{"that is unreadable", func([]byte) [][]byte { return [][]byte{smimetest.StampOf([]byte{0x30, 2, 5, 0})} }, nil, "bad missing", "bad_timestamp"},
		{"before the claimed time", func(sig []byte) [][]byte { return [][]byte{tsa.Stamp(t, sig, signedAt.Add(-24*time.Hour))} }, nil, "good trusted", "timestamp signing_time"},
		{"both", func(sig []byte) [][]byte {
			return [][]byte{tsa.Stamp(t, sig, stampedAt), notary.Countersign(t, sig)}
		}, []*person{notary}, "good trusted", "countersignature timestamp"},
	} {
		t.Run(c.name, func(t *testing.T) {
			sig := ann.SignWith(t, []byte(text), true, signedAt, c.attrs, c.more...)
			rep := check(t, &Checker{Trust: pool(root), At: now}, clear(outer, text, sig))
			if rep.Verdict != "good" {
				t.Errorf("verdict %s: %s", rep.Verdict, rep.Reason())
			}
			s := rep.Layers[0].Signers[0]
			var got []string
			for _, by := range s.Countersigners {
				got = append(got, by.Verdict+" "+by.Trust)
			}
			for _, by := range s.Timestamps {
				got = append(got, by.Verdict+" "+by.Trust)
				if by.Verdict == "good" && by.Time.IsZero() {
					t.Error("no time")
				}
			}
			if len(got) == 0 || got[0] != c.verdict || found(rep) != c.found {
				t.Errorf("%q with %s, want %s with %s\n%v", got, found(rep), c.verdict, c.found, rep.Findings)
			}
		})
	}
}

// TestExpiredButStamped checks that a trusted time stamp proves that the
// signature was created before its certificate expired. The signer's claimed
// time does not.
func TestExpiredButStamped(t *testing.T) {
	root := issue(t, nil, "Root", nil)
	ann := issue(t, root, "ann@example.org", func(c *x509.Certificate) { c.NotAfter = now.AddDate(0, -1, 0) })
	forStamps := func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageTimeStamping} }
	tsa := issue(t, root, "TSA", forStamps)
	unknown := issue(t, issue(t, nil, "Other", nil), "Other TSA", forStamps)
	expired := issue(t, root, "Old TSA", func(c *x509.Certificate) { forStamps(c); c.NotAfter = now.AddDate(0, 0, -1) })
	valid, late := now.AddDate(0, -2, 0), now.AddDate(0, 0, -3)
	for _, c := range []struct {
		name string
		by   *person
		at   time.Time
		want string
	}{
		{"no time stamp", nil, valid, "unknown signed-data(unknown expired) !expired"},
		{"in time", tsa, valid, "good signed-data(good trusted)"},
		{"too late", tsa, late, "unknown signed-data(unknown expired) !expired"},
		{"by an unknown authority", unknown, valid, "unknown signed-data(unknown expired) !expired"},
		{"by an authority that has expired", expired, valid, "unknown signed-data(unknown expired) !expired"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var attrs func([]byte) [][]byte
			if c.by != nil {
				attrs = func(sig []byte) [][]byte { return [][]byte{c.by.Stamp(t, sig, c.at)} }
			}
			rep := check(t, &Checker{Trust: pool(root), At: now}, clear(outer, text, ann.SignWith(t, []byte(text), true, valid, attrs)))
			if got := judged(rep); got != c.want {
				t.Errorf("got  %s\nwant %s\n%v", got, c.want, rep.Findings)
			}
		})
	}
}

// TestSupportingShown checks that the printed report and JSON contain both.
func TestSupportingShown(t *testing.T) {
	root := issue(t, nil, "Root", nil)
	ann := issue(t, root, "ann@example.org", nil)
	notary := issue(t, root, "notary@example.com", nil)
	tsa := issue(t, root, "TSA", func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageTimeStamping} })
	sig := ann.SignWith(t, []byte(text), true, now, func(sig []byte) [][]byte {
		return [][]byte{tsa.Stamp(t, sig, now), notary.Countersign(t, sig)}
	}, notary)
	rep := check(t, &Checker{Trust: pool(root), At: now}, clear(outer, text, sig))
	shown := printed(rep)
	for _, want := range []string{"counter   CN=notary@example.com: good", "stamped   2026-05-01 12:00 UTC by CN=TSA: good",
		"countersigned by CN=notary@example.com", "signed before 2026-05-01 12:00 UTC, according to the time stamp of CN=TSA"} {
		if !strings.Contains(shown, want) {
			t.Errorf("%q is missing in\n%s", want, shown)
		}
	}
	if !rep.Fine() {
		t.Errorf("not fine: %v", rep.Findings)
	}
	var back struct {
		Layers []struct {
			Signers []struct {
				Countersigners []struct{ Verdict, Subject, Trust string }
				Timestamps     []struct{ Time, Verdict, Subject, Trust string }
			}
		}
	}
	b, err := json.Marshal(rep)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &back); err != nil {
		t.Fatal(err)
	}
	s := back.Layers[0].Signers[0]
	if len(s.Countersigners) != 1 || s.Countersigners[0].Trust != "trusted" || len(s.Timestamps) != 1 || s.Timestamps[0].Subject != "CN=TSA" ||
		s.Timestamps[0].Verdict != "good" || !strings.HasPrefix(s.Timestamps[0].Time, "2026-05-01T12:00:00") {
		t.Errorf("%s", b)
	}
}

// TestManySupporting checks that the number of signatures verified for one
// message is limited.
func TestManySupporting(t *testing.T) {
	root := issue(t, nil, "Root", nil)
	ann := issue(t, root, "ann@example.org", nil)
	sig := ann.SignWith(t, []byte(text), true, now, func(sig []byte) [][]byte {
		var list [][]byte
		for range 60 {
			list = append(list, ann.Countersign(t, sig))
		}
		return list
	})
	rep := check(t, &Checker{Trust: pool(root), At: now}, clear(outer, text, sig))
	if n := len(rep.Layers[0].Signers[0].Countersigners); n != 16 || rep.Verdict != "good" {
		t.Errorf("%d countersigners, %s", n, rep.Verdict)
	}
}

// TestSupportingAnyRoot checks that AnyRoot verifies the signatures without
// judging certificates.
func TestSupportingAnyRoot(t *testing.T) {
	ann := issue(t, issue(t, nil, "Root", nil), "ann@example.org", nil)
	sig := ann.SignWith(t, []byte(text), true, now, func(sig []byte) [][]byte { return [][]byte{ann.Countersign(t, sig), ann.Stamp(t, sig, now)} })
	rep := check(t, &Checker{AnyRoot: true, At: now}, clear(outer, text, sig))
	s := rep.Layers[0].Signers[0]
	if s.Countersigners[0].Verdict != "good" || s.Countersigners[0].Trust != TrustUnchecked || s.Timestamps[0].Verdict != "good" {
		t.Errorf("%+v, %+v", s.Countersigners[0], s.Timestamps[0].Signer)
	}
}
