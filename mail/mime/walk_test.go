package mime

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
)

// show formats a tree with one line for each part: number of ancestors, type,
// and the offsets of header and body.
func show(t *Tree, msg string) string {
	var b strings.Builder
	var walk func(p *Part)
	walk = func(p *Part) {
		fmt.Fprintf(&b, "%d %s/%s %q %q lines=%d\n", p.Depth, p.Type, p.Subtype,
			msg[p.Header.From.Off:p.Header.To.Off], msg[p.Body.From.Off:p.Body.To.Off], p.Body.Lines())
		for _, c := range p.Children {
			walk(c)
		}
	}
	walk(t.Root)
	return b.String()
}

func TestWalk(t *testing.T) {
	tests := []struct {
		name, msg, want string
		notes           Notes
	}{
		{"plain", "A: b\n\nhello\n", `1 text/plain "A: b\n\n" "hello\n" lines=1`, 0},
		{"header only", "A: b\n", `1 text/plain "A: b\n" "" lines=0`, HeaderUnclosed},
		{"empty", "", `1 text/plain "" "" lines=0`, HeaderUnclosed},
		{"multipart", "Content-Type: multipart/mixed; boundary=b\n\npre\n--b\n\none\n--b\nContent-Type: text/html\n\ntwo\n\n--b--\nepi\n",
			`1 multipart/mixed "Content-Type: multipart/mixed; boundary=b\n\n" "pre\n--b\n\none\n--b\nContent-Type: text/html\n\ntwo\n\n--b--\nepi\n" lines=11
2 text/plain "\n" "one" lines=0
2 text/html "Content-Type: text/html\n\n" "two\n" lines=1`, 0},
		{"empty bodies", "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n--b\r\n\r\n\r\n--b--",
			`1 multipart/mixed "Content-Type: multipart/mixed; boundary=b\r\n\r\n" "--b\r\n\r\n--b\r\n\r\n\r\n--b--" lines=5
2 text/plain "\r\n" "" lines=0
2 text/plain "\r\n" "" lines=0`, 0},
		{"nested, the outer delimiter ends the inner multipart",
			"Content-Type: multipart/mixed; boundary=o\n\n--o\nContent-Type: multipart/alternative; boundary=oi\n\n--oi\n\nx\n--o\n\ny\n--o--\n",
			`1 multipart/mixed "Content-Type: multipart/mixed; boundary=o\n\n" "--o\nContent-Type: multipart/alternative; boundary=oi\n\n--oi\n\nx\n--o\n\ny\n--o--\n" lines=10
2 multipart/alternative "Content-Type: multipart/alternative; boundary=oi\n\n" "--oi\n\nx" lines=2
3 text/plain "\n" "x" lines=0
2 text/plain "\n" "y" lines=0`, Unclosed},
		{"message inside", "Content-Type: message/rfc822\n\nSubject: in\n\nbody",
			`1 message/rfc822 "Content-Type: message/rfc822\n\n" "Subject: in\n\nbody" lines=2
2 text/plain "Subject: in\n\n" "body" lines=0`, 0},
		{"digest", "Content-Type: multipart/digest; boundary=b\n\n--b\n\nSubject: a\n\nx\n--b--\n",
			`1 multipart/digest "Content-Type: multipart/digest; boundary=b\n\n" "--b\n\nSubject: a\n\nx\n--b--\n" lines=6
2 message/rfc822 "\n" "Subject: a\n\nx" lines=2
3 text/plain "Subject: a\n\n" "x" lines=0`, 0},
		{"a part's header without end", "Content-Type: multipart/mixed; boundary=b\n\n--b\nA: b\n--b--\n",
			`1 multipart/mixed "Content-Type: multipart/mixed; boundary=b\n\n" "--b\nA: b\n--b--\n" lines=3
2 text/plain "A: b" "" lines=0`, HeaderUnclosed},
		{"no boundary", "Content-Type: multipart/mixed\n\n--b\n\nx\n--b--\n",
			`1 multipart/mixed "Content-Type: multipart/mixed\n\n" "--b\n\nx\n--b--\n" lines=4`, NoBoundary},
		{"an encoded message is opaque", "Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\nQTogYg==\n",
			`1 message/rfc822 "Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\n" "QTogYg==\n" lines=1`, 0},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			tree := WalkBytes([]byte(tc.msg))
			if got := strings.TrimSuffix(show(tree, tc.msg), "\n"); got != tc.want {
				t.Errorf("got\n%s\nwant\n%s", got, tc.want)
			}
			if tree.Notes != tc.notes {
				t.Errorf("notes %b, want %b", tree.Notes, tc.notes)
			}
			slow, err := Walk(iotest.OneByteReader(strings.NewReader(tc.msg)))
			if err != nil || show(slow, tc.msg) != show(tree, tc.msg) {
				t.Errorf("octet by octet: %v\n%s", err, show(slow, tc.msg))
			}
		})
	}
}

func TestPreambleAndEpilogue(t *testing.T) {
	msg := "Content-Type: multipart/signed; boundary=b\r\n\r\npre\r\n--b\r\n\r\nx\r\n--b--\r\nepi"
	p := WalkBytes([]byte(msg)).Root
	if got := msg[p.Body.From.Off:p.Preamble.Off]; got != "pre\r\n" {
		t.Errorf("preamble %q", got)
	}
	if got := msg[p.Epilogue.Off:p.Body.To.Off]; got != "epi" || !p.Closed {
		t.Errorf("epilogue %q, closed %v", got, p.Closed)
	}
}

// TestWireSizes checks that sizes are those with CRLF line endings, however the
// message is stored.
func TestWireSizes(t *testing.T) {
	crlf := "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\none\r\ntwo\r\n--b\r\nContent-Type: message/rfc822\r\n\r\nA: b\r\n\r\nx\ry\r\n--b--\r\n"
	lf := strings.ReplaceAll(crlf, "\r\n", "\n")
	a, b := WalkBytes([]byte(crlf)), WalkBytes([]byte(lf))
	var cmp func(p, q *Part)
	cmp = func(p, q *Part) {
		if p.Body.Size() != q.Body.WireSize() || p.Header.Size() != q.Header.WireSize() || p.Body.From.Off != q.Body.From.Wire() || p.Body.Lines() != q.Body.Lines() {
			t.Errorf("%s/%s: %+v and %+v", p.Type, p.Subtype, p.Body, q.Body)
		}
		for i := range p.Children {
			cmp(p.Children[i], q.Children[i])
		}
	}
	cmp(a.Root, b.Root)
	if a.Size.Size() != int64(len(crlf)) || b.Size.WireSize() != int64(len(crlf)) {
		t.Errorf("sizes %d %d, want %d", a.Size.Size(), b.Size.WireSize(), len(crlf))
	}
}

func TestFind(t *testing.T) {
	nested := WalkBytes([]byte("Content-Type: multipart/mixed; boundary=b\n\n--b\n\none\n--b\nContent-Type: message/rfc822\n\n" +
		"Content-Type: multipart/alternative; boundary=c\n\n--c\n\na\n--c\nContent-Type: text/html\n\nb\n--c--\n\n--b\nContent-Type: message/rfc822\n\nA: b\n\nx\n--b--\n"))
	plain := WalkBytes([]byte("A: b\n\nx"))
	tests := []struct {
		tree *Tree
		path []int
		want string
	}{
		{nested, nil, "multipart/mixed"},
		{nested, []int{1}, "text/plain"},
		{nested, []int{1, 1}, ""},
		{nested, []int{2}, "message/rfc822"},
		{nested, []int{2, 1}, "text/plain"},
		{nested, []int{2, 2}, "text/html"},
		{nested, []int{2, 3}, ""},
		{nested, []int{3, 1}, "text/plain"},
		{nested, []int{3, 2}, ""},
		{nested, []int{3, 1, 1}, ""},
		{nested, []int{4}, ""},
		{nested, []int{0}, ""},
		{plain, []int{1}, "text/plain"},
		{plain, []int{2}, ""},
		{plain, []int{1, 1}, ""},
	}
	for _, tc := range tests {
		got := ""
		if p := tc.tree.Find(tc.path...); p != nil {
			got = p.Type + "/" + p.Subtype
		}
		if got != tc.want {
			t.Errorf("%v: got %q, want %q", tc.path, got, tc.want)
		}
	}
}

func TestReaderError(t *testing.T) {
	broken := errors.New("broken")
	tree, err := Walk(io.MultiReader(strings.NewReader("A: b\n\nhel"), iotest.ErrReader(broken)))
	if !errors.Is(err, broken) || tree.Root.Body.Size() != 3 {
		t.Errorf("%v, %+v", err, tree.Root.Body)
	}
}

// bombs returns messages designed to be expensive.
func bombs() map[string]string {
	rep := strings.Repeat
	deep := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n", i, i)
		}
		return b.String()
	}
	return map[string]string{
		"100k fields":        rep("A: b\n", 100_000) + "\nx",
		"100k folds":         "Subject: a\n" + rep(" b\n", 100_000) + "\nx",
		"1 MiB line":         "Subject: " + rep("x", 1<<20) + "\n\nx",
		"8 MiB headless":     rep("xxxxxxx\n", 1<<20),
		"8 MiB without line": rep("x", 8<<20),
		"100k addresses":     "To: " + rep("a@b.example, ", 100_000) + "\n\nx",
		"100k addresses, To": rep("To: a@b.example\n", 100_000) + "\nx",
		"50k comments":       "To: " + rep("(", 50_000) + rep(")", 50_000) + "\n\nx",
		"50k flat comments":  "To: " + rep("(a)", 50_000) + "\n\nx",
		"50k words":          "Subject: " + rep("=?utf-8?q?a?= ", 50_000) + "\n\nx",
		"50k half words":     "Subject: " + rep("=?utf-8?q?", 50_000) + "\n\nx",
		"20k 2231 sections":  "Content-Type: text/plain" + sections(20_000) + "\n\nx",
		"20k 2231 names":     "Content-Type: text/plain" + rep("; a*1*=b; c*0*=d", 10_000) + "\n\nx",
		"5k multiparts deep": deep(5000),
		"200k parts":         "Content-Type: multipart/mixed; boundary=b\n\n" + rep("--b\n\n", 200_000),
		"3k messages deep":   rep("Content-Type: message/rfc822\n\n", 3000),
		"100 kB boundary":    "Content-Type: multipart/mixed; boundary=" + rep("b", 100_000) + "\n\n--" + rep("b", 100_000) + "\n\nx",
		"delimiters":         deep(49) + rep("--b"+rep("4", 900)+"\n", 10_000),
		"quotes":             "Content-Type: text/plain; name=\"" + rep(`\"`, 500_000) + "\n\nx",
		"group":              "To: " + rep("a:", 100_000) + "\n\nx",
		"hz":                 "Subject: =?hz-gb-2312?q?~{~~{" + rep("~{", 300) + "?=\nContent-Type: text/plain; charset=hz-gb-2312\n\n~{~",
	}
}

func sections(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "; name*%d=x", n-1-i)
	}
	return b.String()
}

// TestBombs checks that each bomb is processed within the limits and yields
// valid output. More than linear time would exceed the test timeout.
func TestBombs(t *testing.T) {
	for name, msg := range bombs() {
		t.Run(name, func(t *testing.T) {
			tree := WalkBytes([]byte(msg))
			check(t, tree, int64(len(msg)))
			exercise(tree)
			if read, _ := Walk(strings.NewReader(msg)); !reflect.DeepEqual(read, tree) {
				t.Error("the tree depends on where the message is")
			}
		})
	}
}

// check verifies invariants that hold for every tree.
func check(t *testing.T, tree *Tree, size int64) {
	t.Helper()
	parts := 0
	var walk func(p *Part)
	walk = func(p *Part) {
		parts++
		for _, s := range []Span{p.Header, p.Body} {
			if s.From.Off > s.To.Off || s.To.Off > size || s.WireSize() < s.Size() || s.Lines() < 0 {
				t.Fatalf("span %+v in a message of %d", s, size)
			}
		}
		if p.Preamble.Off < p.Body.From.Off || p.Epilogue.Off > p.Body.To.Off && p.Closed && p.Epilogue.Off > size {
			t.Fatalf("preamble %+v, epilogue %+v, body %+v", p.Preamble, p.Epilogue, p.Body)
		}
		if p.Depth > MaxDepth || int64(len(p.Raw)) > p.Header.Size() {
			t.Fatalf("depth %d, %d octets of header kept of %d", p.Depth, len(p.Raw), p.Header.Size())
		}
		from := p.Body.From.Off
		for _, c := range p.Children {
			if c.Header.From.Off < from || c.Body.To.Off > p.Body.To.Off && !p.Closed {
				t.Fatalf("part %+v outside of its parent %+v", c.Header, p.Body)
			}
			from = c.Body.To.Off
			walk(c)
		}
	}
	walk(tree.Root)
	if parts != tree.Parts || parts > MaxParts {
		t.Fatalf("%d parts, %d counted", parts, tree.Parts)
	}
	if tree.Size.Size() != size {
		t.Fatalf("size %d, want %d", tree.Size.Size(), size)
	}
}

// exercise renders and decodes everything in a tree.
func exercise(tree *Tree) {
	AppendEnvelope(nil, tree.Root.Raw)
	AppendStructure(nil, tree.Root, true)
	for f := range Fields(tree.Root.Raw) {
		if f.Is("Subject") {
			DecodeWords(f.Unfolded())
		}
	}
	tree.Root.Filename()
	io.Copy(io.Discard, CharsetReader(tree.Root.Charset(), strings.NewReader("~{~~{a\xff")))
}

func FuzzWalk(f *testing.F) {
	for _, msg := range bombs() {
		if len(msg) < 20_000 {
			f.Add([]byte(msg))
		}
	}
	f.Add([]byte("Content-Type: multipart/mixed; boundary=\"b\"\r\n\r\n--b\r\n\r\nx\r\n--b--\r\n"))
	f.Add([]byte("To: \"a\" <@r:b@c>, g: d@e;, (c) f\nContent-Type: message/rfc822\n\nContent-Type: text/plain; name*0*=utf-8''%41; name*1=b\n\nx"))
	f.Fuzz(func(t *testing.T, msg []byte) {
		tree := WalkBytes(msg)
		check(t, tree, int64(len(msg)))
		exercise(tree)
		if slow, _ := Walk(iotest.HalfReader(bytes.NewReader(msg))); !reflect.DeepEqual(slow, tree) {
			t.Fatal("the tree depends on how the reader cuts the message")
		}
	})
}

func BenchmarkWalk(b *testing.B) {
	msg := []byte("Subject: x\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\n" + strings.Repeat(strings.Repeat("x", 76)+"\n", 100_000) + "--b--\n")
	b.SetBytes(int64(len(msg)))
	for b.Loop() {
		WalkBytes(msg)
	}
}
