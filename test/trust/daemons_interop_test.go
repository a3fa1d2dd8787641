//go:build interop && linux

package trust

import (
	"bytes"
	"context"
	"io"
	"net"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"
)

// nameserver is the address at which the zone is served. The port is 53,
// because some judges cannot use another one.
const nameserver = "127.0.0.114"

// judgeOf is another program whose results are compared. An empty result means
// that it has no opinion.
type judgeOf struct {
	name  string
	judge func(c *Case, ours Results) (Results, error)
}

// place returns a folder that daemons running as other users can access. Its
// name is short, because a socket path may have at most 107 octets.
func place(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "trust")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	return dir
}

func write(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// daemon starts a program and waits until it is listening.
func daemon(t *testing.T, network, addr string, args ...string) {
	t.Helper()
	cmd := exec.Command(args[0], args[1:]...)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Skipf("%v: make interop installs it", err)
	}
	ended := make(chan struct{})
	go func() { cmd.Wait(); close(ended) }()
	t.Cleanup(func() { syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL); <-ended })
	for range 600 {
		if conn, err := net.Dial(network, addr); err == nil {
			conn.Close()
			return
		}
		select {
		case <-ended:
			t.Fatalf("%s ended: %s", args[0], said.String())
		case <-time.After(50 * time.Millisecond):
		}
	}
	t.Fatalf("%s does not listen", args[0])
}

// withNameserver returns a command line that runs a program with its own
// resolv.conf. It unmounts the disks of other tests in the program's mount
// namespace, because those tests could otherwise not unmount them.
func withNameserver(t *testing.T, dir string, args ...string) []string {
	t.Helper()
	if _, err := exec.LookPath(args[0]); err != nil {
		t.Skipf("%v: make interop installs it", err)
	}
	write(t, dir+"/resolv.conf", "nameserver "+nameserver+"\n")
	const script = `
		grep ^/dev/loop /proc/mounts | while read -r device folder rest; do umount -l "$folder"; done
		mount --bind "$0/resolv.conf" /etc/resolv.conf && exec "$@"`
	return append([]string{"unshare", "-m", "--propagation", "private", "sh", "-c", script, dir}, args...)
}

// serve answers DNS queries from the zones of all cases so far.
func serve(t *testing.T, answer func(ctx context.Context, query []byte, limit int) []byte) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	udp, err := net.ListenPacket("udp", nameserver+":53")
	if err != nil {
		t.Skipf("needs port 53 of %s: %v", nameserver, err)
	}
	tcp, err := net.Listen("tcp", nameserver+":53")
	if err != nil {
		t.Fatal(err)
	}
	context.AfterFunc(ctx, func() { udp.Close(); tcp.Close() })
	go func() {
		buf := make([]byte, 4096)
		for {
			n, from, err := udp.ReadFrom(buf)
			if err != nil {
				return
			}
			if out := answer(ctx, append([]byte(nil), buf[:n]...), 512); out != nil {
				udp.WriteTo(out, from)
			}
		}
	}()
	go func() {
		for {
			conn, err := tcp.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				var size [2]byte
				for {
					if _, err := io.ReadFull(conn, size[:]); err != nil {
						return
					}
					query := make([]byte, int(size[0])<<8|int(size[1]))
					if _, err := io.ReadFull(conn, query); err != nil {
						return
					}
					out := answer(ctx, query, 65535)
					if _, err := conn.Write(append([]byte{byte(len(out) >> 8), byte(len(out))}, out...)); err != nil {
						return
					}
				}
			}()
		}
	}()
}
