package sandbox

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// A process cannot leave the sandbox, so a child process enters it.
func TestEnter(t *testing.T) {
	if dir := os.Getenv("SANDBOX_TEST"); dir != "" {
		enter(dir)
		return
	}
	dir := t.TempDir()
	for _, d := range []string{"mine/a", "mine/b", "other"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "-test.run=^TestEnter$")
	cmd.Env = append(os.Environ(), "SANDBOX_TEST="+dir)
	out, err := cmd.CombinedOutput()
	switch cmd.ProcessState.ExitCode() {
	case 0:
	case 77:
		t.Skip("no landlock in this kernel")
	default:
		t.Fatalf("%v: %s", err, out)
	}
}

func enter(dir string) {
	fail := func(code int, text string) {
		os.Stderr.WriteString(text)
		os.Exit(code)
	}
	active, err := Enter(filepath.Join(dir, "mine"), filepath.Join(dir, "missing"))
	if err != nil {
		fail(2, err.Error())
	}
	if !active {
		os.Exit(77)
	}
	mine := filepath.Join(dir, "mine")
	if err := os.WriteFile(filepath.Join(mine, "a", "f"), []byte("x"), 0o600); err != nil {
		fail(3, err.Error())
	}
	if err := os.Rename(filepath.Join(mine, "a", "f"), filepath.Join(mine, "b", "f")); err != nil {
		fail(4, err.Error())
	}
	done := make(chan error)
	go func() { done <- os.WriteFile(filepath.Join(dir, "other", "f"), nil, 0o600) }() // possibly on another thread
	if err := <-done; err == nil {
		fail(5, "wrote outside")
	}
	if _, err := os.ReadFile(os.Args[0]); err != nil {
		fail(6, err.Error())
	}
	os.Exit(0)
}
