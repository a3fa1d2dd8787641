//go:build interop && linux

package chaos

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/textproto"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// The sink is the upstream of the server under test. It is this test binary,
// run as a separate process so that it can be stopped. It writes each message
// to a file before it replies.

// sinkEnv is the environment variable that contains the file's name. If it is
// set, the binary acts as a sink that serves the listeners it inherited.
const sinkEnv = "HOPLITE_CHAOS_SINK"

// startSink starts a sink with n listeners and returns their addresses.
func startSink(t *testing.T, n int, ledger string) (cmd *exec.Cmd, addrs []string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd = exec.Command(self)
	cmd.Env = append(os.Environ(), sinkEnv+"="+ledger)
	cmd.Stderr = os.Stderr
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		f, err := l.(*net.TCPListener).File()
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		cmd.ExtraFiles = append(cmd.ExtraFiles, f)
		addrs = append(addrs, l.Addr().String())
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	return cmd, addrs
}

func runSink(path string) {
	out, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	for fd := uintptr(3); ; fd++ {
		l, err := net.FileListener(os.NewFile(fd, "listener"))
		if err != nil {
			break
		}
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				go receive(conn, out)
			}
		}()
	}
	select {}
}

// receive implements just enough SMTP to receive mail. It defers one message in
// fifty.
func receive(conn net.Conn, out io.Writer) {
	defer conn.Close()
	c := textproto.NewConn(conn)
	if c.PrintfLine("220 sink.chaos.example") != nil {
		return
	}
	for {
		line, err := c.ReadLine()
		if err != nil {
			return
		}
		verb, _, _ := strings.Cut(strings.ToUpper(line), " ")
		reply := "250 2.0.0 Ok"
		switch verb {
		case "EHLO":
			reply = "250-sink.chaos.example\r\n250 PIPELINING"
		case "DATA":
			if c.PrintfLine("354 Go ahead") != nil {
				return
			}
			text, err := c.ReadDotBytes()
			if err != nil {
				return
			}
			if rand.N(50) == 0 {
				reply = "451 4.3.0 Not now"
				break
			}
			sum, id, _ := Identify(bytes.NewReader(text))
			if _, err := fmt.Fprintln(out, id, sum); err != nil {
				reply = "451 4.3.0 " + err.Error()
			}
		case "QUIT":
			c.PrintfLine("221 2.0.0 Bye")
			return
		}
		if c.PrintfLine("%s", reply) != nil {
			return
		}
	}
}
