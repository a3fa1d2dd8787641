package summary

import (
	"bytes"
	"strings"
	"testing"
)

// Strings in one row are equal in i;unicode-casemap (RFC 5051).
func TestCasemap(t *testing.T) {
	equal := [][]string{
		{"", ""},
		{"hello", "HELLO", "hElLo"},
		{"Grüße", "GRÜßE", "Gru\u0308ße"},
		{"Å", "å", "A\u030a", "\u212b"}, // the last one is the Angstrom sign
		{"ǆ", "ǅ", "Ǆ"},
		{"Σ", "σ", "ς"},
		{"ı", "i", "I"}, // title case of the dotless i is I
		{"İ", "i\u0307"},
		{"ﾊﾝ", "ハン"}, // half width
		{"ＡＢ", "ab"}, // full width
		{"ſ", "s", "S"},
		{"한국", "한국"},
		{"\xff\xfe", "\xff\xfe"},
	}
	for _, row := range equal {
		for _, s := range row {
			if got, want := Casemap(s), Casemap(row[0]); got != want {
				t.Errorf("Casemap(%q) is %+q, want %+q", s, got, want)
			}
			if got, want := Fold(s), Fold(row[0]); !bytes.Equal(got, want) {
				t.Errorf("Fold(%q) is %+q, want %+q", s, got, want)
			}
		}
	}
	// Fold also ignores the case of characters that result from a decomposition.
	for _, row := range [][]string{{"fi", "ﬁ"}, {"Dz\u030c", "ǆ"}, {"a", "ª"}} {
		if a, b := Fold(row[0]), Fold(row[1]); !bytes.Equal(a, b) {
			t.Errorf("%+q is mapped to %+q, %+q to %+q", row[0], a, row[1], b)
		}
	}
	for _, pair := range [][2]string{{"u", "ü"}, {"a", "b"}, {"ß", "ss"}, {"ø", "o"}} {
		if bytes.Equal(Fold(pair[0]), Fold(pair[1])) || Casemap(pair[0]) == Casemap(pair[1]) {
			t.Errorf("%q and %q are equal", pair[0], pair[1])
		}
	}
}

// Characters that are mapped by a table are mapped like the others.
func TestFoldTable(t *testing.T) {
	for r := rune(0x80); r < 0xf000; r++ {
		if got, want := string(Fold(string(r))), string(appendFolded(nil, string(r))); got != want {
			t.Errorf("%U: %+q, want %+q", r, got, want)
		}
	}
}

func BenchmarkFold(b *testing.B) {
	text := []byte(strings.Repeat("Grüße aus München, Привет из Москвы, 東京からこんにちは. ", 400))
	b.SetBytes(int64(len(text)))
	var buf []byte
	for b.Loop() {
		buf = AppendFold(buf[:0], text)
	}
}

func BenchmarkToLower(b *testing.B) {
	text := []byte(strings.Repeat("Grüße aus München, Привет из Москвы, 東京からこんにちは. ", 400))
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		bytes.ToLower(text)
	}
}
