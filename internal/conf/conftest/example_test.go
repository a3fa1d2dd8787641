package conftest

import (
	"testing"

	"hoplite/internal/conf"
)

func TestExample(t *testing.T) {
	type config struct {
		conf.Pos
		Name   string     `hcl:"name,label"`
		Host   string     `hcl:"host" example:"mail.example.org"`
		Max    conf.Bytes `hcl:"max"`
		Kinds  []string   `hcl:"kinds" enum:"cod|eel"`
		Open   bool       `hcl:"open,optional"`
		Inside *struct{}  `hcl:"inside,block"`
	}
	want := "host = \"mail.example.org\"\nmax = \"25MiB\"\nkinds = [\"cod\"]\n"
	if got := Example(&config{}); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	if got := Example(&struct{}{}); got != "" {
		t.Errorf("an empty struct: %q", got)
	}
}
