package authres

import (
	"reflect"
	"strings"
	"testing"

	"hoplite/mail"
)

// The written field can be parsed again, with the same result, whatever the
// value of a property.
func TestRoundTrip(t *testing.T) {
	for _, c := range []struct{ name, value, written string }{
		{"domain", "example.org", "example.org"},
		{"address", "ann@example.org", "ann@example.org"},
		{"domain with @", "@example.org", "@example.org"},
		{"quoted local part", `"a b"@example.org`, `"a b"@example.org`},
		{"quoted local part with @", `"a@b"@example.org`, `"a@b"@example.org`},
		{"UTF-8", "j\u00f6rg@b\u00fccher.example", "j\u00f6rg@b\u00fccher.example"},
		{"base64", "ab+/cd==", `"ab+/cd=="`},
		{"space", "two words", `"two words"`},
		{"semicolon", "a;b", `"a;b"`},
		{"quotes", `say "x"`, `"say \"x\""`},
		{"backslash", `a\b`, `"a\\b"`},
		{"comment", "a (b) c", `"a (b) c"`},
		{"address literal", "ann@[192.0.2.1]", "ann@[192.0.2.1]"},
		{"IPv6", "2001:db8::1", `"2001:db8::1"`},
		{"number", "1362471462", "1362471462"},
	} {
		in := []mail.AuthResult{{Method: "dkim", Value: "pass", Props: []mail.AuthProp{prop("header", "i", c.value)}}}
		field := string(Field("mx.example", in))
		if want := "header.i=" + c.written + "\r\n"; !strings.HasSuffix(field, want) {
			t.Errorf("%s: %q, want %q", c.name, field, want)
		}
		got, err := Parse([]byte(strings.TrimPrefix(field, "Authentication-Results:")))
		if err != nil || !reflect.DeepEqual(got.Results, in) {
			t.Errorf("%s: %+v, %v, from %q", c.name, got.Results, err, field)
		}
	}
}

// Text from remote systems cannot terminate a line, a comment or a quoted
// string.
func TestHostileText(t *testing.T) {
	for _, text := range []string{"a\r\nX-Evil: 1", "a\nb", "a\rb", "a\x00b", "a) header.d=evil.example (", `a" header.d="evil.example`, `a\`, `a\"`, `(((`, `)))`,
		"a;\r\n\tdmarc=pass", "\x1b[31mred", "\u202etxt.exe", "\xff\xfe", strings.Repeat("long ", 500), strings.Repeat(`"`, 600), "=?utf-8?q?x?="} {
		in := []mail.AuthResult{{Method: "spf", Value: "fail", Comment: text, Reason: text, Props: []mail.AuthProp{prop("smtp", "mailfrom", text), prop("smtp", "helo", "x.example")}},
			{Method: "dmarc", Value: "fail"}}
		field := string(Field("mx.example", in))
		for line := range strings.SplitSeq(strings.TrimSuffix(field, "\r\n"), "\r\n") {
			if strings.ContainsAny(line, "\r\n\x00\x1b") {
				t.Errorf("%q: the line %q", text, line)
			}
			if line != field[:len("Authentication-Results: ")] && !strings.HasPrefix(line, "\t") && !strings.HasPrefix(line, "Authentication-Results: ") {
				t.Errorf("%q begins a field: %q", text, line)
			}
		}
		got, err := Parse([]byte(strings.TrimPrefix(field, "Authentication-Results:")))
		if err != nil || len(got.Results) != 2 || got.Results[0].Prop("smtp", "helo") != "x.example" || got.Results[0].Prop("header", "d") != "" || got.Results[1].Method != "dmarc" {
			t.Errorf("%q: %+v, %v", text, got.Results, err)
		}
	}
}

// Values that the grammar cannot represent are omitted.
func TestUnwritable(t *testing.T) {
	for _, c := range []struct {
		name string
		in   mail.AuthResult
		want string
	}{
		{"no method", mail.AuthResult{Value: "pass"}, "x; none"},
		{"no result", mail.AuthResult{Method: "spf"}, "x; none"},
		{"a space in the method", mail.AuthResult{Method: "s pf", Value: "pass"}, "x; none"},
		{"a semicolon in the result", mail.AuthResult{Method: "spf", Value: "pass;x"}, "x; none"},
		{"an empty property", mail.AuthResult{Method: "spf", Value: "pass", Props: []mail.AuthProp{prop("smtp", "helo", "")}}, "x;\r\n\tspf=pass"},
		{"a property without a type", mail.AuthResult{Method: "spf", Value: "pass", Props: []mail.AuthProp{prop("", "helo", "a")}}, "x;\r\n\tspf=pass"},
		{"a property with an odd name", mail.AuthResult{Method: "spf", Value: "pass", Props: []mail.AuthProp{prop("smtp", "he=lo", "a")}}, "x;\r\n\tspf=pass"},
		{"a version", mail.AuthResult{Method: "dkim/2", Value: "pass"}, "x;\r\n\tdkim/2=pass"},
		{"an odd version", mail.AuthResult{Method: "dkim/2;x", Value: "pass"}, "x;\r\n\tdkim/2=pass"},
		{"underscores", mail.AuthResult{Method: "x_y", Value: "z_1"}, "x;\r\n\tx_y=z_1"},
	} {
		if got := string(Field("x", []mail.AuthResult{c.in})); got != "Authentication-Results: "+c.want+"\r\n" {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
	if got := string(Field("odd name", nil)); got != "Authentication-Results: \"odd name\"; none\r\n" {
		t.Errorf("an id that is not a token: %q", got)
	}
}

// Lines are folded between words before column 78; a longer word is on a
// separate line.
func TestFolding(t *testing.T) {
	long := strings.Repeat("a", 90) + ".example"
	field := string(Field("mail.example.org", []mail.AuthResult{{Method: "dkim", Value: "pass", Comment: "2048-bit key",
		Props: []mail.AuthProp{prop("header", "d", "example.org"), prop("header", "i", "@example.org"), prop("header", "s", "selector2026"), prop("header", "d", long), prop("header", "a", "rsa-sha256")}}}))
	lines := strings.Split(strings.TrimSuffix(field, "\r\n"), "\r\n")
	for _, line := range lines {
		if width := len(strings.ReplaceAll(line, "\t", "        ")); width > lineLength && !strings.Contains(line, long) {
			t.Errorf("%d columns: %q", width, line)
		}
	}
	if len(lines) != 5 || !strings.Contains(lines[3], long) || strings.TrimSpace(lines[4]) != "header.a=rsa-sha256" {
		t.Errorf("%d lines:\n%s", len(lines), field)
	}
}

// Fields written by large providers and common filters.
func TestFieldsOfOthers(t *testing.T) {
	for _, c := range []struct {
		name, in, id string
		want         []string // method=result and one property
	}{
		{"Gmail", "mx.google.com;\r\n       dkim=pass header.i=@example.com header.s=s1 header.b=AbCd12+/;\r\n" +
			"       arc=pass (i=1 spf=pass spfdomain=example.com dkim=pass dkdomain=example.com dmarc=pass fromdomain=example.com);\r\n" +
			"       spf=pass (google.com: domain of ann@example.com designates 192.0.2.1 as permitted sender) smtp.mailfrom=ann@example.com;\r\n" +
			"       dmarc=pass (p=REJECT sp=REJECT dis=NONE) header.from=example.com", "mx.google.com",
			[]string{"dkim=pass header.b=AbCd12+/", "arc=pass", "spf=pass smtp.mailfrom=ann@example.com", "dmarc=pass header.from=example.com"}},
		{"Microsoft 365, which omits its name", "spf=pass (sender IP is 192.0.2.1)\r\n smtp.mailfrom=example.com; dkim=pass (signature was verified)\r\n" +
			" header.d=example.com;dmarc=pass action=none\r\n header.from=example.com;compauth=pass reason=100", "",
			[]string{"spf=pass smtp.mailfrom=example.com", "dkim=pass header.d=example.com", "dmarc=pass header.from=example.com", "compauth=pass"}},
		{"Yahoo", "atlas-production.v2-mail-prod1-gq1.omega.yahoo.com;\r\n dkim=pass header.i=@example.com header.s=s1;\r\n spf=pass smtp.mailfrom=example.com;\r\n dmarc=pass(p=REJECT) header.from=example.com;",
			"atlas-production.v2-mail-prod1-gq1.omega.yahoo.com", []string{"dkim=pass header.s=s1", "spf=pass smtp.mailfrom=example.com", "dmarc=pass header.from=example.com"}},
		{"rspamd", "mx.example;\r\n\tdkim=pass header.d=example.com header.s=s1 header.b=\"Ab/Cd+==\";\r\n\tspf=pass (mx.example: domain of ann@example.com designates 192.0.2.1 as permitted sender) smtp.mailfrom=ann@example.com;\r\n\tdmarc=pass (policy=reject) header.from=example.com",
			"mx.example", []string{"dkim=pass header.b=Ab/Cd+==", "spf=pass", "dmarc=pass header.from=example.com"}},
		{"OpenDKIM", "mx.example;\r\n\tdkim=pass (2048-bit key; unprotected) header.d=example.com header.i=@example.com header.a=rsa-sha256 header.s=s1 header.b=AbCdEfGh;\r\n\tdkim-atps=neutral",
			"mx.example", []string{"dkim=pass header.a=rsa-sha256", "dkim-atps=neutral"}},
		{"OpenDMARC", "mx.example; dmarc=fail (p=none dis=none) header.from=example.com", "mx.example", []string{"dmarc=fail header.from=example.com"}},
		{"policyd-spf", "mx.example; spf=Pass (mailfrom) smtp.mailfrom=example.com (client-ip=192.0.2.1; helo=mail.example.com; envelope-from=ann@example.com; receiver=bob@example.org)",
			"mx.example", []string{"spf=pass smtp.mailfrom=example.com"}},
		{"amavis", "mx.example (amavis); dkim=pass (2048-bit key)\r\n reason=\"pass (just generated, assumed good)\" header.d=example.com", "mx.example", []string{"dkim=pass header.d=example.com"}},
		{"Fastmail", "mx1.messagingengine.com;\r\n    x-csa=none;\r\n    x-me-sender=none;\r\n    dkim=pass (2048-bit rsa key sha256) header.d=example.com header.i=@example.com\r\n      header.b=AbCd header.a=rsa-sha256 header.s=s1 x-bits=2048;\r\n    spf=pass smtp.mailfrom=ann@example.com smtp.helo=mail.example.com",
			"mx1.messagingengine.com", []string{"x-csa=none", "x-me-sender=none", "dkim=pass header.a=rsa-sha256", "spf=pass smtp.helo=mail.example.com"}},
		{"iprev", "mx.example; iprev=pass policy.iprev=192.0.2.1 (mail.example.com); auth=pass (plain) smtp.auth=ann@example.org", "mx.example",
			[]string{"iprev=pass policy.iprev=192.0.2.1", "auth=pass smtp.auth=ann@example.org"}},
	} {
		h, err := Parse([]byte(c.in))
		if err != nil || h.ID != c.id || len(h.Results) != len(c.want) {
			t.Errorf("%s: %q, %d results, %v", c.name, h.ID, len(h.Results), err)
		}
		for i, want := range c.want {
			first, property, _ := strings.Cut(want, " ")
			if i >= len(h.Results) {
				t.Errorf("%s: %s is missing", c.name, want)
				continue
			}
			r := &h.Results[i]
			name, value, _ := strings.Cut(property, "=")
			typ, name, _ := strings.Cut(name, ".")
			if r.Method+"="+r.Value != first || property != "" && r.Prop(typ, name) != value {
				t.Errorf("%s: %+v, want %s", c.name, r, want)
			}
		}
	}
}
