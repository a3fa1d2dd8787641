//go:build interop && linux

package queue

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// needRoot skips a test that mounts things.
func needRoot(t *testing.T, programs ...string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root, to mount a file system")
	}
	needPrograms(t, programs...)
}

func needPrograms(t *testing.T, programs ...string) {
	t.Helper()
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			t.Skipf("needs %s", p)
		}
	}
}

func sh(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
}

// disk is an ext4 file system in a file, whose power can be cut.
type disk struct {
	t            *testing.T
	image, mount string
}

func newDisk(t *testing.T) *disk {
	d := &disk{t: t, image: filepath.Join(t.TempDir(), "disk"), mount: t.TempDir()}
	sh(t, "truncate", "-s", "256M", d.image)
	sh(t, "mkfs.ext4", "-q", "-F", d.image)
	if out, err := exec.Command("mount", "-o", "loop", d.image, d.mount).CombinedOutput(); err != nil {
		t.Skipf("needs loop mounts: %v %s", err, out)
	}
	t.Cleanup(func() { exec.Command("umount", "-l", d.mount).Run() })
	return d
}

// cut stops the file system without flushing anything, as when the power
// fails: EXT4_IOC_SHUTDOWN with EXT4_GOING_FLAGS_NOLOGFLUSH.
func (d *disk) cut() {
	d.t.Helper()
	f, err := os.Open(d.mount)
	if err != nil {
		d.t.Fatal(err)
	}
	defer f.Close()
	flags := uint32(2)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), 0x8004587d, uintptr(unsafe.Pointer(&flags))); errno != 0 {
		d.t.Skipf("needs the ext4 shutdown ioctl: %v", errno)
	}
}

// on mounts the disk again, its journal replayed.
func (d *disk) on() {
	d.t.Helper()
	for try := 0; ; try++ { // the killed server may not be gone altogether
		out, err := exec.Command("umount", d.mount).CombinedOutput()
		if err == nil {
			break
		}
		if try == 100 {
			d.t.Fatalf("umount: %v %s", err, out)
		}
		time.Sleep(50 * time.Millisecond)
	}
	sh(d.t, "mount", "-o", "loop", d.image, d.mount)
}

// The power fails under load, again and again: what was answered with 250 is
// there afterwards, whole.
func TestInteropPowerCut(t *testing.T) {
	needRoot(t, "mkfs.ext4", "mount")
	d := newDisk(t)
	c := newCrashRun(t, filepath.Join(d.mount, "queue"))
	for range 6 {
		c.live("load", func(cmd *exec.Cmd) {
			c.loaded(200*time.Millisecond + rand.N(500*time.Millisecond))
			d.cut()
			c.kill(cmd)
		})
		d.on()
	}
	c.compare(200)
}

// The negative control: a server that does not sync loses mail by the same
// cut. If it did not, TestInteropPowerCut would show nothing.
func TestInteropPowerCutFindsUnsyncedMail(t *testing.T) {
	needRoot(t, "mkfs.ext4", "mount")
	d := newDisk(t)
	c := newCrashRun(t, d.mount)
	c.live("unsynced", func(cmd *exec.Cmd) {
		c.loaded(300 * time.Millisecond)
		d.cut()
		c.kill(cmd)
	})
	d.on()
	lost := 0
	for key := range c.acked {
		var name string
		fmt.Sscan(key, &name)
		if b, err := os.ReadFile(filepath.Join(d.mount, name)); err != nil || string(b) != name {
			lost++
		}
	}
	t.Logf("%d of %d lost", lost, len(c.acked))
	if lost == 0 {
		t.Error("nothing was lost: the power cut does not cut")
	}
}

// The kernel kills the server in front of its N-th system call of a kind, or
// lets that call fail.
func TestInteropSystemCallFaults(t *testing.T) {
	needPrograms(t, "strace")
	for _, fault := range []string{"signal=KILL", "error=EIO", "error=ENOSPC"} {
		for call, first := range map[string]int{ // first: behind what the start of any Go program calls
			"fdatasync": 1, "fsync": 1, "write": 3, "openat": 15, "unlinkat": 1, "renameat": 1,
		} {
			t.Run(fault+" "+call, func(t *testing.T) {
				c := newCrashRun(t, t.TempDir())
				early := 0
				for n := 0; n < 40; n += 1 + n/2 {
					c.kills++
					if c.live("64", nil, "strace", "-f", "-qq", "-o", os.DevNull, "-e", "trace="+call,
						"-e", fmt.Sprintf("inject=%s:%s:when=%d", call, fault, first+n)) != nil {
						early++
					}
				}
				t.Logf("%d of %d lives ended early", early, c.kills)
				c.compare(200)
			})
		}
	}
}

// A disk that is really full: mail is put off, nothing is lost, and once there
// is space everything goes on by itself.
func TestInteropFullDisk(t *testing.T) {
	needRoot(t, "mount")
	dir := t.TempDir()
	sh(t, "mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", dir)
	t.Cleanup(func() { exec.Command("umount", "-l", dir).Run() })
	filler := filepath.Join(dir, "filler")
	if err := os.WriteFile(filler, make([]byte, 7<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	c := newCrashRun(t, filepath.Join(dir, "queue"))
	c.live("2000", func(cmd *exec.Cmd) {
		time.Sleep(2 * time.Second)
		os.Remove(filler)
	})
	t.Logf("%d refused", c.seen["refused"])
	if c.seen["refused"] == 0 {
		t.Error("the disk was never full")
	}
	c.compare(0)
}
