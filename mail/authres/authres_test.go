package authres

import (
	"reflect"
	"strings"
	"testing"

	"hoplite/mail"
)

func prop(t, n, v string) mail.AuthProp { return mail.AuthProp{Type: t, Name: n, Value: v} }

// The cases are the examples of RFC 8601, appendix B, and fields written by
// real servers.
func TestParse(t *testing.T) {
	for _, c := range []struct {
		name, in string
		want     Header
	}{
		{"B.2 none", "example.org 1; none", Header{ID: "example.org"}},
		{"B.3", "example.com;\r\n          spf=pass smtp.mailfrom=example.net", Header{"example.com", []mail.AuthResult{
			{Method: "spf", Value: "pass", Props: []mail.AuthProp{prop("smtp", "mailfrom", "example.net")}}}}},
		{"B.4", "example.com; auth=pass (cram-md5) smtp.auth=sender@example.net;\r\n spf=pass smtp.mailfrom=example.net", Header{"example.com", []mail.AuthResult{
			{Method: "auth", Value: "pass", Comment: "cram-md5", Props: []mail.AuthProp{prop("smtp", "auth", "sender@example.net")}},
			{Method: "spf", Value: "pass", Props: []mail.AuthProp{prop("smtp", "mailfrom", "example.net")}}}}},
		{"B.6", "example.com;\r\n dkim=pass reason=\"good signature\"\r\n header.i=@mail-router.example.net;\r\n dkim=fail reason=\"bad signature\"\r\n header.i=@newyork.example.com",
			Header{"example.com", []mail.AuthResult{
				{Method: "dkim", Value: "pass", Reason: "good signature", Props: []mail.AuthProp{prop("header", "i", "@mail-router.example.net")}},
				{Method: "dkim", Value: "fail", Reason: "bad signature", Props: []mail.AuthProp{prop("header", "i", "@newyork.example.com")}}}}},
		{"B.7 comments everywhere", "foo.example.net (foobar) 1 (baz);\r\n    dkim (Because I like it) / 1 (One yay) = (wait for it) fail\r\n      policy (A dot can go here) . (like that) expired\r\n      (this surprised me) = (as I wasn't expecting it) 1362471462",
			Header{"foo.example.net", []mail.AuthResult{{Method: "dkim", Value: "fail", Props: []mail.AuthProp{prop("policy", "expired", "1362471462")}}}}},
		{"base64 without quotes", "mx.example; dkim=pass header.d=a.example header.s=s1 header.b=ab+/c=; dmarc=pass (p=NONE; sp=none) header.from=a.example",
			Header{"mx.example", []mail.AuthResult{
				{Method: "dkim", Value: "pass", Props: []mail.AuthProp{prop("header", "d", "a.example"), prop("header", "s", "s1"), prop("header", "b", "ab+/c=")}},
				{Method: "dmarc", Value: "pass", Comment: "p=NONE; sp=none", Props: []mail.AuthProp{prop("header", "from", "a.example")}}}}},
		{"semicolon in quotes", `x; spf=fail reason="no; \"really\"" smtp.mailfrom="a;b"@c.example`,
			Header{"x", []mail.AuthResult{{Method: "spf", Value: "fail", Reason: `no; "really"`, Props: []mail.AuthProp{prop("smtp", "mailfrom", `"a;b"@c.example`)}}}}},
		{"other version", "x; dkim/2=pass;", Header{"x", []mail.AuthResult{{Method: "dkim/2", Value: "pass"}}}},
		{"capitals", "x; SPF=Pass SMTP.MailFrom=A@B", Header{"x", []mail.AuthResult{{Method: "spf", Value: "pass", Props: []mail.AuthProp{prop("smtp", "mailfrom", "A@B")}}}}},
		{"leading comment", "(c) x; none", Header{ID: "x"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := Parse([]byte(c.in))
			if err != nil || !reflect.DeepEqual(got, c.want) {
				t.Errorf("%v\ngot  %+v\nwant %+v", err, got, c.want)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	for _, in := range []string{
		"", ";", "; spf=pass", "x y; none", "x; spf", "x; spf=", "x; =pass", "x; spf=pass smtp", "x; spf=pass smtp.mailfrom", "x; spf=pass .a=b",
		`x; spf=pass reason="open`, "x; spf=pass foo", "x spf=pass", "x; a=b c", strings.Repeat("x", maxValue+1), "x" + strings.Repeat("; a=b", 200),
		"x; a=b" + strings.Repeat(" c.d=e", 100),
		`"a"@"\`, `x; spf=pass smtp.mailfrom="a"@"\`, `"\`, `x; spf=pass reason="\`, `(\`,
	} {
		if h, err := Parse([]byte(in)); err == nil {
			t.Errorf("%.60q was accepted as %+v", in, h)
		}
	}
}

func TestField(t *testing.T) {
	got := string(Field("mail.example.org", []mail.AuthResult{
		{Method: "spf", Value: "pass", Reason: "192.0.2.1 is allowed", Props: []mail.AuthProp{prop("smtp", "mailfrom", "ann@example.com"), prop("smtp", "helo", "")}},
		{Method: "dkim", Value: "fail", Comment: "a (b", Props: []mail.AuthProp{prop("header", "b", "a/b+"), prop("header", "d", "example.com"), prop("header", "i", "@example.com"), prop("header", "a", "rsa-sha256")}},
		{Method: "bad method", Value: "x"},
		{Method: "auth", Value: "pass", Props: []mail.AuthProp{prop("smtp", "auth", "a\r\nX-Evil: 1"), prop("smtp", "mailfrom", `"a b"@example.com`)}},
	}))
	want := "Authentication-Results: mail.example.org;\r\n" +
		"\tspf=pass reason=\"192.0.2.1 is allowed\" smtp.mailfrom=ann@example.com;\r\n" +
		"\tdkim=fail (a \\(b) header.b=\"a/b+\" header.d=example.com\r\n\t  header.i=@example.com header.a=rsa-sha256;\r\n" +
		"\tauth=pass smtp.auth=\"a  X-Evil: 1\" smtp.mailfrom=\"a b\"@example.com\r\n"
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := string(Field("x", nil)); got != "Authentication-Results: x; none\r\n" {
		t.Errorf("nothing: %q", got)
	}
	if got := string(ARCField("2", "x", nil)); got != "ARC-Authentication-Results: i=2; x; none" {
		t.Errorf("ARC: %q", got)
	}
}

func TestOurs(t *testing.T) {
	for _, c := range []struct {
		field string
		ours  bool
	}{
		{"Authentication-Results: MAIL.example.org; spf=pass", true},
		{"authentication-results: (x) mail.example.org 1; none", true},
		{"Authentication-Results: mail.example.org; rubbish rubbish", true},
		{"Authentication-Results:\r\n mail.example.org\r\n ; none", true},
		{"Authentication-Results : mail.example.org; none", true},
		{"Authentication-Results: mail.example.org/1; dmarc=pass", true},
		{"Authentication-Results: mail.example.org", true},
		{"Authentication-Results: mail.example.org.; dmarc=pass", true},
		{"Authentication-Results: \"mail.example.org\"; dmarc=pass", true},
		{"Authentication-Results: \"mail.example.org; dmarc=pass", true},
		{"Authentication-Results: \"mail.exam\\ple.org\"; dmarc=pass", true},
		{"Authentication-Results: mail . example .org; dmarc=pass", true},
		{"Authentication-Results: mail.(a (b) c)example.org; dmarc=pass", true},
		{"Authentication-Results: mail.(a \\) b)example.org; dmarc=pass", true},
		{"Authentication-Results: mail.example.org (open; dmarc=pass", true},
		{"Authentication-Results: (open mail.example.org; dmarc=pass", true},
		{"Authentication-Results: =?utf-8?q?mail=2Eexample.org?=; dmarc=pass", true},
		{"Authentication-Results: =?utf-8?b?bWFpbC5leGFtcGxlLm9yZw==?=; dmarc=pass", true},
		{"Authentication-Results: (a;b) mail.example.org; dmarc=pass", true},
		{"Authentication-Results: (;) =?utf-8?q?mail=2Eexample.org?=; dmarc=pass", true},
		{"Authentication-Results: mail.example.org\u00a0; dmarc=pass", true},
		{"Authentication-Results: \ufeffmail.example.org; dmarc=pass", true},
		{"Authentication-Results: mail\u3002example\uff0eorg; dmarc=pass", true},
		{"Authentication-Results: xn--bcher-kva.example; dmarc=pass", true},
		{"Authentication-Results: b\u00fccher.example; dmarc=pass", true},
		{"Authentication-Results: other.example; spf=pass", false},
		{"Authentication-Results: other.example; spf=pass (mail.example.org)", false},
		{"Authentication-Results: mail.example.org.evil.example; none", false},
		{"Authentication-Results: xmail.example.org; none", false},
		{"Authentication-Results: example.org; none", false},
		{"X-Authentication-Results: mail.example.org; none", false},
		{"Subject: mail.example.org;", false},
	} {
		head := []byte("Subject: x\r\n" + c.field + "\r\nTo: x\r\n\r\n")
		spans := Ours(head, func() []string { return []string{"mail.example.org", "b\u00fccher.example"} }, false)
		if (len(spans) == 1) != c.ours {
			t.Errorf("%s: %v", c.field, spans)
		}
		for _, s := range spans {
			if got := string(head[s.Start:s.End]); got != c.field+"\r\n" {
				t.Errorf("%q was cut out of %q", got, c.field)
			}
		}
	}
}

// Readers that accept a field without an authserv-id attribute it to their own
// server.
func TestUnnamed(t *testing.T) {
	for _, c := range []struct {
		value   string
		unnamed bool
	}{
		{"spf=pass (sender IP is 192.0.2.1) smtp.mailfrom=bank.example; dmarc=pass action=none", true},
		{"dkim = pass header.d=bank.example", true},
		{"dkim/1=pass header.d=bank.example", true},
		{"dkim (c) / (d) 1 = pass", true},
		{"; dmarc=pass", true},
		{"", true},
		{" \t", true},
		{"(mx.example.com); dmarc=pass", true},
		{"(mx.example.com; dmarc=pass", true},
		{`""; dmarc=pass`, true},
		{"=pass; dmarc=pass", true},
		{"/1=pass", true},
		{"\r\n\tspf=pass;\r\n\tdmarc=pass", true},
		{"mx.example.com; dmarc=pass", false},
		{"mx.example.com 1; dmarc=pass", false},
		{"mx.example.com/1; dmarc=pass", false},
		{"(c) mx.example.com; dmarc=pass", false},
		{"mta.example.com from=bank.example; domainkeys=neutral", false},
		{"mx.example.com spf=pass", false},
		{`"mx.example.com"; none`, false},
		{"192.0.2.1; none", false},
	} {
		head := []byte("Authentication-Results: " + c.value + "\r\nTo: x\r\n\r\n")
		names := func() []string { return []string{"mail.example.org"} }
		if got := len(Ours(head, names, true)) == 1; got != c.unnamed {
			t.Errorf("%q: removed %v", c.value, got)
		}
		if len(Ours(head, names, false)) > 0 {
			t.Errorf("%q: removed although unnamed fields are permitted", c.value)
		}
	}
}

func FuzzAuthres(f *testing.F) {
	f.Add("example.com; spf=pass (c) reason=\"x\" smtp.mailfrom=a@b; dkim/1=fail header.b=a/b")
	f.Add("a; b=c d.e=\"f\\\"\"@g")
	f.Add(`"a"@"\`)
	f.Fuzz(func(t *testing.T, in string) {
		Ours([]byte("Authentication-Results: "+in+"\r\n"), func() []string { return []string{"example.com"} }, in != "")
		h, err := Parse([]byte(in))
		if err != nil || h.ID == "" {
			return
		}
		out := Field(h.ID, h.Results)
		for line := range strings.SplitSeq(strings.TrimSuffix(string(out), "\r\n"), "\r\n") {
			if strings.ContainsAny(line, "\r\n\x00") {
				t.Fatalf("a line breaks out: %q", out)
			}
		}
		value := out[len("Authentication-Results:"):]
		again, err := Parse(value)
		if err != nil || len(again.Results) != len(h.Results) {
			t.Fatalf("%v: %q became %q", err, in, out)
		}
		for i, r := range h.Results {
			if a := again.Results[i]; a.Method != r.Method && !strings.Contains(r.Method, "/") || a.Value != r.Value {
				t.Fatalf("%q became %q", in, out)
			}
		}
	})
}
