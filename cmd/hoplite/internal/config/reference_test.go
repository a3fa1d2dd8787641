package config

import (
	"os"
	"testing"

	"hoplite/filters/all"
	"hoplite/internal/conf"
)

//go:generate env UPDATE=1 go test -run ^TestReference$ .

const referenceHead = `# Every block and attribute of relay.hcl

This page is made of the comments in the source; ` + "`make docs`" + ` writes it anew.
` + "`hoplite check`" + ` finds all mistakes in a file and says in words what it does.

Sizes are written "10KiB", "25MiB" (1024) or "100KB" (1000); times "30s", "5m",
"36h", "5d"; rates "30/1m"; networks "192.0.2.0/24", or a bare address for that host alone.
Any text may come from the environment, env("NAME"), or from a file,
file("path"), relative to the configuration's folder. Paths of data are relative
to the folder that ` + "`data`" + ` names.
`

// docs/config.md is what the comments above the Config structs say now.
func TestReference(t *testing.T) {
	const path = "../../../../docs/config.md"
	var filters []conf.Section
	for _, k := range all.Kinds {
		filters = append(filters, conf.Section{Title: `filter "` + k.Name + `"`, Config: k.Config()})
	}
	text, err := conf.Reference("../../../..", &Config{}, filters...)
	if err != nil {
		t.Fatal(err)
	}
	text = referenceHead + text
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	now, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(now) != text {
		t.Error("docs/config.md is stale: run make docs")
	}
}
