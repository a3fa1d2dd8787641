package test

import (
	"os"
	"regexp"
	"slices"
	"testing"
)

// docs/dependencies.md lists exactly the direct dependencies of go.mod, each
// with a reason.
func TestDependencies(t *testing.T) {
	mod, err := os.ReadFile("../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := os.ReadFile("../docs/dependencies.md")
	if err != nil {
		t.Fatal(err)
	}
	names := func(pattern string, b []byte) (list []string) {
		for _, m := range regexp.MustCompile(pattern).FindAllSubmatch(b, -1) {
			list = append(list, string(m[1]))
		}
		slices.Sort(list)
		return list
	}
	want := names(`(?m)^\t(\S+) v\S+$`, mod)
	got := names("(?m)^\\| `(\\S+)` \\| \\S.* \\|$", doc)
	if len(want) == 0 || !slices.Equal(got, want) {
		t.Errorf("docs/dependencies.md has\n%v\ngo.mod has\n%v", got, want)
	}
}
