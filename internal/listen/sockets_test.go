package listen

import (
	"errors"
	"io/fs"
	"net"
	"strings"
	"syscall"
	"testing"

	"hoplite/internal/conf"
)

// A reload may change an address to one that overlaps the old one. Connections
// are accepted throughout, and another process cannot take the port.
func TestOverlappingAddress(t *testing.T) {
	probe, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(probe.Addr().String())
	probe.Close()
	s := NewSockets()
	defer s.Close()
	var old net.Listener
	for _, host := range []string{"127.0.0.1", "", "0.0.0.0", "127.0.0.1", "[::]"} {
		address := host + ":" + port
		l, err := s.Listen("in", "tcp", address)
		if err != nil {
			t.Fatalf("%s: %v", address, err)
		}
		if _, err := NewSockets().Listen("in", "tcp", address); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("%s: another process: %v", address, err)
		}
		if old != nil {
			old.Close()
		}
		s.Sweep()
		old = l
		c, err := net.Dial("tcp", "127.0.0.1:"+port)
		if err != nil {
			t.Fatalf("%s: %v", address, err)
		}
		got, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		got.Close()
		c.Close()
	}
	old.Close()
	if len(s.open) != 1 {
		t.Errorf("%d sockets are open", len(s.open))
	}
}

func TestLowPortHint(t *testing.T) {
	denied := &net.OpError{Op: "listen", Err: fs.ErrPermission}
	for _, c := range []struct {
		at   conf.Listen
		err  error
		want bool
	}{
		{conf.Listen{Network: "tcp", Address: ":25"}, denied, true},
		{conf.Listen{Network: "tcp", Address: ":25"}, syscall.EADDRINUSE, false},
		{conf.Listen{Network: "unix", Address: "lmtp.sock"}, denied, false},
	} {
		if got := lowPortHint(c.at, c.err); strings.Contains(got, "CAP_NET_BIND_SERVICE") != c.want {
			t.Errorf("%s, %v: %q", c.at, c.err, got)
		}
	}
}
