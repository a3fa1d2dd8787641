//go:build interop

package mime

import (
	"encoding/json"
	"math/rand/v2"
	"os/exec"
	"strings"
	"testing"
)

// python reads From fields with both of its parsers and returns the addresses.
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

// Python finds no domain that Identities does not know.
func TestInteropIdentities(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	var fields []string
	for range 10_000 {
		fields = append(fields, fromField(r))
	}
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
