package state

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"hoplite/internal/users"
	"hoplite/relay/forward"
	"hoplite/relay/queue"
)

var now = time.Date(2026, 6, 15, 12, 0, 0, 0, time.UTC)

func TestExamine(t *testing.T) {
	down := forward.Health{Check: "call-ahead", Servers: []forward.ServerHealth{{Server: "a", Down: now.Add(-2 * time.Hour), Reason: "connect: connection refused"}}}
	half := forward.Health{Check: "call-ahead", Servers: append(slices.Clone(down.Servers), forward.ServerHealth{Server: "b"})}
	for _, c := range []struct {
		name string
		s    Status
		want string // the only problem
	}{
		{"nothing", Status{}, ""},
		{"a reload that succeeded", Status{Reload: &Reload{}}, ""},
		{"a reload that failed", Status{Reload: &Reload{Error: "x"}}, "the last reload failed"},
		{"an upstream that is down", Status{Upstreams: []Upstream{NewUpstream("old", "auto", down)}}, "upstream old is down for 2h: connect: connection refused"},
		{"one of two servers", Status{Upstreams: []Upstream{NewUpstream("old", "auto", half)}}, ""},
		{"no connection yet", Status{Upstreams: []Upstream{NewUpstream("old", "auto", forward.Health{})}}, ""},
		{"accepts every recipient", Status{Upstreams: []Upstream{NewUpstream("old", "auto", forward.Health{AcceptsAll: []string{"example.org"}})}}, "upstream old accepts every recipient of example.org"},
		{"a certificate near its end", Status{Certificates: []Certificate{{Names: []string{"mail.example.org"}, Expires: now.Add(13 * 24 * time.Hour)}}}, "the certificate for mail.example.org expires in 13 days"},
		{"a certificate with time left", Status{Certificates: []Certificate{{Names: []string{"mail.example.org"}, Expires: now.Add(15 * 24 * time.Hour)}}}, ""},
		{"the server's own certificate", Status{Certificates: []Certificate{{SelfSigned: true, Expires: now.Add(3 * 24 * time.Hour)}}}, ""},
		{"an expired certificate", Status{Certificates: []Certificate{{Names: []string{"mail.example.org"}, Expires: now.Add(-time.Hour)}}}, "the certificate for mail.example.org expired on 2026-06-15"},
		{"an unreadable aliases file", Status{Aliases: "open data/aliases: permission denied"}, "the aliases file has errors or cannot be read"},
		{"a full disk", Status{Disk: Disk{Free: 5 << 20, Reserve: 100 << 20}}, "the disk is full: 5MiB are free"},
	} {
		c.s.Examine(now)
		if c.want == "" && len(c.s.Problems) > 0 || c.want != "" && (len(c.s.Problems) != 1 || !strings.HasPrefix(c.s.Problems[0], c.want)) {
			t.Errorf("%s: %q, want %q", c.name, c.s.Problems, c.want)
		}
	}
}

// testdata/status.txt is the expected terminal output; UPDATE=1 rewrites it.
func TestPrint(t *testing.T) {
	s := Status{
		Version: "1.2.3", PID: 4711, Started: now.Add(-50 * time.Hour), Hostname: "mail.example.org", Config: "/etc/hoplite/relay.hcl", Data: "/var/lib/hoplite",
		Reload: &Reload{At: now.Add(-time.Hour), Error: "relay.hcl:1:1: x"},
		Listeners: []Listener{
			{`smtp "inbound"`, "[::]:25", "starttls", 12}, {`imap "imap"`, "[::]:993", "implicit", 1}, {"metrics", "127.0.0.1:9464", "off", 0},
		},
		Queue: []queue.Load{
			{Upstream: "", Messages: 1, Size: 100, Oldest: now.Add(-time.Minute), Next: now},
			{Upstream: "internet", Messages: 1200, Held: 3, Size: 5 << 20, Oldest: now.Add(-30 * time.Hour), Next: now.Add(5 * time.Minute)},
			{Upstream: "old-server", Messages: 2, Held: 2, Size: 2000, Oldest: now.Add(-time.Hour)},
		},
		Upstreams: []Upstream{
			NewUpstream("old-server", "auto", forward.Health{Check: "call-ahead", Remembered: 40, AcceptsAll: []string{"example.org"},
				Servers: []forward.ServerHealth{{Server: "192.0.2.10:25", Down: now.Add(-90 * time.Minute), Reason: "connect: \x1b[2Jconnection refused"}}}),
			NewUpstream("second", "inline", forward.Health{Check: "file", Servers: []forward.ServerHealth{{Server: "192.0.2.11:25"}}}),
			NewUpstream("third", "queue", forward.Health{Check: "any"}),
			NewUpstream("internet", "queue", forward.Health{Check: "none"}),
		},
		Certificates: []Certificate{{Names: []string{"mail.example.org", "example.org"}, Expires: now.Add(60 * 24 * time.Hour)}, {Names: []string{"localhost"}, Expires: now.Add(300 * 24 * time.Hour), SelfSigned: true}},
		Blocks:       []users.Block{{Network: "192.0.2.7/32", Failures: 12, Until: now.Add(32 * time.Second), Refused: true}, {Account: "ann@example.org", Failures: 10, Until: now.Add(time.Second)}},
		Disk:         Disk{Free: 5 << 30, Reserve: 100 << 20},
	}
	s.Examine(now)
	var out strings.Builder
	s.Print(&out, now)
	(&Status{}).Print(&out, now)
	for _, r := range []Reload{
		{Changed: []string{`smtp "in" changed: listen`}, Restart: []string{"log"}, Warnings: []string{"relay.hcl:1:1: warning: x"}},
		{}, {Error: "listener in: listen tcp :25: bind: permission denied"}, {Error: "relay.hcl:1:1: x\n  y"},
	} {
		out.WriteString("----\n")
		r.Print(&out)
	}
	for line := range strings.Lines(out.String()) {
		if len([]rune(strings.TrimRight(line, "\n"))) > 80 {
			t.Errorf("over 80 columns: %s", line)
		}
	}
	const golden = "testdata/status.txt"
	if os.Getenv("UPDATE") != "" {
		os.MkdirAll("testdata", 0o755)
		if err := os.WriteFile(golden, []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if out.String() != string(want) {
		t.Errorf("got\n%s\nwant\n%s", &out, want)
	}
}

func TestSpan(t *testing.T) {
	for d, want := range map[time.Duration]string{
		1400 * time.Millisecond: "1s", 61 * time.Second: "1m1s", 61*time.Minute + 9*time.Second: "1h1m", 49 * time.Hour: "49h", 72 * time.Hour: "3d",
	} {
		if got := Span(d); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
}
