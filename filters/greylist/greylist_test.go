package greylist

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"hoplite/filters"
	"hoplite/mail"
)

var cfg = Config{Delay: 5 * time.Minute, Window: 48 * time.Hour, Keep: 36 * 24 * time.Hour, Proven: 3, SPF: true}

func try(t *testing.T, f filters.Filter, ip, from, to string, auth ...mail.AuthResult) filters.Action {
	t.Helper()
	x := mail.NewTransaction(mail.Client{Addr: netip.AddrPortFrom(netip.MustParseAddr(ip), 1)}, mail.Address(from))
	x.Trail.Auth = auth
	v, err := f.(*Filter).AtRcpt(context.Background(), x, &mail.Rcpt{To: mail.Address(to)})
	if err != nil || v.Action == filters.Defer && v.Reply.Code != 450 {
		t.Errorf("%v, %v", v.Reply, err)
	}
	return v.Action
}

func TestGreylist(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		f, err := New(cfg, filters.Env{Data: dir})
		if err != nil {
			t.Fatal(err)
		}
		step := func(what, ip, from, to string, want filters.Action) {
			t.Helper()
			if got := try(t, f, ip, from, to); got != want {
				t.Errorf("%s: %q, want %q", what, got, want)
			}
		}
		step("first", "192.0.2.1", "a@x.example", "b@y.example", filters.Defer)
		time.Sleep(time.Minute)
		step("too early", "192.0.2.1", "a@x.example", "b@y.example", filters.Defer)
		time.Sleep(5 * time.Minute)
		step("back, from next door", "192.0.2.99", "A@x.example", "b@y.example", "")
		step("again", "192.0.2.1", "a@x.example", "b@y.example", "")
		step("another recipient", "192.0.2.1", "a@x.example", "c@y.example", filters.Defer)
		step("another network", "198.51.100.1", "a@x.example", "b@y.example", filters.Defer)
		time.Sleep(3 * 24 * time.Hour)
		step("back too late", "198.51.100.1", "a@x.example", "b@y.example", filters.Defer)
		time.Sleep(40 * 24 * time.Hour)
		step("forgotten", "192.0.2.1", "a@x.example", "b@y.example", filters.Defer)

		for _, from := range []string{"1@p.example", "2@p.example", "3@p.example"} {
			step("a new sender", "203.0.113.1", from, "b@y.example", filters.Defer)
			time.Sleep(10 * time.Minute)
			step("is back", "203.0.113.1", from, "b@y.example", "")
		}
		step("the network is proven", "203.0.113.7", "new@p.example", "b@y.example", "")

		if err := f.(*Filter).save(); err != nil {
			t.Fatal(err)
		}
		if f, err = New(cfg, filters.Env{Data: dir}); err != nil {
			t.Fatal(err)
		}
		step("after a restart", "203.0.113.7", "newer@p.example", "b@y.example", "")
		time.Sleep(time.Hour)
		synctest.Wait()
	})
}

func TestWhoNeedNotWait(t *testing.T) {
	c := cfg
	c.Except = []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}
	f, err := New(c, filters.Env{Data: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	pass := mail.AuthResult{Method: "spf", Value: "pass", Props: []mail.AuthProp{{Type: "smtp", Name: "mailfrom", Value: "a@x.example"}}}
	if try(t, f, "192.0.2.1", "a@x.example", "b@y.example", pass) != "" {
		t.Error("SPF vouched for it")
	}
	if try(t, f, "198.51.100.1", "a@x.example", "b@y.example") != "" {
		t.Error("it was excepted")
	}
}

func TestBrokenFile(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "state"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "state", "greylist-in"), []byte("rubbish\nzz 1 2 3\n00 1 2 3\n00112233445566778899aabbccddeeff 1 2 3\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := New(cfg, filters.Env{Data: dir, Place: "in"})
	if err != nil || f.(*Filter).known.Len() != 1 {
		t.Errorf("%v, %d read", err, f.(*Filter).known.Len())
	}
}

func TestCheck(t *testing.T) {
	for _, c := range []Config{{}, {Delay: time.Hour, Window: time.Minute, Keep: time.Hour}} {
		if c.Check() == nil {
			t.Errorf("%+v was accepted", c)
		}
	}
}

// A restart or a new configuration does not delay known senders again.
func TestKeep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		env := filters.Env{Data: t.TempDir()}
		before, err := New(cfg, env)
		if err != nil {
			t.Fatal(err)
		}
		try(t, before, "192.0.2.1", "a@x.example", "b@y.example")
		if err := before.(filters.Keeper).Keep(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Minute)
		after, err := New(cfg, env)
		if err != nil {
			t.Fatal(err)
		}
		if got := try(t, after, "192.0.2.1", "a@x.example", "b@y.example"); got != "" {
			t.Errorf("after a restart the sender receives %q", got)
		}
	})
}

// State from a server whose clock was ahead, or from a failing disk, delays
// clients no longer than an empty greylist does.
func TestBadStateDelaysOnce(t *testing.T) {
	for name, spoil := range map[string]func(t *testing.T, path string){
		"clock was ahead": func(t *testing.T, path string) {
			ahead := time.Now().AddDate(3, 0, 0).Unix()
			text := fmt.Sprintf("%x %d %d 0\n", hash("192.0.2.0/24", "a@x.example", "b@y.example"), ahead, ahead)
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		},
		"unreadable": func(t *testing.T, path string) {
			if err := os.Mkdir(path, 0o700); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir() // removed after the bubble and its writers have ended
			synctest.Test(t, func(t *testing.T) {
				if err := os.Mkdir(filepath.Join(dir, "state"), 0o700); err != nil {
					t.Fatal(err)
				}
				spoil(t, filepath.Join(dir, "state", "greylist-here"))
				f, err := New(cfg, filters.Env{Data: dir, Place: "here"})
				if err != nil {
					t.Fatal(err)
				}
				if got := try(t, f, "192.0.2.1", "a@x.example", "b@y.example"); got != filters.Defer {
					t.Errorf("at first: %q", got)
				}
				time.Sleep(cfg.Delay + time.Second)
				if got := try(t, f, "192.0.2.1", "a@x.example", "b@y.example"); got != "" {
					t.Errorf("after the delay: %q", got)
				}
			})
		})
	}
}
