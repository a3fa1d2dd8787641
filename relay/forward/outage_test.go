package forward

import (
	"context"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"hoplite/internal/conf"
	"hoplite/internal/resolve"
	"hoplite/mail"
)

// check asks an upstream about a recipient as RCPT does.
func check(t *testing.T, u *Upstream, to mail.Address) string {
	t.Helper()
	if err := u.Check(t.Context(), mail.NewTransaction(mail.Client{}, "bob@example.com"), mail.Rcpt{To: to}); err != nil {
		return err.Error()
	}
	return "ok"
}

// While the upstream is down, known recipients are accepted and others
// deferred, even after a restart.
func TestLongOutage(t *testing.T) {
	for name, tt := range map[string]struct {
		impossible string // the reply for a nonexistent address
		want       map[mail.Address]string
		acceptsAll []string
	}{
		"recipients are checked": {
			impossible: "550 5.1.1 no such user",
			want:       map[mail.Address]string{"ann@example.org": "ok", "new@example.org": "450", "no@example.org": "450", "x@other.example": "450"},
		},
		"every recipient is accepted": {
			impossible: "250 2.1.5 ok",
			want:       map[mail.Address]string{"ann@example.org": "ok", "new@example.org": "ok", "no@example.org": "ok", "x@other.example": "450"},
			acceptsAll: []string{"example.org"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			p := newPeer(t, map[string]string{"RCPT": tt.impossible, "RCPT TO:<ann@example.org>": "250 ok"})
			open := func(known time.Duration) *Upstream {
				env := Env{Hostname: "relay.example.org", Data: t.TempDir(), State: folder, Log: zerolog.Nop()}
				return upstreamIn(t, env, []string{p.url()}, func(c *Config) {
					c.TLS, c.KnownFor, c.UnknownFor = "off", known, known
				})
			}
			u := open(time.Nanosecond) // the upstream is asked each time
			if got := check(t, u, "ann@example.org"); got != "ok" {
				t.Fatal(got)
			}
			check(t, u, "no@example.org")
			if d, ok := u.rcpts.memory.domains.Peek("example.org"); ok { // a weekend passes
				d.until = time.Now()
				u.rcpts.memory.domains.Add("example.org", d)
			}
			p.l.Close()
			for round := range 2 {
				u.servers.list[0].pools[0].close()
				for to, want := range tt.want {
					if got := check(t, u, to); !strings.HasPrefix(got, want) {
						t.Errorf("round %d: %s: %s, want %s", round, to, got, want)
					}
				}
				got := u.Health()
				if since, reason, down := got.Down(); !down || time.Since(since) > time.Minute || !strings.Contains(reason, "connect") {
					t.Errorf("down since %s: %s", since, reason)
				}
				if diff := cmp.Diff(tt.acceptsAll, got.AcceptsAll); diff != "" {
					t.Error(diff)
				}
				u.Close()
				u = open(time.Hour)
			}
			files, _ := filepath.Glob(filepath.Join(folder, "*"))
			if len(files) != 1 {
				t.Errorf("the state folder has %q", files)
			}
		})
	}
}

// Invalid or implausible entries in the file are ignored or limited.
func TestMemoryFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "recipients-old")
	const year = 366 * 24 * 3600
	now := time.Now().Unix()
	lines := []string{
		itoa(int(now+60)) + " " + itoa(int(now+600)) + " ann@example.org",
		itoa(int(now-600)) + " " + itoa(int(now+600)) + " stale@example.org",
		itoa(int(now-600)) + " " + itoa(int(now-60)) + " gone@example.org",
		itoa(int(now+year)) + " " + itoa(int(now+2*year)) + " clock@example.org",
		itoa(int(now+60)) + " " + itoa(int(now+600)) + " @all.example",
		"no numbers here", "12 x@example.org", itoa(int(now+60)) + " " + itoa(int(now+600)) + " ",
		itoa(int(now+60)) + " " + itoa(int(now)), // the end of a damaged file
	}
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	m, err := newMemory(100, path)
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string][2]bool{ // exists, fresh
		"ann@example.org": {true, true}, "stale@example.org": {true, false}, "gone@example.org": {}, "clock@example.org": {true, true},
		"x@example.org": {}, "@all.example": {},
	} {
		v, ok := m.rcpt(key)
		if got := [2]bool{ok && v.exists(), ok && v.fresh()}; got != want {
			t.Errorf("%s: %v, want %v", key, got, want)
		}
	}
	if v, _ := m.rcpt("clock@example.org"); time.Until(v.stale) > staleFor {
		t.Errorf("valid for %s", time.Until(v.stale))
	}
	if v, ok := m.domain("all.example"); !ok || !v.exists() {
		t.Error("the domain that accepts everything is not known")
	}
	if err := m.flush(); err != nil {
		t.Error(err)
	}
	if b, _ := os.ReadFile(path); !strings.HasPrefix(string(b), lines[0]) {
		t.Error("written although nothing has changed")
	}
	// A domain that starts to check its recipients is removed.
	m.acceptsAll("all.example", false)
	if err := m.flush(); err != nil {
		t.Error(err)
	}
	if b, _ := os.ReadFile(path); strings.Contains(string(b), "all.example") || !strings.Contains(string(b), " ann@example.org\n") {
		t.Errorf("stored\n%s", b)
	}
	if _, err := newMemory(100, filepath.Dir(path)); err == nil {
		t.Error("a folder was read as a file")
	}
}

// With mx, the servers of a single domain are pinged.
func TestPingDomain(t *testing.T) {
	p := newPeer(t, nil)
	z := &signedZone{records: map[string][]resolve.Record{
		"up.example MX":      {{Pref: 10, Host: "mx.up.example"}},
		"mx.up.example A":    {{Addr: netip.MustParseAddr("192.0.2.1")}},
		"down.example MX":    {{Pref: 10, Host: "mx.down.example"}},
		"mx.down.example A":  {{Addr: netip.MustParseAddr("192.0.2.2")}},
		"no-mail.example MX": {{Host: ""}},
		"no-host.example MX": {{Pref: 10, Host: "mx.nowhere.example"}},
		"up.example AAAA":    nil,
	}}
	cfg := Config{}
	conf.Defaults(&cfg)
	cfg.Name, cfg.MX, cfg.TLS = "internet", true, "off"
	u, err := New(cfg, Env{Hostname: "relay.example.org", Data: t.TempDir(), Log: zerolog.Nop(), DNS: z})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(u.Close)
	u.net.dialer.dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		if address != "192.0.2.1:25" {
			return nil, &net.OpError{Op: "dial", Net: network, Err: os.ErrDeadlineExceeded}
		}
		return (&net.Dialer{}).DialContext(ctx, network, p.l.Addr().String())
	}
	for domain, up := range map[string]bool{"up.example": true, "down.example": false, "no-mail.example": false, "no-host.example": false} {
		if err := u.Ping(t.Context(), domain); (err == nil) != up {
			t.Errorf("%s: %v", domain, err)
		}
	}
	out := handOver(t, u, "Subject: x\r\n\r\n", "ann@up.example")
	if !out[0].Reply.Positive() || p.conns != 1 {
		t.Errorf("%s on %d connections", replies(out), p.conns)
	}
}
