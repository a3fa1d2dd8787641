package alias

import (
	"fmt"
	"strings"
	"testing"
)

func TestEach(t *testing.T) {
	table, err := Parse(strings.NewReader("z@example.org a, b\n# x\na@example.org\n c\n"), "aliases")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	add := func(pattern string, to []string, line int) { got = append(got, fmt.Sprint(pattern, to, line)) }
	(*Table)(nil).Each(add)
	table.Each(add)
	if want := "z@example.org[a b] 1 a@example.org[c] 3"; strings.Join(got, " ") != want {
		t.Errorf("%q, want %q", got, want)
	}
}
