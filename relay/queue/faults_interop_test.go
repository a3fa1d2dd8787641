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

	"hoplite/internal/powercuttest"
)

// TestInteropPowerCut repeatedly cuts the power under load. Every message that
// was acknowledged with 250 must survive unchanged.
func TestInteropPowerCut(t *testing.T) {
	d := powercuttest.NewDisk(t)
	c := newCrashRun(t, filepath.Join(d.Mount, "queue"))
	for range 6 {
		c.live("load", func(cmd *exec.Cmd) {
			c.loaded(200*time.Millisecond + rand.N(500*time.Millisecond))
			c.power = time.Now()
			d.Cut()
			c.kill(cmd)
		})
		d.On()
	}
	c.compare(200)
}

// TestInteropPowerCutFindsUnsyncedMail is the negative control: a server that
// does not sync must lose mail, or else TestInteropPowerCut would prove
// nothing.
func TestInteropPowerCutFindsUnsyncedMail(t *testing.T) {
	d := powercuttest.NewDisk(t)
	c := newCrashRun(t, d.Mount)
	c.live("unsynced", func(cmd *exec.Cmd) {
		c.loaded(300 * time.Millisecond)
		d.Cut()
		c.kill(cmd)
	})
	d.On()
	lost := 0
	for key := range c.acked {
		var name string
		fmt.Sscan(key, &name)
		if b, err := os.ReadFile(filepath.Join(d.Mount, name)); err != nil || string(b) != name {
			lost++
		}
	}
	t.Logf("%d of %d lost", lost, len(c.acked))
	if lost == 0 {
		t.Error("nothing was lost: the power cut has no effect")
	}
}

// TestInteropSystemCallFaults kills the server before its N-th system call of a
// given kind, or makes that call fail.
func TestInteropSystemCallFaults(t *testing.T) {
	if _, err := exec.LookPath("strace"); err != nil {
		t.Skip("needs strace")
	}
	for _, fault := range []string{"signal=KILL", "error=EIO", "error=ENOSPC"} {
		for call, first := range map[string]int{ // first skips the calls that every Go program makes at startup
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

// TestInteropFullDisk fills a real disk. Mail is refused temporarily, nothing
// is lost, and delivery continues by itself once there is space.
func TestInteropFullDisk(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to mount a file system")
	}
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", dir).CombinedOutput(); err != nil {
		t.Fatalf("mount: %v\n%s", err, out)
	}
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
