//go:build interop && linux

package chaos

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// fault is a failure that occurs while mail is being processed. cause starts
// and ends the fault and returns the number of times it took effect. Afterwards
// the server is running again.
type fault struct {
	name  string
	cause func(*run) int
}

var faults = []fault{
	{"kill -9", (*run).killed},
	{"power cut", (*run).powerCut},
	{"power cut during the start", (*run).powerCutAtStart},
	{"full disk", (*run).fullDisk},
	{"failing system calls", (*run).failingCalls},
	{"upstream stopped", (*run).upstreamStopped},
	{"SIGHUP", (*run).hangup},
	{"SIGTERM", (*run).terminated},
}

func (r *run) killed() int {
	r.server.kill()
	r.server.must()
	return 1
}

func (r *run) powerCut() int {
	r.cut()
	r.disk.On()
	r.server.must()
	return 1
}

// cut ends the server and its disk at the same time. The kernel reports success
// for syncs that are in progress when a file system is shut down. The server is
// stopped first, so that it does not report that success to a client.
func (r *run) cut() {
	r.server.signal(syscall.SIGSTOP)
	r.server.awaitStop()
	r.disk.Cut()
	r.server.kill()
}

// powerCutAtStart cuts the power twice: the second cut occurs while the server
// is recovering from the first.
func (r *run) powerCutAtStart() int {
	r.cut()
	r.disk.On()
	if err := r.server.launch(); err != nil {
		r.t.Fatal(err)
	}
	time.Sleep(rand.N(400 * time.Millisecond))
	r.cut()
	r.disk.On()
	r.server.must()
	return 2
}

// fullDisk fills the disk for a while.
func (r *run) fullDisk() int {
	filler := filepath.Join(r.disk.Mount, "filler")
	f, err := os.Create(filler)
	if err != nil {
		r.t.Fatal(err)
	}
	defer f.Close()
	before := r.load.refused.Load()
	for size := int64(1 << 30); size > 4096; size /= 2 {
		end, _ := f.Seek(0, 2)
		if unix.Fallocate(int(f.Fd()), 0, end, size) == nil {
			size *= 2
		}
	}
	r.wait(time.Second + rand.N(time.Second))
	if err := os.Remove(filler); err != nil {
		r.t.Fatal(err)
	}
	return int(r.load.refused.Load() - before)
}

// failingCalls makes some of the running server's system calls fail. Reads and
// writes fail only for open files of the queue and the history, because Go's
// runtime uses the same calls to wake its threads, and the program would crash
// if they failed.
func (r *run) failingCalls() int {
	calls := []string{"fdatasync", "fsync", "openat", "renameat", "unlinkat", "ftruncate", "newfstatat", "fallocate"}
	out := filepath.Join(r.t.TempDir(), "strace")
	args := []string{"-f", "-qq", "-o", out, "-p", fmt.Sprint(r.server.cmd.Process.Pid)}
	if rand.N(2) == 0 {
		calls = []string{"fdatasync", "write", "pwrite64", "pread64", "ftruncate"}
		for _, pattern := range []string{"queue/log/*", "history/*"} {
			files, _ := filepath.Glob(filepath.Join(r.data, pattern))
			for _, path := range files {
				args = append(args, "-P", path)
			}
		}
	}
	args = append(args, "-e", "trace="+strings.Join(calls, ","))
	for range 3 {
		call := calls[rand.N(len(calls))]
		mistake := []string{"EIO", "ENOSPC"}[rand.N(2)]
		args = append(args, "-e", fmt.Sprintf("inject=%s:error=%s:when=%d+%d", call, mistake, 1+rand.N(5), 2+rand.N(20)))
	}
	trace := exec.Command("strace", args...)
	if err := trace.Start(); err != nil {
		r.t.Fatal(err)
	}
	r.wait(time.Second + rand.N(time.Second))
	trace.Process.Signal(os.Interrupt)
	late := time.AfterFunc(10*time.Second, func() { trace.Process.Kill() })
	trace.Wait()
	late.Stop()
	if !r.server.running() {
		r.died++
		r.server.must()
	}
	text, err := os.ReadFile(out)
	if err != nil {
		r.t.Fatal(err)
	}
	return strings.Count(string(text), "(INJECTED)")
}

// upstreamStopped stops the upstream's process: connections stay open, but
// nothing replies.
func (r *run) upstreamStopped() int {
	r.sink.Process.Signal(syscall.SIGSTOP)
	r.wait(time.Second + rand.N(2*time.Second))
	r.sink.Process.Signal(syscall.SIGCONT)
	return 1
}

// hangup reloads the configuration several times.
func (r *run) hangup() int {
	const reloaded = `"configuration reloaded"`
	before := r.server.logged(reloaded)
	for range 5 {
		r.server.cmd.Process.Signal(syscall.SIGHUP)
		r.wait(rand.N(300 * time.Millisecond))
	}
	r.wait(time.Second)
	return r.server.logged(reloaded) - before
}

// terminated stops the server as a restart does.
func (r *run) terminated() int {
	r.server.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-r.server.exited:
	case <-time.After(patience):
		r.t.Error("the server does not stop on SIGTERM")
		r.server.kill()
	}
	r.server.must()
	return 1
}
