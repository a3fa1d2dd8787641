package state

import (
	"strings"
	"testing"
	"time"

	"hoplite/internal/directory"
	"hoplite/internal/outage"
	"hoplite/internal/users"
	"hoplite/relay/forward"
)

// TestProblemsAtTheirLimits checks each problem one step before and after it
// begins: a status that warns too early is soon ignored.
func TestProblemsAtTheirLimits(t *testing.T) {
	const day = 24 * time.Hour
	certificate := func(left time.Duration) Status {
		return Status{Certificates: []Certificate{{Names: []string{"mail.example.org", "example.org"}, Expires: now.Add(left)}}}
	}
	failing := outage.Outage{Since: now.Add(-5 * time.Minute), Reason: "connection refused"}
	server := func(down time.Duration) forward.ServerHealth {
		return forward.ServerHealth{Server: "a", Down: now.Add(-down), Reason: "timeout after " + Span(down)}
	}
	for _, c := range []struct {
		name string
		s    Status
		want string // the only problem
	}{
		{"a certificate with two weeks left", certificate(14 * day), ""},
		{"one with a second less", certificate(14*day - time.Second), "the certificate for mail.example.org, example.org expires in 13 days"},
		{"one in its last day", certificate(time.Hour), "the certificate for mail.example.org, example.org expires in 0 days"},
		{"one that ended a second ago", certificate(-time.Second), "the certificate for mail.example.org, example.org expired on 2026-06-15"},
		{"a self-signed one that was not renewed", Status{Certificates: []Certificate{{Names: []string{"localhost"}, SelfSigned: true, Expires: now.Add(-day)}}},
			"the certificate for localhost expired on 2026-06-14"},
		{"as much space as is reserved", Status{Disk: Disk{Free: 100 << 20, Reserve: 100 << 20}}, ""},
		{"an octet less", Status{Disk: Disk{Free: 100<<20 - 1, Reserve: 100 << 20}}, "the disk is full"},
		{"no reserve", Status{Disk: Disk{}}, ""},
		{"a directory that answers", Status{Directories: []Directory{{Name: "ad"}}}, ""},
		{"a directory that does not", Status{Directories: []Directory{{Name: "ad", Health: directory.Health{Outage: failing}}}}, "directory ad cannot be asked for 5m: connection refused"},
		{"a password server that answers", Status{Accounts: []Accounts{{Domain: "example.org"}}}, ""},
		{"a password server that does not", Status{Accounts: []Accounts{{Domain: "example.org", Outage: failing}}}, "passwords of example.org cannot be checked for 5m: connection refused"},
		{"an OpenID provider that does not", Status{Accounts: []Accounts{{Domain: "example.org", Issuer: "https://idp", Outage: failing}}}, "access tokens of example.org cannot be checked for 5m: connection refused"},
		{"an upstream is down since its last server is", Status{Upstreams: []Upstream{NewUpstream("mx", "queue", forward.Health{Servers: []forward.ServerHealth{server(3 * time.Hour), server(time.Minute)}})}},
			"upstream mx is down for 1m: timeout after 1m"},
		{"an upstream that accepts every recipient of two domains", Status{Upstreams: []Upstream{NewUpstream("old", "auto", forward.Health{AcceptsAll: []string{"a.example", "b.example"}})}},
			"upstream old accepts every recipient of a.example, b.example"},
	} {
		c.s.Examine(now)
		if c.want == "" && len(c.s.Problems) > 0 || c.want != "" && (len(c.s.Problems) != 1 || !strings.HasPrefix(c.s.Problems[0], c.want)) {
			t.Errorf("%s: %q, want %q", c.name, c.s.Problems, c.want)
		}
	}
	s := Status{Started: now.Add(-90 * time.Second), Problems: []string{"of an earlier examination"}}
	if s.Examine(now); len(s.Problems) != 0 || s.Problems == nil || s.UptimeS != 90 {
		t.Errorf("%q after %d s", s.Problems, s.UptimeS)
	}
}

// TestBlocksOnATerminal checks that the name of a block, which a client chose,
// cannot change the terminal or fill the screen.
func TestBlocksOnATerminal(t *testing.T) {
	for _, c := range []struct {
		name  string
		block users.Block
		want  string
	}{
		{"refused", users.Block{Account: "ann@example.org", Failures: 12, Until: now.Add(32 * time.Second), Refused: true}, "ann@example.org  12 failures, refused for 32s"},
		{"delayed", users.Block{Account: "ann@example.org", Failures: 3, Until: now.Add(time.Minute)}, "ann@example.org  3 failures, next attempt delayed for 1m"},
		{"about to end", users.Block{Account: "ann@example.org", Failures: 3, Until: now.Add(time.Millisecond)}, "for 1s"},
		{"over", users.Block{Account: "ann@example.org", Failures: 3, Until: now.Add(-time.Hour)}, "for 1s"},
		{"an escape sequence", users.Block{Account: "\x1b[2J@example.org", Failures: 1}, "@example.org  1 failures"},
		{"a long name", users.Block{Account: strings.Repeat("x", 500), Failures: 1}, "xxxx"},
	} {
		var out strings.Builder
		PrintBlocks(&out, "  ", []users.Block{c.block}, now)
		if got := out.String(); !strings.HasPrefix(got, "  ") || !strings.Contains(got, c.want) || strings.Contains(got, "\x1b") || len(got) > 120 || strings.Count(got, "\n") != 1 {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}
