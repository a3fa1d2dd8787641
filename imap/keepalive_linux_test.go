package imap

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"hoplite/maildrop"
)

// Silent connections are probed after minutes instead of Go's default of 15
// seconds, which would keep phones awake.
func TestKeepAlive(t *testing.T) {
	for _, tc := range []struct{ configured, want time.Duration }{{0, 5 * time.Minute}, {20 * time.Minute, 20 * time.Minute}} {
		c := open(t, Config{KeepAlive: tc.configured}, maildrop.Config{}).login(t)
		c.ok("NOOP")
		got := keepAliveTimer(t, c.RemoteAddr().(*net.TCPAddr).Port, c.LocalAddr().(*net.TCPAddr).Port)
		if got > tc.want || got < tc.want-time.Minute {
			t.Errorf("configured %v: the first probe is sent in %v, want %v", tc.configured, got, tc.want)
		}
	}
}

// keepAliveTimer returns the time until the kernel probes the connection
// between two local ports.
func keepAliveTimer(t *testing.T, local, remote int) time.Duration {
	t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if d, ok := readTimer(t, local, remote); ok {
			return d
		}
	}
	t.Fatal("the connection has no keep-alive timer")
	return 0
}

// readTimer reads /proc/net/tcp (proc(5)), in which timer 2 is keep-alive.
// While an acknowledgement is outstanding, another timer is active.
func readTimer(t *testing.T, local, remote int) (time.Duration, bool) {
	t.Helper()
	table, err := os.ReadFile("/proc/net/tcp")
	must(t, err)
	for line := range strings.Lines(string(table)) {
		f := strings.Fields(line)
		if len(f) < 6 || !strings.HasSuffix(f[1], fmt.Sprintf(":%04X", local)) || !strings.HasSuffix(f[2], fmt.Sprintf(":%04X", remote)) {
			continue
		}
		kind, when, _ := strings.Cut(f[5], ":")
		ticks, err := strconv.ParseInt(when, 16, 64)
		must(t, err)
		return time.Duration(ticks) * 10 * time.Millisecond, kind == "02"
	}
	return 0, false
}
