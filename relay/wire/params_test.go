package wire

import (
	"strings"
	"testing"
	"testing/quick"

	"github.com/emersion/go-smtp"

	"hoplite/internal/listen"
)

func TestParams(t *testing.T) {
	all := everything(nil)
	none := Offer{}
	small := Offer{Size: 1000}
	for name, tt := range map[string]struct {
		verb, in string
		offer    *Offer
		code     int
		path     string
		params   string
		mail     Mail
	}{
		"null":               {verb: "MAIL", in: "FROM:<>"},
		"lower case":         {verb: "MAIL", in: "from:<a@b.c>", path: "a@b.c"},
		"spaces":             {verb: "MAIL", in: "FROM:   <a@b.c>   BODY=7BIT  RET=FULL", path: "a@b.c", params: " BODY=7BIT RET=FULL"},
		"quotes stay":        {verb: "RCPT", in: `TO:<"a b"@c.d>`, path: `"a b"@c.d`},
		"odd dots stay":      {verb: "RCPT", in: `TO:<.a..b.@c.d>`, path: `.a..b.@c.d`},
		"wrong word":         {verb: "RCPT", in: "FROM:<a@b.c>", code: 501},
		"size":               {verb: "MAIL", in: "FROM:<a@b.c> SIZE=77", path: "a@b.c", mail: Mail{Size: 77}},
		"size, limit":        {verb: "MAIL", in: "FROM:<a@b.c> SIZE=1000", offer: &small, path: "a@b.c", mail: Mail{Size: 1000}},
		"size, over limit":   {verb: "MAIL", in: "FROM:<a@b.c> SIZE=1001", offer: &small, code: 552},
		"binary":             {verb: "MAIL", in: "FROM:<a@b.c> BODY=binarymime", path: "a@b.c", mail: Mail{Binary: true}},
		"binary not offered": {verb: "MAIL", in: "FROM:<a@b.c> BODY=BINARYMIME", offer: &Offer{EightBit: true}, code: 555},
		"by":                 {verb: "MAIL", in: "FROM:<a@b.c> by=120;nt", path: "a@b.c", params: " BY=120;NT"},
		"by at RCPT":         {verb: "RCPT", in: "TO:<a@b.c> BY=120;N", code: 555},
		"not offered":        {verb: "MAIL", in: "FROM:<a@b.c> RET=HDRS", offer: &none, code: 555},
		"utf8":               {verb: "MAIL", in: "FROM:<a@b.c> SMTPUTF8", path: "a@b.c", params: " SMTPUTF8"},
		"no value":           {verb: "MAIL", in: "FROM:<a@b.c> RET", code: 501},
		"empty value":        {verb: "MAIL", in: "FROM:<a@b.c> RET=", code: 501},
		"two values":         {verb: "MAIL", in: "FROM:<a@b.c> ENVID=a=b", code: 501},
		"twice":              {verb: "RCPT", in: "TO:<a@b.c> NOTIFY=NEVER notify=NEVER", code: 501},
		"requiretls":         {verb: "MAIL", in: "FROM:<a@b.c> REQUIRETLS", code: 530},
		"orcpt":              {verb: "RCPT", in: "TO:<a@b.c> ORCPT=rfc822;x@y", path: "a@b.c", params: " ORCPT=rfc822;x@y"},
	} {
		t.Run(name, func(t *testing.T) {
			offer := tt.offer
			if offer == nil {
				offer = &all
			}
			a := arguments{verb: tt.verb, offer: offer}
			path, m, params, refused := a.parse(tt.in, nil)
			if tt.code != 0 {
				if refused == nil || refused.Code != tt.code {
					t.Errorf("refused with %v, want %d", refused, tt.code)
				}
				return
			}
			if refused != nil || path != tt.path || string(params) != tt.params || m != tt.mail {
				t.Errorf("%q %q %+v %v, want %q %q %+v", path, params, m, refused, tt.path, tt.params, tt.mail)
			}
		})
	}
}

// oddPaths lists paths that a parser might change.
var oddPaths = []string{
	`a@example.org`, `"a b"@example.org`, `"a\"b"@example.org`, `"a\\b"@example.org`, `"a"@example.org`, `a..b@example.org`,
	`.a.@example.org`, `"x> SIZE=9"@example.org`, `"@"@example.org`, `a@[IPv6:2001:db8::1]`, `a@b"c>d"`, `ann`,
	`a@example.org.`, `"\a"@example.org`, `a+b=c@example.org`, `a@x`, `"a@x"@x`, `"unterminated\"@example.org"@example.org`,
}

// A path reaches the session exactly as sent by the client.
func TestPathSurvives(t *testing.T) {
	s := start(t, Options{}, listen.Options{})
	for _, path := range oddPaths {
		c := s.dial(t)
		c.hello()
		c.say("MAIL FROM:<"+path+"> RET=FULL", "250")
		c.say("RCPT TO:<"+path+"> NOTIFY=NEVER", "250")
		c.say("DATA", "354")
		c.say("x\r\n.", "250")
		all := s.store.all()
		if got, want := all[len(all)-1], "from "+path+" size 0;to "+path+";x\r\n"; got != want {
			t.Errorf("the session got %q, want %q", got, want)
		}
	}
}

// A quoted path does not end early, whatever it contains, and Path restores it.
func TestQuotedPath(t *testing.T) {
	check := func(path string) bool {
		quoted := string(appendPath(nil, path))
		body, ok := strings.CutPrefix(quoted, `<"`)
		body, ok2 := strings.CutSuffix(body, `"`+domain+`>`)
		var plain strings.Builder
		for i := 0; i < len(body); i++ {
			if body[i] == '"' {
				return false
			}
			if body[i] == '\\' {
				i++
			}
			plain.WriteByte(body[i])
		}
		return ok && ok2 && plain.String() == path && Path(path+domain) == path
	}
	for _, path := range oddPaths {
		if !check(path) {
			t.Errorf("%q does not survive", path)
		}
	}
	if err := quick.Check(check, nil); err != nil {
		t.Error(err)
	}
}

// BY and MT-PRIORITY reach the session as parsed by go-smtp.
func TestByAndPriority(t *testing.T) {
	s := start(t, Options{}, listen.Options{})
	c := s.dial(t)
	c.hello()
	for _, bad := range []string{"BY=0;R", "BY=-1;R", "BY=1;X", "BY=1", "BY=1000000000;N", "MT-PRIORITY=10", "MT-PRIORITY=x"} {
		c.say("MAIL FROM:<a@example.org> "+bad, "501 5.5.4")
	}
	c.say("MAIL FROM:<a@example.org> BY=120;rt MT-PRIORITY=-3", "250")
	c.say("RCPT TO:<b@example.org>", "250")
	c.say("DATA", "354")
	c.say("x\r\n.", "250")
	if got, want := s.store.all()[0], "from a@example.org size 0 by 2m0s "+string(smtp.DeliverByReturn)+" true priority -3;to b@example.org;x\r\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestKeywords(t *testing.T) {
	for name, tt := range map[string]struct {
		offer    Offer
		ch       channel
		disabled disabled
		want     string
	}{
		"nothing":    {want: "PIPELINING|ENHANCEDSTATUSCODES|SIZE|HELP"},
		"everything": {offer: Offer{Size: 5, EightBit: true, UTF8: true, DSN: true, Chunking: true, Binary: true, RequireTLS: true, DeliverBy: true, Priority: true, Auth: []string{"PLAIN", "LOGIN"}, Expand: true, Etrn: true, MailMax: 3, RcptMax: 4}, ch: channel{true, true, true}, want: "PIPELINING|ENHANCEDSTATUSCODES|SIZE 5|8BITMIME|SMTPUTF8|DSN|CHUNKING|BINARYMIME|STARTTLS|REQUIRETLS|DELIVERBY|MT-PRIORITY|AUTH PLAIN LOGIN|EXPN|ETRN|HELP|XCLIENT NAME ADDR PORT PROTO HELO DESTADDR DESTPORT|LIMITS MAILMAX=3 RCPTMAX=4"},
		"disabled":   {offer: Offer{EightBit: true, DSN: true, RcptMax: 4}, disabled: disabled{"dsn", "SIZE", "limits", "HELP"}, want: "PIPELINING|ENHANCEDSTATUSCODES|8BITMIME"},
		"in clear":   {offer: Offer{RequireTLS: true}, want: "PIPELINING|ENHANCEDSTATUSCODES|SIZE|HELP"},
		"binary":     {offer: Offer{Binary: true}, want: "PIPELINING|ENHANCEDSTATUSCODES|SIZE|HELP"},
	} {
		t.Run(name, func(t *testing.T) {
			o := tt.offer.without(tt.disabled)
			if got := strings.Join(o.keywords(tt.ch, tt.disabled), "|"); got != tt.want {
				t.Errorf("%s, want %s", got, tt.want)
			}
		})
	}
}
