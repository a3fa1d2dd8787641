package test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience is how long a test waits before it fails. It is long because test
// machines may be slow and busy.
const patience = 60 * time.Second

// buildOnce builds the program under test.
var buildOnce = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "hoplite-test-")
	if err != nil {
		return "", err
	}
	bin := filepath.Join(dir, "hoplite")
	if out, err := exec.Command("go", "build", "-o", bin, "hoplite/cmd/hoplite").CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return bin, nil
})

// program returns the path of the built program.
func program(t testing.TB) string {
	t.Helper()
	bin, err := buildOnce()
	if err != nil {
		t.Fatal(err)
	}
	return bin
}

func TestMain(m *testing.M) {
	code := m.Run()
	if bin, err := buildOnce(); err == nil {
		os.RemoveAll(filepath.Dir(bin))
	}
	os.Exit(code)
}

// server is a hoplite process with its own folder.
type server struct {
	t    testing.TB
	bin  string
	dir  string // contains relay.hcl and the data folder var
	cmd  *exec.Cmd
	addr map[string]string // addresses by listener
	log  *syncBuffer
	out  *syncBuffer // output after "ready"
	env  []string    // environment of the process; nil means that of the test
	done chan error
}

// prepare writes the configuration of a server without starting it.
func prepare(t testing.TB, config string) *server {
	t.Helper()
	s := &server{t: t, bin: program(t), dir: t.TempDir(), addr: map[string]string{}, log: &syncBuffer{}, out: &syncBuffer{}}
	s.write("relay.hcl", config)
	return s
}

func (s *server) write(name, text string) {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// run runs a command in the server's folder and returns its output.
func (s *server) run(stdin string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, s.bin, args...)
	cmd.Dir = s.dir
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (s *server) must(stdin string, args ...string) string {
	s.t.Helper()
	out, err := s.run(stdin, args...)
	if err != nil {
		s.t.Fatalf("hoplite %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// start runs serve until the test ends, and waits until it is ready.
func (s *server) start() {
	s.t.Helper()
	s.cmd = exec.Command(s.bin, "serve", "-c", "relay.hcl")
	s.cmd.Dir, s.cmd.Env = s.dir, s.env
	s.cmd.Stderr = s.log
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.done = make(chan error, 1)
	ready := make(chan bool, 1)
	go func() {
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			f := strings.Fields(lines.Text())
			if len(f) == 3 && f[0] == "listening" {
				s.addr[f[1]] = f[2]
			}
			if lines.Text() == "ready" {
				ready <- true
				break
			}
		}
		for lines.Scan() {
			fmt.Fprintln(s.out, lines.Text())
		}
		s.done <- s.cmd.Wait()
	}()
	s.t.Cleanup(func() { s.stop(syscall.SIGTERM) })
	select {
	case <-ready:
	case err := <-s.done:
		s.done <- err
		s.t.Fatalf("serve ended: %v\n%s", err, s.log)
	case <-time.After(patience):
		s.t.Fatalf("serve is not ready after %s\n%s", patience, s.log)
	}
}

// stop sends sig to the server and waits until it has ended. A second call does
// nothing.
func (s *server) stop(sig syscall.Signal) {
	if s.cmd == nil {
		return
	}
	s.cmd.Process.Signal(sig)
	select {
	case <-s.done:
	case <-time.After(patience):
		s.cmd.Process.Kill()
		s.t.Errorf("serve did not stop on %s\n%s", sig, s.log)
	}
	s.cmd = nil
}

// syncBuffer holds a log that is read while it is being written.
type syncBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
