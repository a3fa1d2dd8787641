//go:build interop && linux

package chaos

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience is the maximum time for a start, a reply or a recovery on a busy
// machine.
const patience = 60 * time.Second

// build builds the program under test.
var build = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "hoplite-chaos-")
	if err != nil {
		return "", err
	}
	bin := filepath.Join(dir, "hoplite")
	if out, err := exec.Command("go", "build", "-trimpath", "-o", bin, "hoplite/cmd/hoplite").CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return bin, nil
})

func TestMain(m *testing.M) {
	if path := os.Getenv(sinkEnv); path != "" {
		runSink(path)
		return
	}
	code := m.Run()
	if bin, err := build(); err == nil {
		os.RemoveAll(filepath.Dir(bin))
	}
	os.Exit(code)
}

// server is the program with its own configuration. It is started repeatedly.
type server struct {
	t      *testing.T
	bin    string
	config string
	log    string // a file on a disk that does not fail

	cmd           *exec.Cmd
	ready, exited chan struct{} // closed when the current process is ready or has exited
}

func newServer(t *testing.T, config string) *server {
	t.Helper()
	bin, err := build()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	s := &server{t: t, bin: bin, config: filepath.Join(dir, "relay.hcl"), log: filepath.Join(dir, "log")}
	if err := os.WriteFile(s.config, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.kill)
	t.Cleanup(s.keepLog)
	return s
}

// keepLog copies the log of a failed test to a place where it is not removed.
func (s *server) keepLog() {
	if !s.t.Failed() {
		return
	}
	if f, err := os.CreateTemp("", "hoplite-chaos-log-"); err == nil {
		defer f.Close()
		if log, err := os.Open(s.log); err == nil {
			defer log.Close()
			io.Copy(f, log)
		}
		s.t.Logf("the server's log is in %s", f.Name())
	}
}

// start runs the server, with wrap in front of its command line, and waits until
// it is ready or has ended.
func (s *server) start(wrap ...string) error {
	if err := s.launch(wrap...); err != nil {
		return err
	}
	select {
	case <-s.ready:
		return nil
	case <-s.exited:
		return errors.New("serve ended before it was ready")
	case <-time.After(patience):
		return fmt.Errorf("serve is not ready after %s", patience)
	}
}

// launch starts the server and does not wait.
func (s *server) launch(wrap ...string) error {
	args := append(wrap, s.bin, "serve", "-c", s.config)
	s.cmd = exec.Command(args[0], args[1:]...)
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	log, err := os.OpenFile(s.log, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	s.cmd.Stderr = log
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := s.cmd.Start(); err != nil {
		return err
	}
	ready, exited, cmd := make(chan struct{}), make(chan struct{}), s.cmd
	s.ready, s.exited = ready, exited
	go func() {
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if lines.Text() == "ready" {
				close(ready)
			}
		}
		cmd.Wait()
		close(exited)
	}()
	return nil
}

// must starts the server. If that fails, the test fails with the server's log.
func (s *server) must() {
	s.t.Helper()
	if err := s.start(); err != nil {
		s.t.Fatalf("%v\n%s", err, s.tail())
	}
}

// running reports whether the process is running.
func (s *server) running() bool {
	select {
	case <-s.exited:
		return false
	default:
		return true
	}
}

// signal sends a signal to the server and the program that wraps it.
func (s *server) signal(sig syscall.Signal) { syscall.Kill(-s.cmd.Process.Pid, sig) }

// awaitStop waits until the process that received SIGSTOP executes no more code
// of its own. Threads in a system call that cannot be interrupted, such as a
// sync, stop when it returns, but only if another thread has already stopped and
// thereby told all of them to. On a busy machine that takes many milliseconds.
func (s *server) awaitStop() {
	s.t.Helper()
	threads := fmt.Sprintf("/proc/%d/task/*/stat", s.cmd.Process.Pid)
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(time.Millisecond) {
		files, _ := filepath.Glob(threads)
		if stoppedThreads(files) {
			return
		}
	}
	s.t.Errorf("the server does not stop on SIGSTOP")
}

// stoppedThreads reports whether at least one of the threads with these stat
// files has stopped and the others are stopped, in an uninterruptible system
// call, or have ended.
func stoppedThreads(files []string) bool {
	stopped := len(files) == 0 // the process has ended
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			continue // the thread has ended
		}
		_, rest, _ := strings.Cut(string(b), ") ")
		switch rest[:min(1, len(rest))] {
		case "T", "t":
			stopped = true
		case "D", "Z", "X", "":
		default:
			return false
		}
	}
	return stopped
}

// kill sends SIGKILL to the server and the program that wraps it.
func (s *server) kill() {
	if s.cmd == nil {
		return
	}
	s.signal(syscall.SIGKILL)
	<-s.exited
}

// logged returns the number of times the log contains text.
func (s *server) logged(text string) int {
	b, err := os.ReadFile(s.log)
	if err != nil {
		return 0
	}
	return strings.Count(string(b), text)
}

// tail returns the end of the log.
func (s *server) tail() string {
	b, _ := os.ReadFile(s.log)
	return string(b[max(0, len(b)-4000):])
}

// command runs another command of the program.
func (s *server) command(stdin string, args ...string) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, s.bin, append(args, "-c", s.config)...)
	cmd.Stdin = strings.NewReader(stdin)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("hoplite %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return nil
}

// freeAddr returns a loopback address with a port that is currently free.
func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
