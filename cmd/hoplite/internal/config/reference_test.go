package config

import (
	"os"
	"testing"

	"hoplite/filters/all"
	"hoplite/internal/conf/conftest"
)

//go:generate env UPDATE=1 go test -run ^TestReference$ .

const referenceHead = `# Every block and attribute of relay.hcl

This page is generated from comments in the source: change them and run
` + "`make docs`" + `. ` + "`hoplite check`" + ` finds all errors in a file and describes in
words what it does.

Sizes are written "10KiB", "25MiB" (1024) or "100KB" (1000); durations "30s",
"5m", "36h", "5d"; rates "30/1m"; networks "192.0.2.0/24", or an IP address for
that host alone. Any string may come from the environment, env("NAME"), or from a
file, file("path"), relative to the folder of relay.hcl. Paths described as
"under data" are relative to the folder that ` + "`data`" + ` names.
`

// docs/config.md is up to date with the comments above the Config structs.
func TestReference(t *testing.T) {
	const path = "../../../../docs/config.md"
	var filters []conftest.Section
	for _, k := range all.Kinds {
		filters = append(filters, conftest.Section{Title: `filter "` + k.Name + `"`, Config: k.Config()})
	}
	text, err := conftest.Reference("../../../..", &Config{}, filters...)
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
