package tracetext

import (
	"bytes"
	"encoding/csv"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hoplite/mail/story"
	"hoplite/mail/trace"
	"hoplite/mail/trace/inspect"
)

var update = flag.Bool("update", false, "write the golden files")

// screen returns a Screen of 80 columns in UTF-8 or ASCII that prints to the
// buffer.
func screen(t *testing.T, locale string) (*Screen, *bytes.Buffer) {
	t.Helper()
	t.Setenv("LC_ALL", locale)
	t.Setenv("COLUMNS", "")
	var b bytes.Buffer
	return New(&b, nil), &b
}

// narrow reports lines longer than 80 columns.
func narrow(t *testing.T, out string) {
	t.Helper()
	for line := range strings.Lines(out) {
		if n := columns(strings.TrimRight(line, "\n")); n > 80 {
			t.Errorf("%d columns: %s", n, line)
		}
	}
}

// TestWide checks that East Asian characters, which take two columns, fit.
func TestWide(t *testing.T) {
	s, out := screen(t, "C.UTF-8")
	in := "Received: from " + strings.Repeat("請求", 40) + ".example ([192.0.2.5]) by " + strings.Repeat("漢字", 30) + "a.example with ESMTP id 1; Tue, 12 May 2026 08:30:06 +0000\n"
	Trace(s, trace.Read([]byte(in+longLine), trace.Options{}))
	s.wrapped("label ", 6, strings.Repeat("a請 ", 40)+strings.Repeat("求", 100))
	narrow(t, out.String())
	for _, c := range []struct {
		text  string
		width int
		want  string
	}{
		{"漢字", 5, "漢字 "}, {"漢字漢字漢字", 7, "漢…漢字"}, {"漢字漢字漢字", 8, "漢…漢字 "}, {"abcdefghij", 5, "a…hij"}, {"e\u0301", 3, "e\u0301 "},
	} {
		if got := s.fit(c.text, c.width); got != c.want || columns(got) != c.width {
			t.Errorf("%q in %d: %q, want %q", c.text, c.width, got, c.want)
		}
	}
}

func TestWrapped(t *testing.T) {
	for _, c := range []struct {
		name, label string
		indent      int
		text, want  string
	}{
		{"short", "  from ", 7, "ann", "  from ann\n"},
		{"nothing", "  from ", 7, "", "  from\n"},
		{"spaces are joined", "", 0, "a \t b", "a b\n"},
		{"broken under its start", "  from ", 7, strings.Repeat("word ", 20), "  from " + strings.Repeat("word ", 14) + "\n       " + strings.Repeat("word ", 5) + "word\n"},
		{"a label longer than the indent", strings.Repeat("l", 40) + " ", 10, strings.Repeat("word ", 10), strings.Repeat("l", 40) + " " + strings.Repeat("word ", 7) + "word\n          word word\n"},
		{"a coloured label", "\x1b[31mbad\x1b[0m ", 4, strings.Repeat("x", 76), "\x1b[31mbad\x1b[0m " + strings.Repeat("x", 76) + "\n"},
		{"a long word", "ab ", 3, strings.Repeat("y", 100), "ab " + strings.Repeat("y", 77) + "\n   " + strings.Repeat("y", 23) + "\n"},
		{"a URL is not broken", "ab ", 3, "see https://" + strings.Repeat("u", 90), "ab see\n   https://" + strings.Repeat("u", 90) + "\n"},
		{"control characters", "", 0, "a\x1b[2Jb\u202ec", "a?[2Jb?c\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, out := screen(t, "C.UTF-8")
			s.wrapped(c.label, c.indent, c.text)
			want := strings.ReplaceAll(c.want, " \n", "\n")
			if got := out.String(); got != want && c.name != "control characters" || strings.ContainsAny(got, "\u202e") || c.label[:min(1, len(c.label))] != "\x1b" && strings.Contains(got, "\x1b") {
				t.Errorf("got  %q\nwant %q", got, want)
			}
		})
	}
}

func TestFit(t *testing.T) {
	s, _ := screen(t, "C.UTF-8")
	plain, _ := screen(t, "C")
	for _, c := range []struct {
		s        *Screen
		in, want string
		width    int
	}{
		{s, "mx", "mx  ", 4},
		{s, "mx.a.example", "mx.a.example", 12},
		{s, "mail-long-name.a.example", "mai….example", 12},
		{s, "äöü", "äöü ", 4},
	} {
		if got := c.s.fit(c.in, c.width); got != c.want {
			t.Errorf("fit(%q, %d) = %q, want %q", c.in, c.width, got, c.want)
		}
	}
	plain.ascii = true
	if got := plain.fit("mail-long-name.a.example", 12); got != "mai~.example" {
		t.Errorf("%q", got)
	}
	if got := s.cellRight("1s", 4) + s.cellRight("12345", 4); got != "  1s12345" {
		t.Errorf("%q", got)
	}
}

// samples returns the messages in the corpus and in the test cases.
func samples(t *testing.T) []string {
	t.Helper()
	var all []string
	for _, pattern := range []string{"received/synthetic/*.eml", "cases/*.eml", "more/*.eml"} {
		files, err := filepath.Glob("../../../../mail/trace/testdata/" + pattern)
		if err != nil || len(files) == 0 {
			t.Fatal(pattern, err)
		}
		all = append(all, files...)
	}
	return all
}

// Every sample fits into 80 columns, in both character sets, and each of its lines
// can be explained.
func TestWidth(t *testing.T) {
	for _, file := range samples(t) {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		r, err := (&inspect.Inspector{}).Inspect(t.Context(), raw)
		if err != nil {
			t.Fatal(file, err)
		}
		for _, locale := range []string{"C.UTF-8", "C"} {
			s, out := screen(t, locale)
			Report(s, r)
			for i := range r.Trace.Steps {
				Explain(s, &r.Trace.Steps[i])
			}
			narrow(t, out.String())
			if locale == "C" && strings.ContainsFunc(out.String(), func(r rune) bool { return r > 126 }) {
				t.Errorf("%s: not ASCII", file)
			}
		}
	}
}

const longLine = "Received: from mail.a.example (mail.a.example [192.0.2.5]) by mx.b.example (Postfix) with ESMTPS id 4F1Zpz0YBvz9sWn for <bob@b.example>; Tue, 12 May 2026 08:30:06 +0000\nFrom: ann@a.example\n"

func TestExplain(t *testing.T) {
	tr := trace.Read([]byte(longLine), trace.Options{})
	s, out := screen(t, "C.UTF-8")
	Explain(s, &tr.Steps[0])
	if !strings.HasPrefix(out.String(), "line 1, boundary\n\n from mail.a.example (mail.a.example [192.0.2.5]) by mx.b.example (Postfix) with\n") {
		t.Errorf("got\n%s", out)
	}
	for _, w := range []string{"from           mail.a.example\n", "from_ip        192.0.2.5\n", "by             mx.b.example\n", "id             4F1Zpz0YBvz9sWn\n", "for            bob@b.example\n"} {
		if !strings.Contains(out.String(), w) {
			t.Errorf("%q is missing in\n%s", w, out)
		}
	}
	// The letters are below the text that the list describes.
	lines := strings.Split(out.String(), "\n")
	if at := strings.Index(lines[2], "192.0.2.5"); lines[3][at] == ' ' || lines[3][at] != lines[3][at+8] || lines[3][at+9] == lines[3][at] {
		t.Errorf("letters\n%s\n%s", lines[2], lines[3])
	}
}

func TestStories(t *testing.T) {
	var found []story.Entry
	for i := range 2 {
		found = append(found, story.Entry{ID: "01m83cchqfy872as", At: time.Now(), Kind: "transaction", From: strings.Repeat("a", 50) + "@a.example", To: []string{strings.Repeat("b", 60) + "@b.example", "c@c.example"}[:2-i],
			Data: []byte(`{"ID":"x","Envelope":{"From":"a@a.example","Rcpts":[{"To":"b@b.example"}]},"Verdict":"refused","Reply":{"code":550,"enhanced":"5.7.1","text":"` + strings.Repeat("not here ", 20) + `"},"Trail":{"outcomes":[{"rcpt":"b@b.example","hop":"out","reply":{"code":550,"enhanced":"5.1.1","text":"no such user"}}]}}`)})
	}
	found = append(found, story.Entry{ID: "01m83cchqfy872at", Kind: "refusal", Data: []byte(`{}`)})
	s, out := screen(t, "C.UTF-8")
	List(s, found)
	for _, st := range story.Tell(found, story.Everything) {
		Story(s, &st)
	}
	narrow(t, out.String())
	for _, w := range []string{" +1 refused", "01m83cchqfy872as refused: 550 5.7.1", "(no recipient)", "  sent      <b@b.example> → out: 550 5.1.1 no such user\n    5.1.1  "} {
		if !strings.Contains(out.String(), w) {
			t.Errorf("%q is missing in\n%s", w, out)
		}
	}
}

func TestBounce(t *testing.T) {
	in := "From: MAILER-DAEMON@mx.b.example\nContent-Type: multipart/report; report-type=delivery-status; boundary=B\n\n--B\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; mx.b.example\n\n" +
		"Original-Recipient: rfc822;team@b.example\nFinal-Recipient: rfc822;bob@b.example\nAction: failed\nStatus: 5.7.1\nRemote-MTA: dns; up.example\nDiagnostic-Code: smtp; 550 5.7.1 " + strings.Repeat("refused ", 15) + "\n\n--B\nContent-Type: message/rfc822\n\n" + longLine + "Message-ID: <1@a.example>\nDate: Tue, 12 May 2026 08:30:05 +0000\n\nhi\n--B--\n"
	r, err := (&inspect.Inspector{}).Inspect(t.Context(), []byte(in))
	if err != nil {
		t.Fatal(err)
	}
	r.Known = &inspect.Known{By: inspect.Key{MessageID: "<1@a.example>"}, Stories: []story.Story{{ID: "01m83cchqfy872as", Title: "accepted", Good: true}}}
	s, out := screen(t, "C.UTF-8")
	Report(s, r)
	narrow(t, out.String())
	for _, w := range []string{"a report about another message, by mx.b.example\n  message   <1@a.example>\n  written   Tue, 12 May 2026 08:30:05 +0000\n  bob@b.example: failed 5.7.1\n    addressed as team@b.example\n    up.example said: 550 5.7.1 refused",
		"In our own history, by the Message-ID <1@a.example>\n01m83cchqfy872as accepted\n", "Path of the original message\n1 hop, origin 192.0.2.5", "Path of the report\nno hops"} {
		if !strings.Contains(out.String(), w) {
			t.Errorf("%q is missing in\n%s", w, out)
		}
	}
}

// The hint about our own hosts mentions the command's flags.
func TestOursHint(t *testing.T) {
	in := "Received: from smtp.b.example (smtp.b.example [198.51.100.7]) by mx.b.example with ESMTP id 2; Tue, 12 May 2026 08:30:07 +0000\nReceived: from a.example by smtp.b.example with ESMTP id 1; Tue, 12 May 2026 08:30:06 +0000\nFrom: a@a.example\n"
	s, out := screen(t, "C.UTF-8")
	Trace(s, trace.Read([]byte(in), trace.Options{}))
	if !strings.Contains(strings.Join(strings.Fields(out.String()), " "), "older lines are trusted, too: --ours .b.example --trusted 198.51.100.7") {
		t.Errorf("%s", out)
	}
}

func TestComparison(t *testing.T) {
	s, out := screen(t, "C.UTF-8")
	Comparison(s, trace.Compare([]byte(longLine+"Subject: hi\n\nhello\n"), []byte(longLine+"Subject: [list] hi\n\nhello\nfooter\n")))
	Comparison(s, trace.Compare([]byte(longLine), []byte(longLine)))
	narrow(t, out.String())
	for _, w := range []string{"changed Subject", "          - hi\n          + [list] hi\n", "the two copies are identical\n"} {
		if !strings.Contains(out.String(), w) {
			t.Errorf("%q is missing in\n%s", w, out)
		}
	}
}

// A spreadsheet must not interpret remote text as a formula.
func TestCSV(t *testing.T) {
	var b bytes.Buffer
	in := "Received: from =cmd (mail.a.example [192.0.2.5]) by @mx.b.example with ESMTP id -1+2; Tue, 12 May 2026 08:30:06 +0000\n"
	if err := CSV(&b, trace.Read([]byte(in+longLine), trace.Options{}), strings.ToUpper); err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(&b).ReadAll()
	if err != nil || len(rows) != 3 || len(rows[0]) != len(rows[2]) {
		t.Fatal(err, rows)
	}
	if got := fmt.Sprint(rows[1][2], rows[1][3], rows[2][2]); got != "MAIL.A.EXAMPLE192.0.2.5'=CMD" {
		t.Errorf("%s in %q", got, rows)
	}
	for _, row := range rows[1:] {
		for _, cell := range row {
			if cell != "" && strings.IndexByte("=+@", cell[0]) >= 0 {
				t.Errorf("cell %q", cell)
			}
		}
	}
}

// With at least 110 columns, a delay is followed by its bounds if they differ
// from it.
func TestWideTable(t *testing.T) {
	in := "Received: from mail.a.example (mail.a.example [192.0.2.5]) (using TLSv1 with cipher AES256-SHA (256/256 bits)) by mx.b.example (Postfix) with ESMTPS id 2; Tue, 12 May 2026 10:30:01 +0000\n" +
		"Received: from pc7 (pc7 [10.1.0.7]) by mail.a.example (Postfix) with ESMTPSA id 1; Tue, 12 May 2026 08:30:01 +0000\n"
	t.Setenv("LC_ALL", "C.UTF-8")
	for columns, want := range map[string]string{"130": " ESMTPS TLS 1.0         2h (0s..2h) ████████████ ", "80": " ESMTPS 1.0       2h ██████ "} {
		t.Setenv("COLUMNS", columns)
		var b bytes.Buffer
		Trace(New(&b, nil), trace.Read([]byte(in), trace.Options{}))
		if !strings.Contains(b.String(), want) {
			t.Errorf("%s columns: %q is missing in\n%s", columns, want, &b)
		}
	}
}

// TestGolden compares the whole report on each case with the text that an admin
// is meant to read.
func TestGolden(t *testing.T) {
	for _, c := range []struct {
		name string
		o    trace.Options
	}{
		{"cases/c1-o365-proofpoint-exchange", trace.Options{}},
		{"cases/c4-greylist-dst", trace.Options{}},
		{"cases/c5-fetchmail", trace.Options{}},
		{"cases/exchange-other-domain", trace.Options{}},
		{"cases/f1-forward", trace.Options{Ours: []string{"fwd.b.example"}}},
		{"cases/f1-gmail", trace.Options{}},
		{"cases/f1-m365", trace.Options{}},
		{"cases/list-back", trace.Options{Ours: []string{".b.example"}}},
		{"cases/oldtls", trace.Options{}},
		{"cases/p1", trace.Options{}},
		{"cases/strato", trace.Options{}},
		{"cases/vps-ptr", trace.Options{}},
		{"received/synthetic/seed-1999-backwards", trace.Options{}},
		{"received/synthetic/skew-two-hosts", trace.Options{}},
		{"received/synthetic/skew-client-clock", trace.Options{}},
		{"received/synthetic/queue-2h-not-skew", trace.Options{}},
		{"received/synthetic/forged-prefix", trace.Options{}},
		{"received/synthetic/forged-own-name", trace.Options{}},
		{"received/synthetic/forged-future", trace.Options{}},
		{"received/synthetic/loop-two-hosts", trace.Options{}},
		{"received/synthetic/odd-syntax", trace.Options{}},
		{"received/synthetic/no-received", trace.Options{}},
		{"received/synthetic/o365-chain", trace.Options{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			raw, err := os.ReadFile("../../../../mail/trace/testdata/" + c.name + ".eml")
			if err != nil {
				t.Fatal(err)
			}
			s, out := screen(t, "C.UTF-8")
			Trace(s, trace.Read(raw, c.o))
			golden := "testdata/" + filepath.Base(c.name) + ".txt"
			if *update {
				if err := os.WriteFile(golden, out.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if out.String() != string(want) {
				t.Errorf("got\n%s\nwant\n%s", out, want)
			}
		})
	}
}
