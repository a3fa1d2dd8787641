package command

import (
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// --json prints one array and --json=lines prints one object per line, even if
// the list is empty.
func TestJSON(t *testing.T) {
	type item struct {
		Name string `json:"name"`
	}
	two := []item{{"a"}, {"<b>"}}
	for _, c := range []struct {
		flag string
		list []item
		want string
	}{
		{"--json", two, "[\n  {\n    \"name\": \"a\"\n  },\n  {\n    \"name\": \"<b>\"\n  }\n]\n"},
		{"--json", nil, "[]\n"},
		{"--json=true", nil, "[]\n"},
		{"--json=lines", two, "{\"name\":\"a\"}\n{\"name\":\"<b>\"}\n"},
		{"--json=lines", nil, ""},
	} {
		flags := pflag.NewFlagSet("", pflag.ContinueOnError)
		j := JSONFlag(flags)
		if j.On() {
			t.Error("on without the flag")
		}
		if err := flags.Parse([]string{c.flag}); err != nil || !j.On() {
			t.Fatalf("%s: %v", c.flag, err)
		}
		var out strings.Builder
		if err := List(&out, j, c.list); err != nil || out.String() != c.want {
			t.Errorf("%s of %v: %q, %v, want %q", c.flag, c.list, &out, err, c.want)
		}
	}
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	j := JSONFlag(flags)
	if err := flags.Parse([]string{"--json=yaml"}); err == nil || !strings.Contains(err.Error(), "--json=lines") {
		t.Errorf("--json=yaml: %v", err)
	}
	if err := flags.Parse([]string{"--json=false"}); err != nil || j.On() {
		t.Errorf("--json=false: %v", err)
	}
	var one strings.Builder
	if err := (&JSON{"lines"}).One(&one, two[0]); err != nil || one.String() != "{\"name\":\"a\"}\n" {
		t.Errorf("%q, %v", &one, err)
	}
}
