//go:build interop

package mime

import (
	"encoding/json"
	"maps"
	"math/rand/v2"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/emersion/go-message/mail"
)

// python parses From fields with both of Python's parsers and prints the
// addresses.
const python = `
import sys, json, email.utils, email.policy
from email.parser import Parser
out = []
for v in json.load(sys.stdin):
    found = [a for _, a in email.utils.getaddresses([v], strict=False)] if sys.version_info >= (3, 13) else [a for _, a in email.utils.getaddresses([v])]
    try:
        h = email.policy.default.header_factory("from", v)
        found += [a.addr_spec for a in h.addresses]
    except Exception:
        pass
    out.append(found)
json.dump(out, sys.stdout)
`

// ask returns the addresses that Python finds in each field.
func ask(t *testing.T, fields []string) [][]string {
	t.Helper()
	in, err := json.Marshal(fields)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("python3", "-c", python)
	cmd.Stdin = strings.NewReader(string(in))
	text, err := cmd.Output()
	if err != nil {
		t.Skipf("python3 does not run: %v", err)
	}
	var found [][]string
	if err := json.Unmarshal(text, &found); err != nil {
		t.Fatal(err)
	}
	return found
}

// goMessage returns the addresses that go-message finds in a field.
func goMessage(v string) (found []string) {
	var h mail.Header
	h.Set("From", v)
	list, err := h.AddressList("From")
	if err != nil {
		return nil
	}
	for _, a := range list {
		found = append(found, a.Address)
	}
	return found
}

// validField generates a From field that follows the grammar.
func validField(r *rand.Rand) string {
	pick := func(list ...string) string { return list[r.IntN(len(list))] }
	mailbox := func() string {
		spec := pick("ann", "a.b", `"odd local"`, `"a@b"`, "a+b", "J\u00f6rg") + pick("@", " @ ", "@", "@") +
			pick("example.org", "Mail.Example.ORG", "b\u00fccher.example", "[192.0.2.1]", "[IPv6:2001:db8::1]", "localhost")
		name := pick("", "Ann", `"Ann, Chen"`, `"ceo@bank.example"`, "Ann B. Chen", "=?utf-8?q?Ann_=40?=", "(comment)", "Gr\u00fc\u00dfe")
		if name == "" && r.IntN(2) == 0 {
			return spec + pick("", " (comment)", " (x@y.example)")
		}
		return name + " <" + spec + ">"
	}
	switch r.IntN(6) {
	case 0:
		return "friends: " + mailbox() + ", " + mailbox() + ";"
	case 1:
		return mailbox() + "," + pick("", " ") + mailbox()
	case 2:
		return "undisclosed:;"
	}
	return mailbox()
}

// domains returns the set of domains in addresses, in lower case.
func domains(addresses []string) string {
	var list []string
	for _, a := range addresses {
		at := strings.LastIndexByte(a, '@')
		if d := strings.ToLower(strings.Trim(a[at+1:], ". \\:;,>\t")); at >= 0 && d != "" {
			list = append(list, d)
		}
	}
	slices.Sort(list)
	return strings.Join(slices.Compact(list), " ")
}

// subset reports whether every domain of a is in b.
func subset(a, b string) bool {
	known := strings.Fields(b)
	return !slices.ContainsFunc(strings.Fields(a), func(d string) bool { return !slices.Contains(known, d) })
}

// difference returns the reason why another parser finds other domains in a
// field, or "" if the reason is unknown.
func difference(v string, exact bool, ours, theirs string) string {
	switch {
	case ours == theirs:
		return "none"
	case exact && theirs == "" && strings.ContainsAny(v, "[\u00f6\u00fc\u00df"):
		return "valid, and refused by the other: address literals, or UTF-8 without SMTPUTF8"
	case exact && theirs == "" && strings.Contains(v, " @ "):
		return "valid, and refused by the other: white space around @"
	case exact && subset(theirs, ours) && strings.Contains(v, ":"):
		return "valid, and partly read by the other: a group"
	case exact && theirs == "":
		return "valid, and refused by the other: a group, or a comment where it is rare"
	case !exact && theirs == "":
		return "malformed, and refused by the other"
	case !exact && subset(theirs, ours):
		return "malformed: the other picks one reading, all of them count"
	case !exact && strings.ContainsAny(theirs, "[]()<>\"@=?:\\"):
		return "malformed: the other takes punctuation for a part of the domain"
	}
	return ""
}

// TestInteropDifferences compares 10,000 fields with Python and go-message.
// Every difference must have a known reason, and for valid fields, no other
// parser may find a domain that Identities misses.
func TestInteropDifferences(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	fields := make([]string, 10_000)
	for i := range fields {
		if fields[i] = fromField(r); i%2 == 0 {
			fields[i] = validField(r)
		}
	}
	python := ask(t, fields)
	count := map[string]int{}
	for i, v := range fields {
		list, exact := Identities(v)
		var own []string
		for _, a := range list {
			own = append(own, a.Local+"@"+a.Domain)
		}
		if i%2 == 0 && !exact {
			t.Errorf("%q is valid, and not read as such", v)
		}
		for by, theirs := range map[string][]string{"Python": python[i], "go-message": goMessage(v)} {
			why := difference(v, exact, domains(own), domains(theirs))
			if why == "" {
				t.Errorf("%s in %q: %s; ours %s, exact %v", by, v, domains(theirs), domains(own), exact)
			}
			count[by+": "+why]++
		}
	}
	for _, line := range slices.Sorted(maps.Keys(count)) {
		t.Logf("%6d  %s", count[line], line)
	}
}

// TestInteropIdentities checks that Python finds no domain that Identities
// misses.
func TestInteropIdentities(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	var fields []string
	for range 10_000 {
		fields = append(fields, fromField(r))
	}
	found := ask(t, fields)
	for i, addrs := range found {
		list, exact := Identities(fields[i])
		known := map[string]bool{}
		for _, a := range list {
			known[strings.ToLower(a.Domain)] = true
		}
		for _, a := range addrs {
			at := strings.LastIndexByte(a, '@')
			d := strings.ToLower(strings.Trim(a[at+1:], ". \\:;,"))
			if at < 0 || !strings.Contains(d, ".") || strings.ContainsAny(d, "[]()<>\" \t@=?:\\") || known[d] {
				continue
			}
			t.Errorf("Python finds %s in %q; Identities: %v, exact %v", a, fields[i], list, exact)
		}
	}
}
