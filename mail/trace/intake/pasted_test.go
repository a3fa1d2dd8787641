package intake

import (
	"os"
	"strings"
	"testing"

	"hoplite/mail/trace"
)

// TestPasted parses text pasted from mail programs and web pages.
func TestPasted(t *testing.T) {
	for _, c := range []struct {
		name, repair string
		hops         int
		origin       string
		fields       string
	}{
		{"nbsp", "non-breaking spaces replaced", 1, "192.0.2.5", "From"},
		{"intro", "text before the header removed", 1, "192.0.2.5", "From Date"},
		{"oneline", "a field that shared a line with another separated", 2, "192.0.2.5", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			raw, err := os.ReadFile("testdata/pasted/pasted-" + c.name + ".txt")
			if err != nil {
				t.Fatal(err)
			}
			in, err := Read(raw)
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(in.Repairs, "; "); got != c.repair {
				t.Errorf("repairs %q, want %q", got, c.repair)
			}
			tr := trace.Read(in.Head, trace.Options{})
			if len(tr.Steps) != c.hops || tr.Origin == nil || tr.Origin.Addr.String() != c.origin {
				t.Errorf("%d hops, origin %+v\n%s", len(tr.Steps), tr.Origin, in.Head)
			}
			for i := range tr.Steps {
				if s := &tr.Steps[i]; !s.Stamp.OK || s.Proto.Name != "ESMTP" || s.Defects != 0 {
					t.Errorf("line %d: date %v, protocol %q, defects %v", s.Index, s.Stamp.OK, s.Proto.Name, s.Defects.List())
				}
			}
			for name := range strings.FieldsSeq(c.fields) {
				if len(values(in.Head, name)) != 1 {
					t.Errorf("no %s in %s", name, in.Head)
				}
			}
		})
	}
}

// TestPastedVariants checks when a repair applies and when it must not.
func TestPastedVariants(t *testing.T) {
	const hop = "Received: from a.example (a.example [192.0.2.5]) by mx.b.example (Postfix) with ESMTP id 4F1; Tue, 12 May 2026 10:30:06 +0200"
	for _, c := range []struct {
		name, in, head, repair string
	}{
		{"intro that looks like a field", "Internet headers:\n" + hop + "\n", hop + "\n", "text before"},
		{"intro that is a field without a value", "Headers:\n\n" + hop + "\nFrom: a@a.example\n\nbody\n", hop + "\nFrom: a@a.example\n", "text before"},
		{"several lines, quoted header", "Dear postmaster,\nsee below.\n\n> " + hop + "\n> From: a@a.example\n", hop + "\nFrom: a@a.example\n", "text before"},
		{"unknown fields first", "X-One: 1\nX-Two: 2\nFrom: a@a.example\n\nbody", "X-One: 1\nX-Two: 2\nFrom: a@a.example\n", ""},
		{"fields quoted in a body", "X-One: 1\n\n" + hop + "\n", "X-One: 1\n", ""},
		{"all on one line", hop + " From: a@a.example Subject: hi Date: Tue, 12 May 2026 10:30:00 +0200\n",
			hop + "\nFrom: a@a.example\nSubject: hi\nDate: Tue, 12 May 2026 10:30:00 +0200\n", "3 fields"},
		{"after another field", "Return-Path: <a@a.example> " + hop + "\n", "Return-Path: <a@a.example>\n" + hop + "\n", "a field"},
		{"a subject about fields", "Subject: what does From: or To: mean\n" + hop + "\n", "Subject: what does From: or To: mean\n" + hop + "\n", ""},
		{"a genuine non-breaking space", "Subject: 10\u00a0km\n" + hop + "\n", "Subject: 10\u00a0km\n" + hop + "\n", ""},
		{"folding by non-breaking spaces", "Subject: a\n\u00a0\u00a0b\n", "Subject: a\n  b\n", "non-breaking"},
	} {
		t.Run(c.name, func(t *testing.T) {
			in, err := Read([]byte(c.in))
			if err != nil {
				t.Fatal(err)
			}
			if string(in.Head) != c.head {
				t.Errorf("got  %q\nwant %q", in.Head, c.head)
			}
			if got := strings.Join(in.Repairs, "; "); !strings.Contains(got, c.repair) || c.repair == "" && got != "" {
				t.Errorf("repairs %q, want %q", got, c.repair)
			}
		})
	}
}
