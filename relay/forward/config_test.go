package forward

import (
	"strings"
	"testing"

	"hoplite/internal/conf"
)

func TestRecipientsAttribute(t *testing.T) {
	for _, c := range []struct{ value, want string }{
		{"call-ahead", ""},
		{"any", ""},
		{"file:people", ""},
		{"file:", `recipients: "file:" lacks the name of the file`},
		{"people", `did you mean "file:people"?`},
		{"callahead", `did you mean "call-ahead"?`},
	} {
		f := conf.Parse("relay.hcl", []byte("servers = [\"smtp://192.0.2.1\"]\nrecipients = \""+c.value+"\"\n"))
		var cfg Config
		f.Decode(&cfg)
		switch err := f.Diags.Err(); {
		case err == nil && c.want != "":
			t.Errorf("%q is accepted", c.value)
		case err != nil && (c.want == "" || !strings.Contains(strings.Join(strings.Fields(err.Error()), " "), c.want) || !strings.Contains(err.Error(), "relay.hcl:2:")):
			t.Errorf("%q: %v; want %q", c.value, err, c.want)
		}
		if name, ok := cfg.RecipientsFile(); c.want == "" && (ok != strings.HasPrefix(c.value, "file:") || ok && name != "people") {
			t.Errorf("%q: file %q, %v", c.value, name, ok)
		}
	}
}
