package relay

import (
	"context"
	"io"
	"net"
	"os"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"hoplite/internal/listen"
)

// Clients that hold connections open and send almost nothing do not prevent
// others from being served. HOPLITE_SLOW sets their number; 5000 require 20,000
// file descriptors.
func TestSlowClients(t *testing.T) {
	n := 200
	if v, err := strconv.Atoi(os.Getenv("HOPLITE_SLOW")); err == nil {
		n = v
	}
	var lim syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &lim); err != nil || int(lim.Cur) < 3*n+100 {
		t.Skipf("%d descriptors are too few for %d clients", lim.Cur, n)
	}
	d := open(t, "smtp", nil)
	kinds := []string{"", "EHLO x\r\n", "EHL", "EHLO x\r\nSTARTTLS\r\n", "EHLO x\r\nSTARTTLS\r\n\x16\x03\x01",
		"EHLO x\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<ann@example.org>\r\nDATA\r\nSubject:"}
	var slow []net.Conn
	for i := range n {
		c, err := net.Dial("tcp", d.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		io.WriteString(c, kinds[i%len(kinds)])
		slow = append(slow, c)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { drip(ctx, slow) })
	defer wg.Wait()
	defer cancel()
	worst := time.Duration(0)
	for range 10 {
		start := time.Now()
		c := d.hello(t)
		c.send(hi, "250", "ann@example.org")
		c.say("QUIT", "221")
		worst = max(worst, time.Since(start))
	}
	t.Logf("beside %d slow clients: worst of 10 honest ones %s", n, worst)
}

// drip occasionally sends an octet on some of the connections.
func drip(ctx context.Context, conns []net.Conn) {
	for i := 0; ctx.Err() == nil; i++ {
		if c := conns[i%len(conns)]; i%6 == 5 {
			io.WriteString(c, "x")
		}
		time.Sleep(time.Millisecond)
	}
}

// A client that exceeds a connection limit receives an SMTP reply.
func TestTurnedAway(t *testing.T) {
	d := open(t, "smtp", func(c *Config, _ *Env) { c.MaxConnections = 1 })
	d.hello(t)
	c, err := net.Dial("tcp", d.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	got, _ := io.ReadAll(c)
	if want := "421 4.7.0 mail.example.org " + string(listen.Full) + "\r\n"; string(got) != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
