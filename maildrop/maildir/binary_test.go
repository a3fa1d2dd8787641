package maildir

import (
	"bytes"
	"io"
	"strings"
	"testing"
)

// Text after a field that announces binary data keeps its line endings, however
// the input is split.
func TestLFWriterBinary(t *testing.T) {
	const data = "\x00a\nb\r\nc\r\n"
	tests := []struct{ name, in, want string }{
		{"binary", "A: b\r\nContent-Transfer-Encoding: binary\r\n\r\n" + data, "A: b\nContent-Transfer-Encoding: binary\r\n\r\n" + data},
		{"other case and spaces", "content-transfer-ENCODING:\tBinary  \r\n\r\n" + data, "content-transfer-ENCODING:\tBinary  \r\n\r\n" + data},
		{"after LF", "X: y\nContent-Transfer-Encoding: binary\n\n" + data, "X: y\nContent-Transfer-Encoding: binary\n\n" + data},
		{"in a part", "A: b\r\n\r\n--x\r\nContent-Transfer-Encoding: binary\r\n\r\n" + data + "--x--\r\n", "A: b\n\n--x\nContent-Transfer-Encoding: binary\r\n\r\n" + data + "--x--\r\n"},
		{"8bit", "Content-Transfer-Encoding: 8bit\r\n\r\na\r\n", "Content-Transfer-Encoding: 8bit\n\na\n"},
		{"longer value", "Content-Transfer-Encoding: binary-x\r\n\r\na\r\n", "Content-Transfer-Encoding: binary-x\n\na\n"},
		{"within a line", "X-Content-Transfer-Encoding: binary\r\n\r\na\r\n", "X-Content-Transfer-Encoding: binary\n\na\n"},
		{"very long line", "Content-Transfer-Encoding: " + strings.Repeat(" ", 5000) + "x\r\na\r\n", "Content-Transfer-Encoding: " + strings.Repeat(" ", 5000) + "x\na\n"},
		{"several CRs", "Content-Transfer-Encoding: binary\r\r\na\r\n", "Content-Transfer-Encoding: binary\r\r\na\r\n"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			for size := 1; size <= len(tc.in); size++ {
				var out bytes.Buffer
				l := NewLFWriter(&out)
				for rest := tc.in; rest != ""; {
					n := min(size, len(rest))
					must(t, errOf(io.WriteString(l, rest[:n])))
					rest = rest[n:]
				}
				must(t, l.Flush())
				if out.String() != tc.want {
					t.Fatalf("in pieces of %d: %q, want %q", size, out.String(), tc.want)
				}
				if l.Size != int64(len(tc.want)) || l.Wire != WireLen([]byte(tc.want)) {
					t.Fatalf("in pieces of %d: sizes %d and %d, want %d and %d", size, l.Size, l.Wire, len(tc.want), WireLen([]byte(tc.want)))
				}
				if bare := strings.Contains(tc.want, data); l.Bare != (bare || tc.name == "after LF") {
					t.Fatalf("in pieces of %d: bare LF %v", size, l.Bare)
				}
			}
		})
	}
}

func errOf(_ int, err error) error { return err }

// With ConvertAll, binary data is also converted.
func TestLFWriterConvertAll(t *testing.T) {
	var out bytes.Buffer
	l := NewLFWriter(&out)
	l.ConvertAll()
	must(t, errOf(io.WriteString(l, "Content-Transfer-Encoding: binary\r\n\r\na\r\n")))
	must(t, l.Flush())
	if want := "Content-Transfer-Encoding: binary\n\na\n"; out.String() != want {
		t.Errorf("%q", out.String())
	}
	l.Reset(&out)
	must(t, errOf(io.WriteString(l, "Content-Transfer-Encoding: binary\r\n\r\na\r\n")))
	if !l.Binary {
		t.Error("Reset does not undo ConvertAll")
	}
}
