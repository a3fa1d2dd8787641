package config

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// Names of this server are recognised in every spelling. A listener without a
// hostname does not make the empty name ours, because the null MX is "0 .".
func TestNamesOfThisServer(t *testing.T) {
	path := filepath.Join(t.TempDir(), "relay.hcl")
	if err := os.WriteFile(path, []byte(`
hostname = "Mail.Example.Org."
smtp "named" {
  listen   = "127.0.0.1:2526"
  hostname = "MX.Bücher.Example"
}
smtp "unnamed" {
  listen = "127.0.0.1:2525"
}
`), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, _, err := Read(path)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"mail.example.org", "localhost", "mx.xn--bcher-kva.example"}
	if got := cfg.Names(); !slices.Equal(got, want) {
		t.Errorf("names = %q, want %q", got, want)
	}
	for host, want := range map[string]bool{
		"mail.example.org": true, "MAIL.example.org.": true, "mx.bücher.example": true, "mx.xn--bcher-kva.example": true,
		"": false, "localhost": false, "example.org": false,
	} {
		if got := cfg.IsOurs(host); got != want {
			t.Errorf("IsOurs(%q) = %v", host, got)
		}
	}
}
