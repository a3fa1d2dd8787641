package check

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hoplite/cmd/hoplite/internal/config"
	"hoplite/cmd/hoplite/internal/terminal"
	"hoplite/internal/conf"
	"hoplite/relay"
	"hoplite/relay/forward"
)

// testdata/NAME.hcl is the input and NAME.txt the expected output: all mistakes,
// or the plan. UPDATE=1 rewrites the latter.
func TestCheck(t *testing.T) {
	files, err := filepath.Glob("testdata/*.hcl")
	if err != nil || len(files) == 0 {
		t.Fatal("no testdata", err)
	}
	for _, name := range files {
		t.Run(filepath.Base(name), func(t *testing.T) {
			cfg, file, err := config.Read(name)
			if err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			Report(&out, cfg, file)
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
				if len([]rune(line)) > terminal.Columns+1 {
					t.Errorf("over %d columns: %s", terminal.Columns, line)
				}
			}
		})
	}
}

// The built-in configuration has neither mistakes nor warnings.
func TestCheckBuiltIn(t *testing.T) {
	t.Chdir(t.TempDir())
	cfg, file, err := config.Read("")
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if !Report(&out, cfg, file) || strings.Contains(out.String(), "warning") {
		t.Errorf("%s", &out)
	}
}

// OpenRelay finds every kind of open relay, and nothing else.
func TestOpenRelay(t *testing.T) {
	tests := map[string]struct {
		route relay.RouteConfig
		hop   string
		open  bool
	}{
		"every recipient to an upstream": {route: relay.RouteConfig{Hop: "up"}, open: true},
		"matched by sender":              {route: relay.RouteConfig{Hop: "up", From: []string{"example.org", "elsewhere.example"}}, open: true},
		"a top-level domain":             {route: relay.RouteConfig{Hop: "up", To: []string{".invalid"}}, open: true},
		"for clients that may relay":     {route: relay.RouteConfig{Hop: "up", Relay: true}},
		"for our domain":                 {route: relay.RouteConfig{Hop: "up", To: []string{"example.org"}}},
		"everything into a maildrop":     {route: relay.RouteConfig{Hop: "boxes"}},
		"for a login":                    {route: relay.RouteConfig{Hop: "up", User: []string{"ann@example.org"}}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			cfg := testConfig(tt.route)
			diags := &conf.Diagnostics{}
			tried, listeners := OpenRelay(cfg, diags)
			if open := diags.Mistakes() > 0; open != tt.open || tried == 0 || listeners != 1 {
				t.Errorf("open %v, %d forms at %d listeners: %v", open, tried, listeners, diags.Err())
			}
		})
	}
	if len(relayForms) != 36 {
		t.Errorf("%d forms", len(relayForms))
	}
}

// testConfig has one public listener, whose chain has one route, and one
// upstream, "up".
func testConfig(route relay.RouteConfig) *config.Config {
	cfg := &config.Config{
		Hostname: "mail.example.org",
		SMTP:     []*relay.Config{{Name: "in", Chain: "in"}},
		Chain:    []*relay.ChainConfig{{Name: "in", Routes: []relay.RouteConfig{route}}},
		Upstream: []*forward.Config{{Name: "up"}},
	}
	cfg.SMTP[0].Auth = "off"
	cfg.SMTP[0].Listen = []conf.Listen{{Network: "tcp", Address: "127.0.0.1:25"}}
	return cfg
}
