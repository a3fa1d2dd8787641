//go:build interop

package relay

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// A real load balancer passes on the client's address in both versions of the
// protocol.
func TestInteropHAProxy(t *testing.T) {
	path, err := exec.LookPath("haproxy")
	if err != nil {
		t.Skip("haproxy is not installed (Debian package haproxy)")
	}
	for _, how := range []string{"send-proxy", "send-proxy-v2"} {
		t.Run(how, func(t *testing.T) {
			d := open(t, "smtp", func(c *Config, _ *Env) { c.ProxyProtocol = true })
			front := freePort(t)
			file := filepath.Join(t.TempDir(), "haproxy.cfg")
			text := fmt.Sprintf("defaults\n  mode tcp\n  timeout connect 20s\n  timeout client 60s\n  timeout server 60s\n"+
				"listen front\n  bind %s\n  server testServer %s %s\n", front, d.addr, how)
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command(path, "-db", "-f", file)
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				cmd.Process.Kill()
				cmd.Wait()
			})
			through(t, d, front)
			if got := d.boxes.all(); len(got) != 1 || got[0].tx.Client.Addr.Addr().String() != "127.0.0.9" {
				t.Errorf("%+v", got)
			}
		})
	}
}

// through sends a message from 127.0.0.9 through the load balancer at front.
func through(t *testing.T, d *testServer, front string) {
	t.Helper()
	from := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 9)}}
	var conn net.Conn
	var err error
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if conn, err = from.Dial("tcp", front); err == nil {
			break
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	c := wrap(t, conn)
	c.want("220")
	c.say("EHLO client.example.net", "250")
	c.send(hi, "250", "ann@example.org")
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
