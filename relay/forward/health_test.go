package forward

import (
	"errors"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"hoplite/internal/conf"
)

// An upstream is down while none of the servers tried answers. The time is that
// of the first of the consecutive failures.
func TestHealth(t *testing.T) {
	cfg := Config{Name: "old", Servers: []string{"smtp://192.0.2.10", "smtp://192.0.2.11"}}
	conf.Defaults(&cfg)
	u, err := New(cfg, Env{Hostname: "mail.example.org", Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	down := func() bool {
		h := u.Health()
		_, _, down := h.Down()
		return down
	}
	if h := u.Health(); len(h.Servers) != 0 || h.Check != "call-ahead" || down() {
		t.Errorf("before the first connection: %+v", h)
	}
	pools, err := u.servers.pools(t.Context())
	if err != nil || len(pools) != 2 {
		t.Fatalf("%d pools, %v", len(pools), err)
	}
	pools[0].failed(errors.New("connection refused"))
	if !down() {
		t.Error("not down, although the only server that was tried failed")
	}
	first := u.Health().Servers[0].Down
	time.Sleep(2 * time.Millisecond)
	pools[0].unreached(errors.New("timeout"))
	if s := u.Health().Servers[0]; !s.Down.Equal(first) || s.Reason != "timeout" {
		t.Errorf("after a second failure: %+v, first at %v", s, first)
	}
	pools[1].worked(&conn{})
	if down() || len(u.Health().Servers) != 2 {
		t.Errorf("down although one server answers: %+v", u.Health())
	}
	pools[0].worked(&conn{})
	if s := u.Health().Servers[0]; !s.Down.IsZero() || s.Reason != "" {
		t.Errorf("after a success: %+v", s)
	}
	u.rcpts.memory.acceptsAll("example.org", true)
	u.rcpts.memory.acceptsAll("example.net", false)
	if h := u.Health(); len(h.AcceptsAll) != 1 || h.AcceptsAll[0] != "example.org" {
		t.Errorf("accepts all of %v", h.AcceptsAll)
	}
}

func TestHealthOfKinds(t *testing.T) {
	for _, c := range []struct {
		name string
		cfg  Config
		want string
	}{
		{"call-ahead", Config{Servers: []string{"smtp://192.0.2.10"}}, "call-ahead"},
		{"any", Config{Servers: []string{"smtp://192.0.2.10"}, Recipients: "any"}, "any"},
		{"by MX", Config{MX: true, Mode: "queue"}, "none"},
	} {
		cfg := c.cfg
		conf.Defaults(&cfg)
		if c.cfg.Recipients != "" {
			cfg.Recipients = c.cfg.Recipients
		}
		u, err := New(cfg, Env{Hostname: "mail.example.org", Log: zerolog.Nop()})
		if err != nil {
			t.Fatal(err)
		}
		if h := u.Health(); h.Check != c.want {
			t.Errorf("%s: %q", c.name, h.Check)
		}
		u.Close()
	}
}
