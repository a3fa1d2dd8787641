//go:build linux

// Package powercuttest simulates, for tests, a disk whose power can be cut: an
// ext4 file system in a file, mounted through a loop device. Tests without the
// necessary privileges are skipped. The tests define which data must survive a
// power cut.
package powercuttest

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Disk is a mounted file system.
type Disk struct {
	// Mount is the mount point.
	Mount string

	t     *testing.T
	image string
}

// NewDisk creates an empty disk and mounts it until the test ends.
func NewDisk(t *testing.T) *Disk {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root, to mount a file system")
	}
	if _, err := exec.LookPath("mkfs.ext4"); err != nil {
		t.Skip("needs mkfs.ext4")
	}
	d := &Disk{t: t, image: filepath.Join(t.TempDir(), "disk"), Mount: t.TempDir()}
	d.run("truncate", "-s", "256M", d.image)
	d.run("mkfs.ext4", "-q", "-F", d.image)
	if out, err := exec.Command("mount", "-o", "loop", d.image, d.Mount).CombinedOutput(); err != nil {
		t.Skipf("needs loop mounts: %v %s", err, out)
	}
	t.Cleanup(func() { exec.Command("umount", "-l", d.Mount).Run() })
	return d
}

func (d *Disk) run(name string, args ...string) {
	d.t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		d.t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
}

// Cut stops the file system without flushing anything, as a power failure does:
// EXT4_IOC_SHUTDOWN with EXT4_GOING_FLAGS_NOLOGFLUSH.
func (d *Disk) Cut() {
	d.t.Helper()
	f, err := os.Open(d.Mount)
	if err != nil {
		d.t.Fatal(err)
	}
	defer f.Close()
	flags := uint32(2)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), 0x8004587d, uintptr(unsafe.Pointer(&flags))); errno != 0 {
		d.t.Skipf("needs the ext4 shutdown ioctl: %v", errno)
	}
}

// On mounts the disk again, which replays its journal. The disk must not be in
// use; On waits a few seconds for a killed process to exit.
func (d *Disk) On() {
	d.t.Helper()
	for try := 0; ; try++ {
		out, err := exec.Command("umount", d.Mount).CombinedOutput()
		if err == nil {
			break
		}
		if try == 200 {
			d.t.Fatalf("umount: %v %s", err, out)
		}
		time.Sleep(50 * time.Millisecond)
	}
	d.run("mount", "-o", "loop", d.image, d.Mount)
	// The disk may still be mounted, and shut down, in the mount namespace of
	// another process.
	probe := filepath.Join(d.Mount, ".probe")
	err := os.WriteFile(probe, nil, 0o600)
	if err = errors.Join(err, os.Remove(probe)); err != nil {
		d.t.Fatalf("the disk is still in use elsewhere: %v", err)
	}
}
