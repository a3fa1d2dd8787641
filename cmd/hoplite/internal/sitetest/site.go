// Package sitetest creates configurations with a data folder for tests.
package sitetest

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Write writes a configuration as relay.hcl into a new folder, with files in its
// data folder var, and returns its path.
func Write(t testing.TB, config string, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	put(t, filepath.Join(dir, "relay.hcl"), config)
	if err := os.Mkdir(filepath.Join(dir, "var"), 0o750); err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		put(t, filepath.Join(dir, "var", name), text)
	}
	return filepath.Join(dir, "relay.hcl")
}

func put(t testing.TB, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// Tree lists all files below a folder with their modes, sizes and times.
// Comparing the results of two calls shows whether something was created or
// changed.
func Tree(t testing.TB, dir string) string {
	t.Helper()
	var out strings.Builder
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil {
			fmt.Fprintln(&out, path, info.Mode(), info.Size(), info.ModTime())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out.String()
}
