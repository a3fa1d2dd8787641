package authres

import (
	"reflect"
	"strings"
	"testing"

	"hoplite/mail"
)

// Comments and white space may appear between any two tokens and never change
// the meaning (RFC 8601, 2.2).
func TestCommentsAndSpace(t *testing.T) {
	tokens := []string{"mx.example", "1", ";", "dkim", "/", "1", "=", "pass", "reason", "=", `"ok"`, "header", ".", "d", "=", "a.example"}
	want := Header{"mx.example", []mail.AuthResult{{Method: "dkim", Value: "pass", Reason: "ok", Props: []mail.AuthProp{prop("header", "d", "a.example")}}}}
	for _, between := range []string{" ", "\t", "\r\n ", " (c) ", "(a(b)c)", `(\))`, `(a;b=c)`, `("open)`} {
		in := strings.Join(tokens, between)
		if between[0] == '(' {
			in = strings.Join(tokens, " "+between)
		}
		got, err := Parse([]byte(in))
		for i := range got.Results {
			got.Results[i].Comment = ""
		}
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %v\ngot  %+v\nwant %+v", between, err, got, want)
		}
	}
}

// TestQuoted covers quoted strings and their limits.
func TestQuoted(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{`"plain"`, "plain"},
		{`""`, ""},
		{`"a \"b\" \\ c"`, `a "b" \ c`},
		{`"a;b(c)d=e"`, "a;b(c)d=e"},
		{"\"a\r\n b\"", "a b"},
		{"token", "token"},
	} {
		h, err := Parse([]byte("x; spf=fail reason=" + c.in))
		if err != nil || len(h.Results) != 1 || h.Results[0].Reason != c.want {
			t.Errorf("%s: %+v, %v", c.in, h, err)
		}
	}
}

// After a syntax error, the results before it are kept and those after it are
// dropped.
func TestResultsBeforeAFault(t *testing.T) {
	h, err := Parse([]byte("x; spf=pass; dkim=; dmarc=pass"))
	if err == nil || len(h.Results) != 1 || h.Results[0].Method != "spf" {
		t.Errorf("%+v, %v", h, err)
	}
}

// TestLimits tests the limits at their exact values.
func TestLimits(t *testing.T) {
	for _, c := range []struct {
		name, in string
		ok       bool
	}{
		{"results", "x" + strings.Repeat("; a=b", maxResults), true},
		{"one result more", "x" + strings.Repeat("; a=b", maxResults+1), false},
		{"properties", "x; a=b" + strings.Repeat(" c.d=e", maxProps), true},
		{"one property more", "x; a=b" + strings.Repeat(" c.d=e", maxProps+1), false},
		{"comments", "x " + strings.Repeat("(", maxDepth) + strings.Repeat(")", maxDepth) + "; a=b", true},
	} {
		if _, err := Parse([]byte(c.in)); (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	deep := "x " + strings.Repeat("(", maxDepth+1) + strings.Repeat(")", maxDepth+1) + "; spf=pass"
	if h, _ := Parse([]byte(deep)); len(h.Results) != 0 {
		t.Errorf("a comment nested too deeply hides nothing: %+v", h)
	}
}
