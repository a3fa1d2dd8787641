package received

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
)

// TestShapes parses one line in each format that servers write.
func TestShapes(t *testing.T) {
	raw, err := os.ReadFile("testdata/shapes.txt")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, para := range strings.Split(string(raw), "\n\n")[1:] {
		lines := strings.Split(strings.TrimSpace(para), "\n")
		h := Parse([]byte(lines[0]))
		js, err := json.Marshal(h.JSON())
		if err != nil {
			t.Fatal(err)
		}
		var got map[string]any
		if err := json.Unmarshal(js, &got); err != nil {
			t.Fatal(err)
		}
		for _, l := range lines[1:] {
			name, want, _ := strings.Cut(l, "=")
			name, want = strings.TrimSpace(name), strings.TrimSpace(want)
			value, _ := got[name].(string)
			if name == "defects" {
				value = strings.Join(h.Defects.List(), ",")
			}
			if value != want {
				t.Errorf("%s: got %q, want %q\n\t%s", name, value, want, lines[0])
			}
			for _, f := range Parts() { // the span contains the value
				if s, ok := h.Span(f); ok && f.String() == name && f != PartDate && f != PartMTA && f != PartAuth && !strings.Contains(h.Raw[s.Start:s.End], value) {
					t.Errorf("%s: %q is said to stand at %q", name, value, h.Raw[s.Start:s.End])
				}
			}
			n++
		}
	}
	if n < 150 {
		t.Fatalf("only %d values were looked at", n)
	}
}
