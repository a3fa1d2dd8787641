package sieve_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"hoplite/mail"
	"hoplite/mail/sieve"
)

// message returns a message with the given header and body.
func message(t testing.TB, text string) *mail.Message {
	t.Helper()
	m, err := mail.NewMessage(mail.Bytes(strings.ReplaceAll(text, "\n", "\r\n")))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

const plain = "From: Ann <ann@example.com>\nTo: bob@example.org\nSubject: Hello\nMessage-ID: <1@example.com>\n\nText.\n"

// actions runs a script and returns its actions in short form.
func actions(t testing.TB, script, msg string, load sieve.Loader) string {
	t.Helper()
	s, err := sieve.Compile("test", []byte(script), load)
	if err != nil {
		return "compile: " + err.Error()
	}
	return short(sieve.Run([]*sieve.Script{s}, message(t, msg), environment()))
}

func short(res sieve.Result) string {
	var out []string
	for _, a := range res.Actions {
		s := string(a.Kind)
		for _, x := range []string{a.Mailbox, string(a.Address), a.Reason} {
			if x != "" {
				s += " " + strings.ReplaceAll(x, "\r\n", "|")
			}
		}
		if len(a.Flags) > 0 {
			s += fmt.Sprint(" ", a.Flags)
		}
		out = append(out, s)
	}
	if res.Err != nil {
		out = append(out, "error "+res.Err.Error())
	}
	return strings.Join(out, "; ")
}

func TestScripts(t *testing.T) {
	for _, c := range []struct{ name, script, want string }{
		{"empty script keeps", "", "keep"},
		{"a byte order mark is skipped", "\ufeffdiscard;", "discard"},
		{"CRLF line endings", "discard;\r\n# end\r\n", "discard"},
		{"copy leaves the implicit keep", `require ["fileinto","copy"]; fileinto :copy "A";`, "fileinto A; keep"},
		{"fileinto INBOX is a keep", `require "fileinto"; keep; fileinto "inbox";`, "keep"},
		{"discard after keep", `keep; discard;`, "keep; discard"},
		{"flags of the implicit keep", `require "imap4flags"; addflag ["\\Seen", "a b", "bad%"];`, `keep [\Seen a b]`},
		{"unknown system flags are ignored", `require "imap4flags"; addflag "\\Recent \\Nope ok";`, `keep [ok]`},
		{"reject with text:", "require \"reject\"; reject text:\nno\n..dot\n.\n;", "reject no|.dot|"},
		{"a redirect with a display name", `redirect "Eve <eve@example.net>";`, "redirect eve@example.net"},
		{"notify without a message uses the subject", `require "enotify"; notify "mailto:a@example.org,b@example.org?subject=Hi%20there";`,
			"notify a@example.org Hi there; notify b@example.org Hi there; keep"},
		{"a variable in a folder name", `require ["fileinto","variables"]; set "x" "A"; fileinto "${X}/b";`, "fileinto A/b"},
		{"a folder name with a line break is an error", `require ["fileinto","encoded-character"]; fileinto "a${hex:0a}b";`,
			"keep; error test: line 1: \"a\\nb\" is not the name of a folder"},
		{"an empty folder name from a variable is an error", "require [\"fileinto\",\"variables\"];\nfileinto \"${none}\";",
			`keep; error test: line 2: "" is not the name of a folder`},
		{"error command", `require "ihave"; error "stop here";`, "keep; error test: line 1: stop here"},
		{"mailbox tests without mailboxes", `require ["mailbox","special-use","fileinto"]; if mailboxexists "inbox" { fileinto "a"; } if specialuse_exists "\\Junk" { fileinto "b"; }`, "fileinto a"},
		{"the special-use folder does not exist", `require ["special-use","fileinto"]; fileinto :specialuse "\\Junk" "Spam";`, "fileinto Spam"},
		{"currentdate", `require ["date","fileinto"]; if currentdate :is "date" "2026-11-30" { fileinto "today"; }`, "fileinto today"},
		{"a time zone shifts the date", `require ["date","fileinto"]; if currentdate :zone "+1400" :is "date" "2026-12-01" { fileinto "tomorrow"; }`, "fileinto tomorrow"},
		{"numbers with leading zeros and beyond 64 bits", `require ["variables","fileinto","comparator-i;ascii-numeric"]; set "a" "00099999999999999999999999"; if string :is :comparator "i;ascii-numeric" "${a}" "99999999999999999999999x" { fileinto "equal"; }`, "fileinto equal"},
		{"regular expressions use POSIX classes", `require ["regex","fileinto"]; if header :regex "subject" "^[[:alpha:]]+$" { fileinto "a"; }`, "fileinto a"},
		{"a bad regular expression in a variable", `require ["regex","variables"]; set "r" "("; if header :regex "subject" "${r}" { keep; }`,
			"keep; error test: line 1: regular expression \"(\": missing closing ): `(`"},
		{"Received cannot be deleted", `require ["editheader","fileinto"]; deleteheader "Received"; fileinto "a";`, "fileinto a"},
		{"Auto-Submitted cannot be added", `require "editheader"; addheader "Auto-Submitted" "no";`,
			`keep; error test: line 1: addheader: the field "Auto-Submitted" cannot be added`},
	} {
		if got := actions(t, c.script, plain, nil); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, got, c.want)
		}
	}
}

func TestErrors(t *testing.T) {
	for _, c := range []struct{ script, want string }{
		{"keep", `line 1: expected ";" after the command keep, found the end of the script`},
		{"\n\nif true { keep; ", "line 3: expected a command, found the end of the script"},
		{`keep "x";`, "line 1: keep needs 0 arguments, not 1 argument"},
		{`redirect "x";`, `line 1: "x" is not an address`},
		{`fileinto "x";`, `line 1: fileinto needs require "fileinto" at the start of the script`},
		{`require "fileinto"; fileinto :copy "x";`, `line 1: :copy needs require "copy" at the start of the script`},
		{`require ["copy","fileinto"]; fileinto :copy :copy "x";`, "line 1: :copy is given twice"},
		{`require "nope";`, `line 1: extension "nope" is not supported`},
		{`frobnicate;`, `line 1: unknown command "frobnicate"`},
		{`if frob { keep; }`, `line 1: unknown test "frob"`},
		{`header "a" "b";`, "line 1: header is a test and belongs after if"},
		{`if keep { stop; }`, "line 1: keep is a command, not a test"},
		{`if true keep;`, `line 1: if needs a block in braces`},
		{`elsif true { keep; }`, "line 1: elsif without if"},
		{`if true { keep; } else { keep; } else { keep; }`, "line 1: else after else"},
		{`keep { stop; }`, "line 1: keep cannot have a block"},
		{`if header :is :contains "a" "b" { keep; }`, "line 1: :is and :contains exclude each other"},
		{`if header :comparator "x" "a" "b" { keep; }`, `line 1: unknown comparator "x"`},
		{`if header :comparator "i;ascii-numeric" "a" "b" { keep; }`, `line 1: this comparator needs require "comparator-i;ascii-numeric" at the start of the script`},
		{`require "relational"; if header :value "almost" "a" "b" { keep; }`, "line 1: :value needs one of gt, ge, lt, le, eq and ne"},
		{`if address "subject" "x" { keep; }`, `line 1: the field "subject" contains no addresses`},
		{`if size 5 { keep; }`, "line 1: size needs :over or :under"},
		{`if size :over 9999999999999999999 { keep; }`, "line 1: number too large"},
		{`if size :over 1T { keep; }`, `line 1: unknown quantifier "t" after a number; K, M or G is allowed`},
		{`if header ["a" "b"] "c" { keep; }`, "line 1: expected \",\" or \"]\" in a list of strings, found a string"},
		{"/* open", "line 1: a comment is not closed"},
		{"keep; \"open", "line 1: a string is not closed"},
		{"redirect text: now\n.\n;", "line 1: text: must be the last word of its line"},
		{"keep; \x00", "line 1: not valid UTF-8"},
		{"keep;\n\xff", "line 2: not valid UTF-8"},
		{"keep; é", "line 1: unexpected character 'é'"},
		{`require "variables"; set "a b" "c";`, `line 1: "a b" is not the name of a variable`},
		{`require ["variables","fileinto"]; fileinto "${x.y}";`, `line 1: unknown variable namespace "x"`},
		{`require ["variables","fileinto"]; fileinto "${99}";`, "line 1: match variable ${99} is above ${31}"},
		{`require ["encoded-character","fileinto"]; fileinto "${unicode:d800}";`, `line 1: "d800" is not a Unicode character`},
		{`require ["encoded-character","fileinto"]; fileinto "${hex:ff}";`, "line 1: the characters given with ${hex:} are not valid UTF-8"},
		{`require "date"; if currentdate "epoch" "1" { keep; }`, `line 1: unknown part "epoch" of a date`},
		{`require "date"; if currentdate :zone "CET" "year" "1" { keep; }`, `line 1: time zone "CET" is not of the form +0100`},
		{`require "index"; if header :last "a" "b" { keep; }`, "line 1: :last needs :index"},
		{`require "regex"; if header :regex "a" "[" { keep; }`, "line 1: regular expression \"[\": missing closing ]: `[`"},
		{`require "regex"; if header :regex "a" "(a{1,100}){1,100}" { keep; }`, "line 1: regular expression \"(a{1,100}){1,100}\": invalid repeat count: `{1,100}`"},
		{`require "include"; include "../x";`, `line 1: "../x" is not the name of a script`},
		{`require "include"; include "none";`, `line 1: script "none" cannot be included: no such script`},
		{`require "editheader"; addheader "a b" "c";`, `line 1: "a b" is not the name of a header field`},
		{`require "enotify"; notify "xmpp:a@example.org";`, `line 1: notify: "xmpp:a@example.org" is not a mailto URI, the only supported method`},
		{`require "vacation"; vacation :from "x" "y";`, `line 1: "x" is not an address`},
	} {
		_, err := sieve.Compile("s", []byte(c.script), nil)
		if err == nil {
			t.Errorf("%s: no error", c.script)
			continue
		}
		first, _, _ := strings.Cut(err.Error(), "\n")
		if first != "s: "+c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.script, first, "s: "+c.want)
		}
	}
}

// TestInclude runs scripts that include others (RFC 6609).
func TestInclude(t *testing.T) {
	load := func(name string, personal bool) ([]byte, error) {
		text, ok := map[string]string{
			"flag":   `require ["imap4flags"]; addflag "seen";`,
			"ret":    `require ["include","fileinto"]; return; fileinto "never";`,
			"stop":   `stop;`,
			"set":    `require ["include","variables"]; global "g"; set "g" "global"; set "l" "local"; set "global.h" "other";`,
			"loop":   `require "include"; include "loop";`,
			"bad":    `keep`,
			"global": `discard;`,
		}[name]
		if !ok || !personal && name != "global" || personal && name == "global" {
			return nil, sieve.ErrNoScript
		}
		return []byte(text), nil
	}
	for _, c := range []struct{ script, want string }{
		{`include "flag";`, "keep [seen]"},
		{`include "ret"; keep;`, "keep"},
		{`include "stop"; discard;`, "keep"},
		{`include :global "global";`, "discard"},
		{`include :optional "missing";`, "keep"},
		{`include :once "global2";`, `compile: test: line 1: script "global2" cannot be included: no such script`},
		{`include "loop";`, `compile: loop: line 1: script "loop" includes itself`},
		{`include "bad";`, `compile: bad: line 1: expected ";" after the command keep, found the end of the script`},
		{`global "g"; include "set"; fileinto "${g} [${l}] ${global.h}";`, "fileinto global [] other"},
	} {
		script := `require ["include","variables","fileinto"]; ` + c.script
		if got := actions(t, script, plain, load); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.script, got, c.want)
		}
	}
	if _, err := sieve.Compile("s", []byte(`require "include"; include "x";`), func(string, bool) ([]byte, error) {
		return nil, errors.New("disk on fire")
	}); err == nil || !strings.Contains(err.Error(), "disk on fire") {
		t.Errorf("the loader's error is lost: %v", err)
	}
}

// TestSequence runs the scripts of a site around a user's.
func TestSequence(t *testing.T) {
	for _, c := range []struct {
		scripts []string
		want    string
	}{
		{[]string{"", "discard;"}, "discard"},
		{[]string{"discard;", `keep;`}, "discard"},
		{[]string{`require ["fileinto","copy"]; fileinto :copy "A";`, `require "fileinto"; fileinto "B";`}, "fileinto A; fileinto B"},
		{[]string{`require "imap4flags"; addflag "x";`, `keep;`}, "keep"},
		{[]string{"stop;", "discard;"}, "discard"},
		{[]string{"keep;", "discard;"}, "discard"},
	} {
		var list []*sieve.Script
		for _, text := range c.scripts {
			s, err := sieve.Compile("s", []byte(text), nil)
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, s)
		}
		if got := short(sieve.Run(list, message(t, plain), environment())); got != c.want {
			t.Errorf("%q: got %s, want %s", c.scripts, got, c.want)
		}
	}
}

// TestEditedHeader looks at the header that an action stores.
func TestEditedHeader(t *testing.T) {
	s, err := sieve.Compile("s", []byte(`require ["editheader","fileinto"];
		fileinto "before";
		addheader "X-Long" "Grüße und viele weitere Wörter, die zusammen länger als eine Zeile des Kopfes sind, mehr nicht";
		addheader :last "X-End" "a
Injected: b";
		deleteheader :is "subject" "hello";`), nil)
	if err != nil {
		t.Fatal(err)
	}
	res := sieve.Run([]*sieve.Script{s}, message(t, strings.Replace(plain, "\n\n", "\nSubject: other\n\n", 1)), environment())
	if res.Err != nil || len(res.Actions) != 1 || res.Actions[0].Header != nil {
		t.Fatalf("got %s", short(res))
	}
	s, _ = sieve.Compile("s", []byte(`require ["editheader"]; addheader "X-New" "Grüße"; addheader :last "X-End" "a
Injected: b"; deleteheader :is "subject" "hello"; keep;`), nil)
	res = sieve.Run([]*sieve.Script{s}, message(t, plain), environment())
	want := "X-New: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nFrom: Ann <ann@example.com>\r\nTo: bob@example.org\r\n" +
		"Message-ID: <1@example.com>\r\nX-End: a Injected: b\r\n\r\n"
	if got := string(res.Actions[0].Header); got != want {
		t.Errorf("got %q\nwant %q", got, want)
	}
}

func TestDuplicate(t *testing.T) {
	s, err := sieve.Compile("s", []byte(`require ["duplicate"]; if duplicate :handle "h" :seconds 60 { discard; }`), nil)
	if err != nil {
		t.Fatal(err)
	}
	env := environment()
	seen := map[string]bool{}
	env.Seen = func(id string) bool { return seen[id] }
	res := sieve.Run([]*sieve.Script{s}, message(t, plain), env)
	if short(res) != "keep" || len(res.Remember) != 1 || res.Remember[0].For != time.Minute {
		t.Fatalf("first: %s %+v", short(res), res.Remember)
	}
	seen[res.Remember[0].ID] = true
	res = sieve.Run([]*sieve.Script{s}, message(t, plain), env)
	if short(res) != "discard" || len(res.Remember) != 0 {
		t.Errorf("second: %s %+v", short(res), res.Remember)
	}
}

func TestJSON(t *testing.T) {
	s, err := sieve.Compile("s", []byte(`require ["fileinto","vacation","copy","reject"]; fileinto :copy "A"; redirect :copy "a@example.org"; vacation :days 2 "away";`), nil)
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(sieve.Run([]*sieve.Script{s}, message(t, plain), environment()).Actions)
	want := `[{"action":"fileinto","copy":true,"create":false,"edited":false,"flags":[],"mailbox":"A"},` +
		`{"action":"redirect","address":"a@example.org","copy":true},{"action":"vacation","days":2,"reason":"away"},` +
		`{"action":"keep","edited":false,"flags":[]}]`
	if err != nil || string(b) != want {
		t.Errorf("got %s %v\nwant %s", b, err, want)
	}
}

func TestWhyNoReply(t *testing.T) {
	for _, c := range []struct{ name, head, from, want string }{
		{"a person writes", "To: bob@example.org\n", "ann@example.com", ""},
		{"in Cc with another spelling", "To: x@example.net\nCc: Bob <BOB@Example.ORG>\n", "ann@example.com", ""},
		{"a bounce", "To: bob@example.org\n", "", "the reverse path is empty"},
		{"a list", "To: bob@example.org\nList-Id: <dev.example.net>\n", "ann@example.com", "the message is from a mailing list (List-Id)"},
		{"list software", "To: bob@example.org\n", "dev-bounces@example.net", "the sender is a program: dev-bounces@example.net"},
		{"owner-", "To: bob@example.org\n", "owner-dev@example.net", "the sender is a program: owner-dev@example.net"},
		{"mailer-daemon", "To: bob@example.org\n", "MAILER-DAEMON@example.net", "the sender is a program: MAILER-DAEMON@example.net"},
		{"auto-replied", "To: bob@example.org\nAuto-Submitted: auto-replied\n", "ann@example.com", "the message was sent automatically (Auto-Submitted)"},
		{"not automatic", "To: bob@example.org\nAuto-Submitted: no\n", "ann@example.com", ""},
		{"bulk", "To: bob@example.org\nPrecedence: Bulk\n", "ann@example.com", "the message is bulk mail (Precedence)"},
		{"Exchange", "To: bob@example.org\nX-Auto-Response-Suppress: DR, OOF, AutoReply\n", "ann@example.com", "the sender asks for no automatic reply (X-Auto-Response-Suppress)"},
		{"spam", "To: bob@example.org\nX-Spam-Flag: YES\n", "ann@example.com", "the message is marked as spam (X-Spam-Flag)"},
		{"through an alias", "To: info@example.org\n", "ann@example.com", "the recipient is not named in To, Cc or Bcc"},
		{"to oneself", "To: bob@example.org\n", "bob@example.org", "the recipient is the sender"},
	} {
		got := sieve.WhyNoReply(message(t, c.head+"Subject: x\n\nx\n"), mail.Address(c.from), []string{"bob@example.org"})
		if got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

// TestBombs runs scripts made to exhaust the server: each ends soon, with an
// error or within its bounds.
func TestBombs(t *testing.T) {
	long := "Subject: " + strings.Repeat("a", 900) + "\n"
	msg := "From: a@example.com\n" + strings.Repeat(long, 200) + "\n" + strings.Repeat("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n", 5000)
	var redirects, nest, sets, tests strings.Builder
	for i := range 10_000 {
		fmt.Fprintf(&redirects, "redirect \"u%d@example.net\";\n", i)
	}
	nest.WriteString(strings.Repeat("if true { ", 10_000))
	sets.WriteString(`require "variables"; set "a" "` + strings.Repeat("x", 8000) + `";`)
	for range 5000 {
		sets.WriteString(`set "a" "${a}${a}${a}${a}";`)
	}
	tests.WriteString(`require ["body","regex"]; `)
	for range 3000 {
		tests.WriteString(`if body :regex "(a+a+)+b(.*a){10}" { discard; } `)
	}
	glob := `if header :matches "subject" "` + strings.Repeat("*a", 300) + `b" { discard; } `
	for name, c := range map[string]struct{ script, want string }{
		"10,000 redirects": {redirects.String(), "more than 4 redirects"},
		"deep nesting":     {nest.String(), "nested more than 32 levels deep"},
		"growing variable": {sets.String(), ""},
		"regex on a body":  {tests.String(), "takes too long"},
		"glob":             {strings.Repeat(glob, 1000), "takes too long"},
	} {
		start := time.Now()
		got := actions(t, c.script, msg, nil)
		took := time.Since(start)
		if !strings.Contains(got, c.want) {
			t.Errorf("%s: got %.200s", name, got)
		}
		t.Logf("%s: %v", name, took)
	}
}

func TestExtensionsAreSorted(t *testing.T) {
	if !slices.IsSorted(sieve.Extensions) {
		t.Error("Extensions must be sorted")
	}
	for _, e := range sieve.Extensions {
		if _, err := sieve.Compile("s", []byte(fmt.Sprintf("require %q;", e)), nil); err != nil {
			t.Error(err)
		}
	}
}

// FuzzScript compiles and runs any script on any message.
func FuzzScript(f *testing.F) {
	msgs := messages(f)
	for i, s := range scripts(f) {
		f.Add(s.text, msgs[i%len(msgs)].text)
	}
	f.Fuzz(func(t *testing.T, script, msg []byte) {
		s, err := sieve.Compile("fuzz", script, nil)
		if err != nil {
			return
		}
		m, err := mail.NewMessage(mail.Bytes(msg))
		if err != nil {
			return
		}
		res := sieve.Run([]*sieve.Script{s}, m, environment())
		if len(res.Actions) == 0 {
			t.Fatal("the message is lost")
		}
		for _, a := range res.Actions {
			if bytesContainBare(a.Header) {
				t.Fatalf("the script wrote into the header: %q", a.Header)
			}
		}
	})
}

// bytesContainBare reports whether a header block ends before its last line.
func bytesContainBare(head []byte) bool {
	return head != nil && strings.Contains(strings.TrimSuffix(string(head), "\r\n\r\n"), "\r\n\r\n")
}
