package mime

import (
	"math/rand/v2"
	netmail "net/mail"
	"strings"
	"testing"

	"github.com/emersion/go-message/mail"
)

func identities(v string) string {
	list, exact := Identities(v)
	out := map[bool]string{true: "exact", false: "malformed"}[exact]
	for _, a := range list {
		out += " " + a.Local + "@" + a.Domain
	}
	return out
}

func TestIdentities(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"ann@example.org", "exact ann@example.org"},
		{" (c) ann (d) @ (e) example.org (f) ", "exact ann@example.org"},
		{"Ann <ann@example.org>", "exact ann@example.org"},
		{"<ann@example.org>", "exact ann@example.org"},
		{"Ann B. Chen <ann@example.org>", "exact ann@example.org"},
		{"=?utf-8?q?Ann_=40_home?= <ann@example.org>", "exact ann@example.org"},
		{`"ceo@bank.example" <ann@example.org>`, "exact ann@example.org"},
		{`"a \" <x@y.example>" <ann@example.org>`, "exact ann@example.org"},
		{"ann@example.org (ceo@bank.example)", "exact ann@example.org"},
		{`"odd local"@example.org`, "exact odd local@example.org"},
		{"ann@[192.0.2.1]", "exact ann@[192.0.2.1]"},
		{"Grüße <ann@bücher.example>", "exact ann@bücher.example"},
		{"a@x.example, B <b@y.example>", "exact a@x.example b@y.example"},
		{"friends: a@x.example, B <b@y.example>;", "exact a@x.example b@y.example"},
		{"nobody:;", "exact"},
		{"ann@localhost", "exact ann@localhost"},

		{"", "malformed"},
		{"ann", "malformed"},
		{"Ann <ann>", "malformed"},
		{"a@evil.example <ceo@bank.example>", "malformed a@evil.example ceo@bank.example"},
		{"<a@evil.example> <ceo@bank.example>", "malformed a@evil.example ceo@bank.example"},
		{"a@evil.example (c) <ceo@bank.example>", "malformed a@evil.example ceo@bank.example"},
		{"<a@evil.example:ceo@bank.example>", "malformed a@evil.example ceo@bank.example"},
		{"<@evil.example:ceo@bank.example>", "malformed ceo@bank.example @evil.example"},
		{"a@[192.0.2.66] <ceo@bank.example>", "malformed a@[192.0.2.66] ceo@bank.example"},
		{"a@evil.example ceo@bank.example", "malformed a@evil.example ceo@bank.example"},
		{"a@evil.example;ceo@bank.example", "malformed a@evil.example ceo@bank.example"},
		{"a@evil.example,,ceo@bank.example", "malformed a@evil.example ceo@bank.example"},
		{"a@evil.example (<ceo@bank.example>", "malformed a@evil.example ceo@bank.example"},
		{`"a@evil.example <ceo@bank.example>`, "malformed a@evil.example ceo@bank.example"},
		{"a@evil.example@bank.example", "malformed a@evil.example evil.example@bank.example"},
		{"ceo@bank.example\x00a@evil.example", "malformed ceo@bank.example"},
		{"a@evil.example <ceo@ bank (x) . example>", "malformed a@evil.example ceo@bank.example"},
		{"=?utf-8?q?ceo=40bank.example?=", "malformed ceo@bank.example"},
		{"ann@=?utf-8?q?bank.example?=", "malformed ann@bank.example"},
		{"Team @ Home <ann@example.org>", "malformed ann@example.org Team@Home"},
		{"ann@example.org.", "malformed ann@example.org"},
	} {
		got := identities(c.in)
		exact, _, _ := strings.Cut(c.want, " ")
		if !strings.HasPrefix(got, exact) {
			t.Errorf("%q: %s, want %s", c.in, got, c.want)
		}
		for _, want := range strings.Fields(c.want)[1:] {
			if !strings.Contains(got, want) && !strings.Contains(c.want, "odd local") {
				t.Errorf("%q: %s, want %s", c.in, got, c.want)
			}
		}
		if exact == "exact" && got != c.want {
			t.Errorf("%q: %s, want %s", c.in, got, c.want)
		}
	}
	list, exact := Identities(strings.Repeat("a@x.example,", 200))
	if exact || len(list) > maxIdentities {
		t.Errorf("%d addresses, exact %v", len(list), exact)
	}
}

// fromField generates a random From field that nearly follows the grammar.
func fromField(r *rand.Rand) string {
	pieces := []string{"a@evil.example", "ceo@bank.example", "<", ">", "<ceo@bank.example>", "<a@evil.example>", "Ann", `"Ann"`, `"a@b.example"`, "(c)", "(x@y.example)",
		",", ";", ":", "@", ".", " ", `"`, "(", ")", `\`, "[192.0.2.1]", "=?utf-8?q?a=40b.example?=", "evil.example", "\t", "x"}
	var b strings.Builder
	for range 1 + r.IntN(8) {
		b.WriteString(pieces[r.IntN(len(pieces))])
	}
	return b.String()
}

// TestIdentitiesAgainstOthers checks that no other parser finds a domain that
// Identities misses.
func TestIdentitiesAgainstOthers(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 10_000 {
		v := fromField(r)
		list, exact := Identities(v)
		known := map[string]bool{}
		for _, a := range list {
			known[strings.ToLower(a.Domain)] = true
		}
		others := map[string][]string{}
		for _, a := range ParseAddresses(v) {
			if a.Kind == Mailbox && a.Local != "" {
				others["ParseAddresses"] = append(others["ParseAddresses"], a.Domain)
			}
		}
		var h mail.Header
		h.SetText("From", "x")
		h.Set("From", v)
		if as, err := h.AddressList("From"); err == nil {
			for _, a := range as {
				others["go-message"] = append(others["go-message"], a.Address[strings.LastIndexByte(a.Address, '@')+1:])
			}
		}
		if as, err := netmail.ParseAddressList(v); err == nil {
			for _, a := range as {
				others["net/mail"] = append(others["net/mail"], a.Address[strings.LastIndexByte(a.Address, '@')+1:])
			}
		}
		for by, domains := range others {
			for _, d := range domains {
				if d = strings.Trim(d, `.\`); strings.Contains(d, ".") && !strings.HasPrefix(d, "[") && !known[strings.ToLower(d)] {
					t.Fatalf("%s finds %s in %q; Identities: %v, exact %v", by, d, v, list, exact)
				}
			}
		}
	}
}

func FuzzIdentities(f *testing.F) {
	for _, v := range []string{"Ann <ann@example.org>", `"a"@"\`, "a@evil.example <ceo@bank.example>", "g: a@b, <c@d>;", "(\\"} {
		f.Add(v)
	}
	f.Fuzz(func(t *testing.T, v string) {
		list, exact := Identities(v)
		for _, a := range list {
			if exact && (a.Local == "" && !strings.Contains(v, `""`) || a.Domain == "") {
				t.Fatalf("%q: %+v", v, a)
			}
		}
	})
}
