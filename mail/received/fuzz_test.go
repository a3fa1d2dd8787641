package received

import "testing"

// FuzzParse checks that every input is accepted, and that the positions of all
// parts lie inside the text.
func FuzzParse(f *testing.F) {
	for _, c := range saTable(f) {
		f.Add([]byte(c.Header))
	}
	f.Add([]byte("from ((((((((((a)))) by \"x;[<; Tue, 99 Foo 2026 25:61:61 +9999"))
	f.Fuzz(func(t *testing.T, value []byte) {
		h := Parse(value)
		for _, part := range Parts() {
			if s, ok := h.Span(part); ok && (s.Start < 0 || s.End > len(h.Raw)) {
				t.Fatalf("%s stands at %v of %d bytes", part, s, len(h.Raw))
			}
		}
		h.JSON()
		h.Announced()
	})
}

// FuzzDate checks that every accepted date is a time that Go can represent.
func FuzzDate(f *testing.F) {
	for _, s := range []string{"Tue, 12 May 2026 08:30:06 +0000 (UTC)", "Tue May 12 08:30:02 2026", "2024-03-15 10:30:00.123456789 +0000 UTC m=+1.2",
		"12 May 26 8:30 EDT", "05/12/2026 08:30:00 AM", "Mon, 1 Jan 2020 00:00:00 GMT+0200"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		st, end, _, ok := readDate(s, 0)
		if end > len(s) {
			t.Fatalf("read %d of %d bytes", end, len(s))
		}
		if ok && st.Time().Unix() != st.Unix {
			t.Fatalf("%q: %v is not %d", s, st.Time(), st.Unix)
		}
	})
}
