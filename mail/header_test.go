package mail

import (
	"bytes"
	"io"
	"strings"
	"testing"
)

// TestFieldTexts checks where a field ends, what its name is, and how its value
// is unfolded.
func TestFieldTexts(t *testing.T) {
	for _, c := range []struct {
		name, head string
		want       string // name=text of each field, separated by |
	}{
		{"one field", "Subject: hi\r\n", "Subject=hi"},
		{"no line ending", "Subject: hi", "Subject=hi"},
		{"LF alone", "Subject: hi\nTo: x\n\nbody: y\n", "Subject=hi|To=x"},
		{"CR CR LF ends the header", "A: 1\r\n\r\r\nB: 2\r\n", "A=1"},
		{"a fold with a tab", "A: 1\r\n\t2\r\n", "A=1\t2"},
		{"a fold in the middle of a word keeps its space", "A: ab\r\n cd\r\n", "A=ab cd"},
		{"a fold of white space alone", "A: 1\r\n \r\n 2\r\nB: 3\r\n", "A=1  2|B=3"},
		{"a value that starts on the next line", "A:\r\n 1\r\n", "A=1"},
		{"an empty value", "A:\r\nB: 2\r\n", "A=|B=2"},
		{"colons in the value", "Date: Tue, 12 May 2026 08:30:00 +0000\r\n", "Date=Tue, 12 May 2026 08:30:00 +0000"},
		{"a space before the colon (RFC 5322, 4.5)", "Subject : hi\r\n", "Subject=hi"},
		{"a tab before the colon", "Subject\t: hi\r\n", "Subject=hi"},
		{"a space in the name", "Not A Field: hi\r\nB: 2\r\n", "=|B=2"},
		{"no name", ": hi\r\nB: 2\r\n", "=|B=2"},
		{"an octet above 127 in the name", "S\xfcbject: hi\r\n", "="},
		{"a control character in the name", "Sub\x00ject: hi\r\n", "="},
		{"UTF-8 in the value (RFC 6532)", "Subject: grüße\r\n", "Subject=grüße"},
		{"odd but valid characters in the name", "X-*!'%/=~_^: 1\r\n", "X-*!'%/=~_^=1"},
		{"a leading fold is no field", " x: y\r\nB: 2\r\n", "=|B=2"},
		{"an mbox line", "From ann Thu Jan  1 00:00:00 2026\r\nA: 1\r\n", "=|A=1"},
		{"an empty line first", "\r\nA: 1\r\n", ""},
		{"nothing", "", ""},
	} {
		var got []string
		at := int64(0)
		for f := range Fields([]byte(c.head)) {
			got = append(got, f.Name+"="+f.Text())
			if f.Start != at || f.End-f.Start != int64(len(f.Raw)) || string(f.Raw) != c.head[f.Start:f.End] {
				t.Errorf("%s: field %q is at %d to %d", c.name, f.Raw, f.Start, f.End)
			}
			at = f.End
			if f.Name != "" && !f.Is(strings.ToUpper(f.Name)) {
				t.Errorf("%s: %q is not found in upper case", c.name, f.Name)
			}
		}
		if s := strings.Join(got, "|"); s != c.want {
			t.Errorf("%s: got %q, want %q", c.name, s, c.want)
		}
	}
	for f := range Fields([]byte("no field\r\n")) {
		if f.Value() != nil || f.Text() != "" {
			t.Errorf("a line that is no field has the value %q", f.Value())
		}
	}
	for range Fields([]byte("A: 1\r\nB: 2\r\n")) {
		break // the caller may stop
	}
}

// TestPatchedReads reads every range of content whose beginning was replaced,
// because readers of parts start in the middle.
func TestPatchedReads(t *testing.T) {
	const base = "0123456789"
	for _, c := range []struct {
		front string
		skip  int64
		want  string
	}{
		{"", 0, base}, {"ab", 0, "ab" + base}, {"ab", 3, "ab3456789"}, {"", 10, ""}, {"abc", 10, "abc"},
	} {
		for _, content := range []Content{patched(Bytes(base), []byte(c.front), c.skip), patched(onDisk{bytes.NewReader([]byte(base))}, []byte(c.front), c.skip)} {
			if content.Size() != int64(len(c.want)) {
				t.Errorf("%q, %d: size %d, want %d", c.front, c.skip, content.Size(), len(c.want))
			}
			for from := range len(c.want) + 1 {
				for to := from; to <= len(c.want); to++ {
					b := make([]byte, to-from)
					n, err := content.ReadAt(b, int64(from))
					if n != len(b) || string(b) != c.want[from:to] || err != nil && err != io.EOF {
						t.Errorf("%q, %d: read %d to %d: %q, %v", c.front, c.skip, from, to, b[:n], err)
					}
				}
				if w, ok := content.(copier); ok {
					var out strings.Builder
					if n, err := w.CopyTo(&out, int64(from)); out.String() != c.want[from:] || err != nil || n != int64(out.Len()) {
						t.Errorf("%q, %d: copy from %d: %q (%d, %v)", c.front, c.skip, from, out.String(), n, err)
					}
				}
			}
			if n, err := content.ReadAt(make([]byte, 1), int64(len(c.want))); n != 0 || err != io.EOF {
				t.Errorf("%q, %d: after the end: %d, %v", c.front, c.skip, n, err)
			}
			if _, err := content.ReadAt(make([]byte, 1), -1); err == nil {
				t.Errorf("%q, %d: before the start: no error", c.front, c.skip)
			}
		}
	}
}
