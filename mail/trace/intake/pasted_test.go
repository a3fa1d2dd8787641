package intake

import (
	"bytes"
	"context"
	"errors"
	"fmt"
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
			in, err := Read(t.Context(), raw)
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
			in, err := Read(t.Context(), []byte(c.in))
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

// sharing returns a line of n fields.
func sharing(n int) []byte {
	return bytes.Repeat([]byte("Received: from a.test by b.test; Mon, 30 Nov 2026 17:00:00 +0000 "), n)
}

// TestSharedLineIsReadOnce counts the octets read to split a line. Each search once
// read the whole rest of the line.
func TestSharedLineIsReadOnce(t *testing.T) {
	read := func(n int) int {
		line, sum, fields := sharing(n), 0, 1
		for {
			next, read := nextField(line)
			sum += read
			if next < 0 {
				break
			}
			line, fields = line[next:], fields+1
		}
		if fields != n {
			t.Errorf("%d fields, want %d", fields, n)
		}
		return sum
	}
	for n := 100; n <= 12_800; n *= 2 {
		if got, size := read(n), len(sharing(n)); got > size+n*(longestSplit+2) {
			t.Errorf("%d fields: %d octets read of %d", n, got, size)
		}
		if one, two := read(n), read(2*n); two > 2*one+longestSplit {
			t.Errorf("%d octets read for %d fields, %d for twice as many", one, n, two)
		}
	}
}

// TestMemoryIsLinear compares the allocations for an input and one twice as long.
func TestMemoryIsLinear(t *testing.T) {
	for name, line := range map[string]string{
		"shared line": string(sharing(1)), "quoted": "> Received: from a.test by b.test; Mon, 30 Nov 2026 17:00:00 +0000\n",
		"double-spaced": "X-One: 1\n\n", "lost folding": "by b.test\n", "quoted-printable": "X-One: =3D=\n",
	} {
		count := func(n int) float64 {
			in := []byte("From: a@a.example\n" + strings.Repeat(line, n))
			return testing.AllocsPerRun(1, func() {
				if _, err := Read(t.Context(), in); err != nil {
					t.Error(name, err)
				}
			})
		}
		if one, two := count(4000), count(8000); two > 2*one+100 {
			t.Errorf("%s: %v allocations, and %v for twice the input", name, one, two)
		}
	}
}

func TestMostFields(t *testing.T) {
	for name, in := range map[string][]byte{"one line": sharing(maxFields + 5), "lines": bytes.Repeat([]byte("X-One: 1\n"), maxFields+5)} {
		read, err := Read(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		if n := bytes.Count(read.Head, []byte{'\n'}); n != maxFields || !strings.Contains(strings.Join(read.Repairs, "; "), "only the first 20000 fields") {
			t.Errorf("%s: %d fields, repairs %q", name, n, read.Repairs)
		}
	}
}

func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if in, err := Read(ctx, sharing(10)); in != nil || !errors.Is(err, context.Canceled) {
		t.Errorf("%v, %v", in, err)
	}
	// A step after which the context is done is the last one.
	ctx, cancel = context.WithCancel(t.Context())
	ran := 0
	step := func(b []byte) []byte { ran++; cancel(); return b }
	if _, err := steps(ctx, nil, step, step); ran != 1 || !errors.Is(err, context.Canceled) {
		t.Errorf("%d steps, %v", ran, err)
	}
}

func BenchmarkSharedLine(b *testing.B) {
	for _, n := range []int{1000, 10_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			in := sharing(n)
			b.SetBytes(int64(len(in)))
			for b.Loop() {
				if _, err := Read(b.Context(), in); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
