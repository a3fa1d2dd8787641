package main

import (
	"testing"

	"hoplite/internal/history"
)

// Sender and recipient of a search are patterns, as everywhere.
func TestAddressQuery(t *testing.T) {
	for _, c := range []struct {
		from, to string
		exact    bool // found by the index
		yes, no  []history.Record
	}{
		{"Ann@example.org", "", true, nil, nil},
		{"", "bob@example.net", true, nil, nil},
		{"example.org", "", false, []history.Record{{From: "ann@example.org"}}, []history.Record{{From: "ann@example.net"}, {}}},
		{"", ".example.org", false, []history.Record{{To: []string{"x@y", "ann@sub.example.org"}}}, []history.Record{{To: []string{"ann@example.org"}}, {}}},
		{"<>", "", false, []history.Record{{}}, []history.Record{{From: "ann@example.net"}}},
		{"ann@bücher.example", "", false, []history.Record{{From: "ann@xn--bcher-kva.example"}, {From: "Ann@bücher.example"}}, []history.Record{{From: "bob@bücher.example"}}},
		{"example.org", "example.net", false, []history.Record{{From: "a@example.org", To: []string{"b@example.net"}}},
			[]history.Record{{From: "a@example.org"}, {To: []string{"b@example.net"}}}},
	} {
		q, err := addressQuery(c.from, c.to)
		if err != nil || (q.Match == nil) != c.exact || c.exact && q.From+q.To == "" {
			t.Errorf("%q, %q: %+v, %v", c.from, c.to, q, err)
			continue
		}
		for i := range c.yes {
			if !q.Match(&c.yes[i]) {
				t.Errorf("%q, %q does not match %+v", c.from, c.to, c.yes[i])
			}
		}
		for i := range c.no {
			if q.Match(&c.no[i]) {
				t.Errorf("%q, %q matches %+v", c.from, c.to, c.no[i])
			}
		}
	}
	for _, bad := range []string{"a b", "ann@", "*.example.org"} {
		if _, err := addressQuery(bad, ""); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}
