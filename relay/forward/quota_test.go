package forward

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"hoplite/internal/conf"
	"hoplite/mail"
)

func TestQuota(t *testing.T) {
	path := filepath.Join(t.TempDir(), "recipients.json")
	now := time.Date(2026, 11, 30, 8, 30, 0, 0, time.UTC)
	q := newQuota(10, path)
	for _, step := range []struct {
		after time.Duration
		n     int
		want  bool
	}{
		{0, 4, true}, {0, 7, false}, {time.Hour, 6, true}, {2 * time.Hour, 1, false},
		{23 * time.Hour, 1, false}, // the first four still count
		{24 * time.Hour, 4, true}, {24 * time.Hour, 1, false},
		{49 * time.Hour, 25, true}, // more than the limit, but nothing before
	} {
		if got := q.reserve(step.n, now.Add(step.after), "old"); (got == nil) != step.want {
			t.Errorf("%d after %s: %v, want %v", step.n, step.after, got, step.want)
		}
		if err := q.flush(); err != nil {
			t.Fatal(err)
		}
		q = newQuota(10, path) // a restart
	}
	q.settle(make([]mail.Outcome, 20), now.Add(49*time.Hour)) // refused
	if got := q.reserve(5, now.Add(49*time.Hour), "old"); got != nil {
		t.Error(got)
	}
	var none *quota
	if none.reserve(1e6, now, "old") != nil || none.flush() != nil {
		t.Error("no quota refuses")
	}
	none.settle(nil, now)
}

// Mail above the limit waits, and refused recipients do not count.
func TestRecipientsPerDay(t *testing.T) {
	p := newPeer(t, map[string]string{"EHLO": "250 old", "RCPT": "550 5.1.1 unknown"})
	cfg := Config{}
	conf.Defaults(&cfg)
	cfg.Name, cfg.Servers, cfg.Recipients, cfg.RecipientsPerDay = "provider", []string{p.url()}, "any", 2
	env := Env{Data: t.TempDir(), State: t.TempDir(), Log: zerolog.Nop()}
	u, err := New(cfg, env)
	if err != nil {
		t.Fatal(err)
	}
	send := func(to ...mail.Address) string { return replies(handOver(t, u, "A: b\r\n\r\n", to...)) }
	if got := send("a@example.net", "b@example.net"); strings.Count(got, "550 5.1.1") != 2 {
		t.Error(got)
	}
	p.set(func() { delete(p.replies, "RCPT") })
	if got := send("a@example.net", "b@example.net"); strings.Count(got, "250") != 2 {
		t.Error(got)
	}
	const want = "451 4.3.2 upstream provider has reached its limit of 2 recipients a day"
	if got := send("c@example.net"); !strings.Contains(got, want) {
		t.Error(got)
	}
	cfg.RecipientsPerDay = 3
	after, err := New(cfg, env)
	if err != nil {
		t.Fatal(err)
	}
	after.Inherit(u)
	if got := replies(handOver(t, after, "A: b\r\n\r\n", "c@example.net", "d@example.net")); !strings.Contains(got, "its limit of 3 recipients a day") {
		t.Errorf("after a reload: %s", got)
	}
	cfg.RecipientsPerDay = 2
	after.Close()
	u.Close()
	if u, err = New(cfg, env); err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	if got := send("c@example.net"); !strings.Contains(got, want) {
		t.Errorf("after a restart: %s", got)
	}
}

// The limits of providers apply unless the block sets others.
func TestPresetLimits(t *testing.T) {
	for name, want := range map[string]int{"microsoft365": 10000, "gmail": 10000, "": 0} {
		c := Config{Preset: name}
		c.ApplyPreset()
		if c.RecipientsPerDay != want {
			t.Errorf("%q: %d recipients a day, want %d", name, c.RecipientsPerDay, want)
		}
	}
}
