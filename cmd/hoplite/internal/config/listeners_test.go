package config

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// read returns the configuration with the given text.
func read(t *testing.T, text string) *Config {
	t.Helper()
	path := filepath.Join(t.TempDir(), "relay.hcl")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, file, err := Read(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := file.Diags.Err(); err != nil {
		t.Fatal(err)
	}
	return cfg
}

const everything = `
hostname = "mail.example.org"
smtp "public" {
  listen = [":25", "unix:in/smtp.sock"]
  chain  = "in"
}
smtp "submission" {
  listen = ":587"
  chain  = "in"
  auth   = "required"
}
smtp "devices" {
  listen     = "unix:/run/devices.sock"
  chain      = "in"
  relay_from = "192.0.2.0/24"
}
lmtp "local" {
  listen = "unix:lmtp.sock"
  chain  = "in"
}
pop3 "pop3" {
  listen = ":110"
}
imap "imap" {
  listen = ":143"
}
web "web" {
  listen = ":8025"
}
metrics {
  listen = "unix:m/metrics.sock"
}
chain "in" {}
maildrop "boxes" {
  path = "mail/{domain}/{user}"
}
maildrop "old" {
  path = "/srv/old/{user}"
}
upstream "out" {
  mx = true
}
`

func TestMailListeners(t *testing.T) {
	cfg := read(t, everything)
	type facts struct{ local, public, relays bool }
	want := map[string]facts{
		`smtp "public"`:     {public: true},
		`smtp "submission"`: {relays: true},
		`smtp "devices"`:    {local: true, relays: true},
		`lmtp "local"`:      {local: true},
	}
	all := cfg.MailListeners()
	if len(all) != len(want) {
		t.Fatalf("%d listeners", len(all))
	}
	for _, l := range all {
		if got := (facts{l.Local(), l.Public(), l.Relays()}); got != want[l.Title()] {
			t.Errorf("%s: %+v, want %+v", l.Title(), got, want[l.Title()])
		}
	}
	for name, want := range map[string]string{"": "public", "local": "local", "devices": "devices"} {
		if l, ok := cfg.FindListener(name); !ok || l.Name != want {
			t.Errorf("FindListener(%q) = %q, %v", name, l.Name, ok)
		}
	}
	if _, ok := cfg.FindListener("imap"); ok {
		t.Error("imap is found among the mail listeners")
	}
}

func TestListeners(t *testing.T) {
	cfg := read(t, everything)
	var titles []string
	for _, l := range cfg.Listeners() {
		titles = append(titles, l.Title)
		if l.Pos.Range().Start.Line == 0 {
			t.Errorf("%s has no place", l.Title)
		}
	}
	want := `smtp "public" smtp "submission" smtp "devices" lmtp "local" pop3 "pop3" imap "imap" web "web"`
	if got := strings.Join(titles, " "); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestWritableFolders(t *testing.T) {
	cfg := read(t, everything)
	want := []string{
		cfg.Data, filepath.Join(cfg.Data, "mail"), "/srv/old",
		filepath.Join(cfg.Data, "in"), "/run", cfg.Data, filepath.Join(cfg.Data, "m"),
	}
	if got := cfg.WritableFolders(); !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestFind(t *testing.T) {
	cfg := read(t, everything)
	if c := cfg.FindChain("in"); c == nil || c.Name != "in" || cfg.FindChain("out") != nil {
		t.Errorf("chain %v", c)
	}
	if u := cfg.FindUpstream("out"); u == nil || u.Name != "out" || cfg.FindUpstream("boxes") != nil {
		t.Errorf("upstream %v", u)
	}
}

func TestReadCompletes(t *testing.T) {
	cfg := read(t, `data = "state"`)
	if !filepath.IsAbs(cfg.Data) || filepath.Base(cfg.Data) != "state" {
		t.Errorf("data is not relative to the file: %s", cfg.Data)
	}
	if cfg.Hostname == "" || cfg.Log.Level != "info" || cfg.History.Keep == 0 || cfg.Queue.Workers != 200 {
		t.Errorf("defaults are missing: %q %+v %+v %+v", cfg.Hostname, cfg.Log, cfg.History, cfg.Queue)
	}
	if got := cfg.Under("/etc/x"); got != "/etc/x" {
		t.Errorf("Under changes an absolute path: %s", got)
	}
	if got, want := cfg.Under("x/y"), filepath.Join(cfg.Data, "x/y"); got != want {
		t.Errorf("Under: %s, want %s", got, want)
	}
}

// The first existing file is read, or the built-in one if there is none.
func TestReadSearches(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	t.Setenv("HOPLITE_CONFIG", "")
	oldFile, oldFolder := systemFile, systemFolder
	t.Cleanup(func() { systemFile, systemFolder = oldFile, oldFolder })
	systemFolder = filepath.Join(dir, "etc")
	systemFile = filepath.Join(systemFolder, "relay.hcl")
	write := func(name, text string) string {
		t.Helper()
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o700), os.WriteFile(name, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
		return name
	}
	expect := func(path, name, data string) {
		t.Helper()
		cfg, file, err := Read(path)
		if err != nil {
			t.Fatal(err)
		}
		if file.Name != name || cfg.Data != data {
			t.Errorf("read %s with data %s, want %s with %s", file.Name, cfg.Data, name, data)
		}
	}
	expect("", BuiltIn, "var")
	write("relay.hcl", "")
	expect("", "relay.hcl", "var")
	write(systemFile, "")
	expect("", systemFile, "/var/lib/hoplite")
	write(systemFile, "data = \"var\"")
	expect("", systemFile, filepath.Join(systemFolder, "var"))
	t.Setenv("HOPLITE_CONFIG", write("sub/env.hcl", ""))
	expect("", "sub/env.hcl", "sub/var")
	expect("relay.hcl", "relay.hcl", "var")
	for _, env := range []string{"none.hcl", ""} {
		t.Setenv("HOPLITE_CONFIG", env)
		if _, _, err := Read(strings.TrimPrefix("none.hcl", env)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("a missing file, $HOPLITE_CONFIG %q: %v", env, err)
		}
	}
}

// Root does not read another user's file in the current folder.
func TestRootReadsItsOwn(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	t.Chdir(t.TempDir())
	t.Setenv("HOPLITE_CONFIG", "")
	if err := errors.Join(os.WriteFile("relay.hcl", nil, 0o644), os.Chown("relay.hcl", 4711, 4711)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Read(""); err == nil || !strings.Contains(err.Error(), "./relay.hcl belongs to another user (uid 4711); to use it as root, name it: -c relay.hcl") {
		t.Errorf("read: %v", err)
	}
	if _, _, err := Read("relay.hcl"); err != nil {
		t.Errorf("named: %v", err)
	}
}

func TestQueueSettings(t *testing.T) {
	for text, want := range map[string]string{
		`hostname = "mail.example.org"`:                                              "postmaster@mail.example.org",
		"hostname = \"mail.example.org\"\npostmaster = \"ann@example.org\"":          "ann@example.org",
		"hostname = \"mail.example.org\"\npostmaster = \"ann\"":                      "postmaster@mail.example.org",
		"hostname = \"mail.example.org\"\npostmaster = \"ann@example.org, bob@x.y\"": "postmaster@mail.example.org",
	} {
		if got := read(t, text).QueueSettings(); string(got.Postmaster) != want || got.Hostname != "mail.example.org" || got.Workers != 200 {
			t.Errorf("%s: %+v", text, got)
		}
	}
}
