package dkim

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
	"time"

	msgauth "github.com/emersion/go-msgauth/dkim"

	"hoplite/mail"
	"hoplite/mail/dkim/dkimtest"
)

const testMail = "From: Ann <ann@example.org>\r\n" +
	"To: bob@example.com\r\n" +
	"Subject:  A   subject\r\n\tthat is folded \r\n" +
	"Date: Mon, 23 Nov 2026 04:00:00 +0000\r\n" +
	"Message-ID: <1@example.org>\r\n" +
	"\r\n" +
	"Hello  Bob,\t \r\n\r\n  indented\r\ntrailing \r\n\r\n\r\n"

// The keys are generated only once, because generating RSA keys is slow.
var (
	rsaKey, _ = rsa.GenerateKey(rand.Reader, 2048)
	edKey     = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, 32))
)

// records is a zone of key records.
type records map[string]string

func (r records) lookup(_ context.Context, name string) ([]string, error) {
	if txt, ok := r[name]; ok {
		if txt == "dead" {
			return nil, errors.New("server says no")
		}
		return strings.Split(txt, "\n"), nil
	}
	return nil, nil
}

var record = dkimtest.Record

func keyRecords() records {
	return records{
		"rsa._domainkey.example.org": record(rsaKey.Public()),
		"ed._domainkey.example.org":  record(edKey.Public()),
	}
}

func message(t testing.TB, text string) *mail.Message {
	t.Helper()
	m, err := mail.NewMessage(mail.Bytes(text))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func verify(t testing.TB, text string, r records) []Result {
	t.Helper()
	res, _, err := Verify(context.Background(), message(t, text), r.lookup)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func sign(t testing.TB, text string, s Signer) string {
	t.Helper()
	field, err := Sign(message(t, text), s)
	if err != nil {
		t.Fatal(err)
	}
	return string(field) + text
}

func msgauthSign(t testing.TB, text string, opt msgauth.SignOptions) string {
	t.Helper()
	var out bytes.Buffer
	if err := msgauth.Sign(&out, strings.NewReader(text), &opt); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestSignedByMsgauth(t *testing.T) {
	for _, hc := range []msgauth.Canonicalization{"simple", "relaxed"} {
		for _, bc := range []msgauth.Canonicalization{"simple", "relaxed"} {
			for sel, key := range map[string]crypto.Signer{"rsa": rsaKey, "ed": edKey} {
				text := msgauthSign(t, testMail, msgauth.SignOptions{
					Domain: "example.org", Selector: sel, Signer: key, HeaderCanonicalization: hc, BodyCanonicalization: bc,
				})
				if r := verify(t, text, keyRecords()); len(r) != 1 || r[0].Value != "pass" {
					t.Errorf("%s %s/%s: %+v", sel, hc, bc, r)
				}
			}
		}
	}
}

func TestSignedByUs(t *testing.T) {
	for sel, key := range map[string]crypto.Signer{"rsa": rsaKey, "ed": edKey} {
		for name, text := range map[string]string{
			"plain": testMail, "no body": testMail[:strings.Index(testMail, "\r\n\r\n")+4],
			"no end": strings.TrimSpace(testMail), "two recipients": "Cc: x@example.org\r\nCc: y@example.org\r\n" + testMail,
		} {
			signed := sign(t, text, Signer{Domain: "example.org", Selector: sel, Key: key, Expire: time.Hour})
			if r := verify(t, signed, keyRecords()); r[0].Value != "pass" {
				t.Errorf("%s, %s, by us: %s %s\n%s", sel, name, r[0].Value, r[0].Reason, signed)
			}
			vs, err := msgauth.VerifyWithOptions(strings.NewReader(signed), &msgauth.VerifyOptions{
				LookupTXT: func(n string) ([]string, error) { return keyRecords().lookup(context.Background(), n) },
			})
			if err != nil || vs[0].Err != nil {
				t.Errorf("%s, %s, by go-msgauth: %v %v", sel, name, err, vs[0].Err)
			}
			for line := range strings.SplitSeq(signed[:strings.Index(signed, "From:")], "\r\n") {
				if len(line) > 998 {
					t.Errorf("a line of %d octets: %s", len(line), line)
				}
			}
		}
	}
}

// Some changes in transit are harmless; a verifier must detect the others.
func TestTampering(t *testing.T) {
	signed := sign(t, testMail, Signer{Domain: "example.org", Selector: "ed", Key: edKey})
	for _, c := range []struct{ name, old, new, want string }{
		{"nothing", "x", "x", "pass"},
		{"spaces in the body", "Hello  Bob,\t \r\n", "Hello Bob,\r\n", "pass"},
		{"empty lines at the end", "trailing \r\n\r\n\r\n", "trailing\r\n", "pass"},
		{"folding of a header", "Subject:  A   subject\r\n\tthat", "subject: A subject that", "pass"},
		{"a word of the body", "Hello", "Hullo", "fail"},
		{"more body", "trailing \r\n", "trailing\r\nmore\r\n", "fail"},
		{"the subject", "A   subject", "Another", "fail"},
		{"a second From on top", "From: Ann", "From: eve@example.com\r\nFrom: Ann", "fail"},
		{"a second Subject below", "Date: Mon", "Subject: x\r\nDate: Mon", "fail"},
		{"a Reply-To", "Date: Mon", "Reply-To: x@example.com\r\nDate: Mon", "fail"},
		{"an unsigned field", "Date: Mon", "X-Spam: no\r\nDate: Mon", "pass"},
		{"no From signed", "h=From:From:", "h=", "permerror"},
		{"another domain", "d=example.org", "d=example.com", "permerror"},
		{"no domain", "d=example.org;", "", "neutral"},
		{"no algorithm", "a=ed25519-sha256;", "", "neutral"},
		{"sha1", "a=ed25519-sha256;", "a=rsa-sha1;", "policy"},
		{"algorithm of another key", "a=ed25519-sha256;", "a=rsa-sha256;", "permerror"},
		{"unknown canonicalisation", "c=relaxed/relaxed", "c=relaxed/odd", "neutral"},
		{"tag twice", "v=1;", "v=1; v=1;", "neutral"},
		{"no name for a tag", "v=1;", "v=1; 1x=y;", "neutral"},
		{"version", "v=1;", "v=2;", "neutral"},
		{"expired", "v=1;", "v=1; x=1000000000;", "fail"},
		{"from the future", "t=", "t=9", "fail"},
		{"identity elsewhere", "v=1;", "v=1; i=@example.com;", "permerror"},
		{"identity at a look-alike", "v=1;", "v=1; i=@notexample.org;", "permerror"},
		{"not base64", "bh=", "bh=!", "neutral"},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := strings.Replace(signed, c.old, c.new, 1)
			if r := verify(t, text, keyRecords()); r[0].Value != c.want {
				t.Errorf("%s (%s), want %s", r[0].Value, r[0].Reason, c.want)
			}
		})
	}
}

func TestKeys(t *testing.T) {
	good := record(edKey.Public())
	weak := "v=DKIM1; p=MEgCQQDBxlk2KNCX3zb3b9y6Wtdo+GGbVIJlQ4+MLRsWx/EfQFJOmTFFkIpNyGLDH3IhVqWkPDkPAmlKGfTVcCqWwF0rAgMBAAE=" // 512 bits
	for _, c := range []struct{ name, record, want, reason string }{
		{"good", good, "pass", ""},
		{"spaces in p=", strings.Replace(good, "p=", "p= ", 1), "pass", ""},
		{"spaces around =", strings.ReplaceAll(good, "=", " = "), "pass", ""},
		{"beside another text", "hello\n" + good, "pass", ""},
		{"for mail", good + "; s=email; h=sha256; n=note", "pass", ""},
		{"missing", "", "permerror", "no key"},
		{"two keys", good + "\n" + good, "permerror", "more than one"},
		{"revoked", "v=DKIM1; k=ed25519; p=", "permerror", "revoked"},
		{"dns down", "dead", "temperror", "server says no"},
		{"testing", good + "; t=y", "neutral", "is testing"},
		{"not for mail", good + "; s=other", "permerror", "not for mail"},
		{"other hash", good + "; h=sha1", "permerror", "not for sha256"},
		{"other version", strings.Replace(good, "DKIM1", "DKIM2", 1), "permerror", "version"},
		{"unknown kind", strings.Replace(good, "ed25519", "ed448", 1), "permerror", "unknown"},
		{"short", "v=DKIM1; k=ed25519; p=AAAA", "permerror", "octets"},
		{"rubbish", "p=" + strings.Repeat("A", 100), "permerror", "not an RSA key"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := verify(t, sign(t, testMail, Signer{Domain: "example.org", Selector: "s", Key: edKey}), records{"s._domainkey.example.org": c.record})
			if r[0].Value != c.want || !strings.Contains(r[0].Reason, c.reason) {
				t.Errorf("%s (%s), want %s", r[0].Value, r[0].Reason, c.want)
			}
		})
	}
	if k, err := ParseKey(weak); err == nil && k.Bits == 512 {
		s := sign(t, testMail, Signer{Domain: "example.org", Selector: "s", Key: rsaKey})
		if r := verify(t, s, records{"s._domainkey.example.org": weak}); r[0].Value != "policy" {
			t.Errorf("512 bits: %s (%s)", r[0].Value, r[0].Reason)
		}
	} else {
		t.Errorf("the weak key: %v", err)
	}
}

func TestStrictKeyAndIdentity(t *testing.T) {
	text := msgauthSign(t, testMail, msgauth.SignOptions{Domain: "example.org", Selector: "s", Identifier: "ann@sub.example.org", Signer: edKey})
	good := record(edKey.Public())
	if r := verify(t, text, records{"s._domainkey.example.org": good}); r[0].Value != "pass" {
		t.Errorf("sub-domain: %s (%s)", r[0].Value, r[0].Reason)
	}
	if r := verify(t, text, records{"s._domainkey.example.org": good + "; t=s"}); r[0].Value != "permerror" {
		t.Errorf("sub-domain of a strict key: %s (%s)", r[0].Value, r[0].Reason)
	}
}

// l= allows others to extend the body; it is harmless if the body was not
// extended.
func TestBodyLength(t *testing.T) {
	body := testMail[strings.Index(testMail, "\r\n\r\n")+4:]
	m := message(t, testMail)
	sums, err := hashBody(strings.NewReader(body), []bodyKey{{Relaxed, -1}})
	if err != nil {
		t.Fatal(err)
	}
	all := sums[bodyKey{Relaxed, -1}]
	field := fmt.Appendf(nil, "DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed; d=example.org; s=ed; l=%d;\r\n\th=From; bh=%s; b=\r\n",
		all.total, base64.StdEncoding.EncodeToString(all.sum))
	sig := ed25519.Sign(edKey, NewHeader(m.Head).Sum([]string{"From"}, Relaxed, field))
	field = append(bytes.TrimSuffix(field, crlf), base64.StdEncoding.EncodeToString(sig)+"\r\n"...)
	if r := verify(t, string(field)+testMail, keyRecords()); r[0].Value != "pass" {
		t.Errorf("all of the body: %s (%s)", r[0].Value, r[0].Reason)
	}
	if r := verify(t, string(field)+testMail+"added\r\n", keyRecords()); r[0].Value != "policy" {
		t.Errorf("with something added: %s (%s)", r[0].Value, r[0].Reason)
	}
}

func TestManySignatures(t *testing.T) {
	one := sign(t, testMail, Signer{Domain: "example.org", Selector: "ed", Key: edKey})
	field := one[:len(one)-len(testMail)]
	asked := 0
	r, n, err := Verify(context.Background(), message(t, strings.Repeat(field, 200)+testMail), func(ctx context.Context, name string) ([]string, error) {
		return keyRecords().lookup(ctx, name)
	})
	if err != nil || n != 200 || len(r) != MaxSignatures {
		t.Errorf("%d of %d, %v, %d", len(r), n, err, asked)
	}
}

func TestAuthResult(t *testing.T) {
	r := verify(t, sign(t, testMail, Signer{Domain: "example.org", Selector: "rsa", Key: rsaKey}), keyRecords())
	a := r[0].AuthResult()
	if a.Value != "pass" || a.Comment != "2048-bit key" || a.Prop("header", "d") != "example.org" || a.Prop("header", "i") != "@example.org" ||
		a.Prop("header", "s") != "rsa" || a.Prop("header", "a") != "rsa-sha256" || len(a.Prop("header", "b")) != 12 {
		t.Errorf("%+v", a)
	}
}

// The hash of a body does not depend on how it is split into pieces.
func TestBodyInPieces(t *testing.T) {
	bodies := []string{"", "\r\n", "\r\n\r\n", "a", "a\r\n", " \r\n", "a \r\n\r\n \r\n", "\r\n\r\na\tb  c\r\n", "a\rb\r\n", "a\r", "x" + strings.Repeat(" y", 10000), strings.Repeat("\r\n", 5000) + "z", "a\nb\n"}
	ways := []bodyKey{{Simple, -1}, {Relaxed, -1}, {Relaxed, 3}}
	for _, b := range bodies {
		want, err := hashBody(strings.NewReader(b), ways)
		if err != nil {
			t.Fatal(err)
		}
		got, err := hashBody(iotestOne{strings.NewReader(b)}, ways)
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range ways {
			if !bytes.Equal(want[w].sum, got[w].sum) || want[w].total != got[w].total {
				t.Errorf("%.20q %v: octet by octet it is another", b, w)
			}
		}
	}
}

type iotestOne struct{ r *strings.Reader }

func (o iotestOne) Read(p []byte) (int, error) { return o.r.Read(p[:1]) }

// FuzzAgainstMsgauth signs with go-msgauth and verifies with this package.
func FuzzAgainstMsgauth(f *testing.F) {
	f.Add("Subject: x\r\n y\r\n", "body \r\n\r\n", false, false)
	f.Add("A:b\r\nA : c \r\n", " \t x\r\n", true, true)
	f.Fuzz(func(t *testing.T, head, body string, hr, br bool) {
		clean := func(s string) string { // as stored in the spool
			s = strings.NewReplacer("\r", "", "\x00", "").Replace(s)
			return strings.ReplaceAll(s, "\n", "\r\n")
		}
		var fields []string
		for f := range mail.Fields([]byte(clean(head))) {
			if f.Name != "" && strings.TrimSpace(strings.ToLower(f.Name)) != "dkim-signature" && !strings.ContainsAny(f.Name, ";=\v\f\u0085\u00a0") {
				fields = append(fields, strings.TrimRight(string(f.Raw), "\r\n")+"\r\n")
			}
		}
		text := "From: ann@example.org\r\n" + strings.Join(fields, "") + "\r\n" + clean(body)
		if len(text) > 1<<16 {
			return
		}
		opt := msgauth.SignOptions{Domain: "example.org", Selector: "ed", Signer: edKey, HeaderCanonicalization: "simple", BodyCanonicalization: "simple"}
		if hr {
			opt.HeaderCanonicalization = "relaxed"
		}
		if br {
			opt.BodyCanonicalization = "relaxed"
		}
		var out bytes.Buffer
		if err := msgauth.Sign(&out, strings.NewReader(text), &opt); err != nil {
			return
		}
		m, err := mail.NewMessage(mail.Bytes(out.Bytes()))
		if err != nil {
			return
		}
		r, _, err := Verify(context.Background(), m, keyRecords().lookup)
		if err != nil || len(r) != 1 {
			t.Fatalf("%v %+v", err, r)
		}
		if r[0].Value != "pass" && !strings.Contains(r[0].Reason, "more than") {
			t.Fatalf("%s (%s) for\n%q", r[0].Value, r[0].Reason, out.String())
		}
	})
}

func FuzzVerify(f *testing.F) {
	f.Add(sign(f, testMail, Signer{Domain: "example.org", Selector: "ed", Key: edKey}), record(edKey.Public()))
	f.Add("DKIM-Signature: v=1; a=rsa-sha256; b=; bh=; d=a.b; h=From; s=s\r\nFrom: x\r\n\r\n", "v=DKIM1; p=")
	f.Fuzz(func(t *testing.T, text, key string) {
		m, err := mail.NewMessage(mail.Bytes(text))
		if err != nil {
			return
		}
		rs, _, err := Verify(context.Background(), m, func(context.Context, string) ([]string, error) { return []string{key}, nil })
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range rs {
			if r.Value == "" {
				t.Fatal("a signature without a verdict")
			}
			r.AuthResult()
		}
	})
}

func benchMail(size int) string {
	line := strings.Repeat("0123456789 abcdefghijklmnopqrstuvwxyz ", 2) + "\r\n"
	return testMail + strings.Repeat(line, size/len(line))
}

func BenchmarkVerify(b *testing.B) {
	for _, size := range []int{10 << 10, 1 << 20} {
		text := sign(b, benchMail(size), Signer{Domain: "example.org", Selector: "rsa", Key: rsaKey})
		b.Run(fmt.Sprintf("ours/%d", size), func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				if r := verify(b, text, keyRecords()); r[0].Value != "pass" {
					b.Fatal(r[0].Reason)
				}
			}
		})
		b.Run(fmt.Sprintf("msgauth/%d", size), func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				v, err := msgauth.VerifyWithOptions(strings.NewReader(text), &msgauth.VerifyOptions{
					LookupTXT: func(n string) ([]string, error) { return keyRecords().lookup(context.Background(), n) },
				})
				if err != nil || v[0].Err != nil {
					b.Fatal(err, v[0].Err)
				}
			}
		})
	}
}

func BenchmarkSign(b *testing.B) {
	for name, key := range map[string]crypto.Signer{"rsa": rsaKey, "ed25519": edKey} {
		text := benchMail(10 << 10)
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				sign(b, text, Signer{Domain: "example.org", Selector: "s", Key: key})
			}
		})
	}
}

// lines is content that repeats a line without storing the copies.
type lines struct {
	head string
	line string
	size int64
}

func (l lines) Size() int64 { return l.size }

func (l lines) ReadAt(p []byte, off int64) (int, error) {
	for i := range p {
		at := off + int64(i)
		if at >= l.size {
			return i, io.EOF
		}
		if at < int64(len(l.head)) {
			p[i] = l.head[at]
		} else {
			p[i] = l.line[(at-int64(len(l.head)))%int64(len(l.line))]
		}
	}
	return len(p), nil
}

// Signing uses the same amount of memory for messages of any size.
func TestSignMemory(t *testing.T) {
	for _, c := range []struct {
		name, line string
		want       error
	}{
		{"text", strings.Repeat("0123456789", 7) + "\r\n", nil},
		{"one line", "0123456789", nil},
		{"empty lines", "\r\n", ErrEmptyLines},
		{"lines of spaces", " \r\n", ErrEmptyLines},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, err := mail.NewMessage(lines{head: "From: ann@example.org\r\n\r\n", line: c.line, size: 20 << 20})
			if err != nil {
				t.Fatal(err)
			}
			var most, before runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			watch := &peak{base: m.Base, most: &most}
			m.Base = watch
			_, err = Sign(m, Signer{Domain: "example.org", Selector: "ed", Key: edKey}, Signer{Domain: "example.org", Selector: "ed", Key: edKey})
			if !errors.Is(err, c.want) {
				t.Fatal(err)
			}
			if grown := int64(most.HeapAlloc) - int64(before.HeapAlloc); grown > 8<<20 {
				t.Errorf("%d MiB of memory in use", grown>>20)
			}
		})
	}
}

// peak measures the memory in use after every MiB.
type peak struct {
	base mail.Content
	most *runtime.MemStats
	next int64
}

func (p *peak) Size() int64 { return p.base.Size() }

func (p *peak) ReadAt(b []byte, off int64) (int, error) {
	if off >= p.next {
		p.next = off + 1<<20
		var now runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&now)
		if now.HeapAlloc > p.most.HeapAlloc {
			*p.most = now
		}
	}
	return p.base.ReadAt(b, off)
}

func TestSignErrors(t *testing.T) {
	m := message(t, testMail)
	for name, s := range map[string]Signer{
		"no domain":   {Selector: "s", Key: edKey},
		"no selector": {Domain: "example.org", Key: edKey},
		"no key":      {Domain: "example.org", Selector: "s"},
	} {
		if _, err := Sign(m, Signer{Domain: "example.org", Selector: "s", Key: edKey}, s); err == nil {
			t.Errorf("%s: signed", name)
		}
	}
	m.Base = failing{m.Base}
	if _, err := Sign(m, Signer{Domain: "example.org", Selector: "s", Key: edKey}); !errors.Is(err, errDisk) {
		t.Errorf("a message that cannot be read: %v", err)
	}
}

var errDisk = errors.New("disk")

type failing struct{ mail.Content }

func (failing) ReadAt([]byte, int64) (int, error) { return 0, errDisk }
