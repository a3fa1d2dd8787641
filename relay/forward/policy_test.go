package forward

import (
	"strings"
	"testing"
	"time"

	"hoplite/mail"
)

func TestPoliciesFor(t *testing.T) {
	blocks := []*PolicyConfig{
		{Name: "example.net", TLS: "verify"},
		{Name: "Ann@Example.net", TLS: "require"},
		{Name: ".example.net", TLS: "require"},
		{Name: ".a.example.net", TLS: "verify"},
		{Name: "bücher.example", TLS: "verify"},
		{Name: "old.example", TLS: "off", Until: "2027-03-31"},
		{Name: ".example", TLS: "require"},
	}
	p := NewPolicies(blocks)
	lastDay := time.Date(2027, 3, 31, 23, 59, 0, 0, time.Local)
	for _, tt := range []struct {
		to   mail.Address
		now  time.Time
		want int // index of the block, -1 for none
	}{
		{"bob@example.net", lastDay, 0},
		{"ann@example.net", lastDay, 1},
		{"bob@EXAMPLE.net", lastDay, 0},
		{"bob@mx.example.net", lastDay, 2},
		{"bob@mx.a.example.net", lastDay, 3},
		{"bob@xn--bcher-kva.example", lastDay, 4},
		{"bob@old.example", lastDay, 5},
		{"bob@old.example", lastDay.Add(time.Minute), 6}, // the block for old.example has ended
		{"bob@notexample.net", lastDay, -1},
		{"bob@example", lastDay, -1},
		{"bob@example.org", lastDay, -1},
	} {
		var want *PolicyConfig
		if tt.want >= 0 {
			want = blocks[tt.want]
		}
		if got := p.For(tt.to, tt.now); got != want {
			t.Errorf("%s: %v, want %v", tt.to, got, want)
		}
	}
	if got := Policies(nil).For("bob@example.net", lastDay); got != nil {
		t.Errorf("no policies: %v", got)
	}
}

func TestPolicyCheck(t *testing.T) {
	for _, tt := range []struct {
		c    PolicyConfig
		want string
	}{
		{PolicyConfig{Name: "example.net", TLS: "verify"}, ""},
		{PolicyConfig{Name: "ann@example.net", TLS: "require"}, ""},
		{PolicyConfig{Name: ".example.net", TLS: "off", Until: "2027-03-31"}, ""},
		{PolicyConfig{Name: "example.net", TLS: "off"}, "weakens the protection and needs a last day"},
		{PolicyConfig{Name: "example.net", TLS: "may"}, "weakens the protection and needs a last day"},
		{PolicyConfig{Name: "example.net", TLS: "may", Until: "31.3.2027"}, "is not a day such as 2027-03-31"},
		{PolicyConfig{Name: "*.example.net", TLS: "verify"}, `pattern "*.example.net"`},
		{PolicyConfig{Name: "local", TLS: "verify"}, "has no destination"},
		{PolicyConfig{Name: "<>", TLS: "verify"}, "has no destination"},
	} {
		err := tt.c.Check()
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%+v: %v, want %q", tt.c, err, tt.want)
		}
	}
}

// A permanent policy only raises a requirement; a temporary one replaces it.
func TestWithPolicy(t *testing.T) {
	strict, lax := requirement{least: verified, startTLS: true, sts: true}, requirement{startTLS: true}
	for _, tt := range []struct {
		from       requirement
		tls, until string
		want       requirement
	}{
		{lax, "verify", "", requirement{least: verified, startTLS: true, policy: `required by policy "x.example"`}},
		{lax, "require", "", requirement{least: encrypted, startTLS: true, policy: `required by policy "x.example"`}},
		{requirement{}, "require", "", requirement{least: encrypted, startTLS: true, policy: `required by policy "x.example"`}},
		{strict, "require", "", strict},
		{strict, "verify", "", strict},
		{strict, "require", "2027-03-31", requirement{least: encrypted, startTLS: true, policy: `allowed by policy "x.example" until 2027-03-31`, weakened: true}},
		{strict, "off", "2027-03-31", requirement{policy: `allowed by policy "x.example" until 2027-03-31`, weakened: true}},
	} {
		if got := tt.from.withPolicy(&PolicyConfig{Name: "x.example", TLS: tt.tls, Until: tt.until}); got != tt.want {
			t.Errorf("%+v with %s %s: %+v, want %+v", tt.from, tt.tls, tt.until, got, tt.want)
		}
	}
}
