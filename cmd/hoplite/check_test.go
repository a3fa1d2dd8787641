package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hoplite/internal/conf"
	"hoplite/relay"
	"hoplite/relay/forward"
)

// testdata/check/NAME.hcl in, NAME.txt out: all mistakes, or the plan. UPDATE=1
// writes what is printed now.
func TestCheck(t *testing.T) {
	files, err := filepath.Glob("testdata/check/*.hcl")
	if err != nil || len(files) == 0 {
		t.Fatal("no testdata", err)
	}
	for _, name := range files {
		t.Run(filepath.Base(name), func(t *testing.T) {
			cfg, file, err := readConfig(name)
			if err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			check(&out, cfg, file)
			golden := strings.TrimSuffix(name, ".hcl") + ".txt"
			if os.Getenv("UPDATE") != "" {
				if err := os.WriteFile(golden, out.Bytes(), 0o644); err != nil {
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
			for line := range strings.Lines(out.String()) {
				if len([]rune(line)) > columns+1 {
					t.Errorf("over %d columns: %s", columns, line)
				}
			}
		})
	}
}

// The configuration in the program has neither mistakes nor warnings.
func TestCheckBuiltIn(t *testing.T) {
	t.Chdir(t.TempDir())
	cfg, file, err := readConfig("")
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if !check(&out, cfg, file) || strings.Contains(out.String(), "warning") {
		t.Errorf("%s", &out)
	}
}

// A test that finds nothing proves nothing: each way of leaving the door open
// is found.
func TestRelayTestFindsOpenDoors(t *testing.T) {
	tests := map[string]struct {
		route relay.RouteConfig
		hop   string
		open  bool
	}{
		"everything upstream":       {route: relay.RouteConfig{Hop: "up"}, open: true},
		"by a sender's name":        {route: relay.RouteConfig{Hop: "up", From: []string{"example.org", "elsewhere.example"}}, open: true},
		"a top level domain":        {route: relay.RouteConfig{Hop: "up", To: []string{".invalid"}}, open: true},
		"for those who may relay":   {route: relay.RouteConfig{Hop: "up", Relay: true}},
		"for our domain":            {route: relay.RouteConfig{Hop: "up", To: []string{"example.org"}}},
		"everything into our boxes": {route: relay.RouteConfig{Hop: "boxes"}},
		"for a login":               {route: relay.RouteConfig{Hop: "up", User: []string{"ann@example.org"}}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			cfg := &Config{
				Hostname: "mail.example.org",
				SMTP:     []*relay.Config{{Name: "in", Chain: "in"}},
				Chain:    []*relay.ChainConfig{{Name: "in", Routes: []relay.RouteConfig{tt.route}}},
				Upstream: []*forward.Config{{Name: "up"}},
			}
			cfg.SMTP[0].Auth = "off"
			cfg.SMTP[0].Listen = []conf.Listen{{Network: "tcp", Address: "127.0.0.1:25"}}
			diags := &conf.Diagnostics{}
			tried, doors := cfg.relayTest(diags)
			if open := diags.Mistakes() > 0; open != tt.open || tried == 0 || doors != 1 {
				t.Errorf("open %v, %d tricks at %d doors: %v", open, tried, doors, diags.Err())
			}
		})
	}
	if len(relayTricks) != 36 {
		t.Errorf("%d tricks", len(relayTricks))
	}
}
