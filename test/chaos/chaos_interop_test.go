//go:build interop && linux

package chaos

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// count records how often a fault was caused and took effect, and the duration
// of the fault and of the recovery.
type count struct {
	tried, fired int
	took         time.Duration
}

// table returns the sums of the run by fault and by mode.
func (r *run) table(sums map[string]Account, counts map[string]*count, took time.Duration) string {
	var b strings.Builder
	fmt.Fprintf(&b, "\n%-28s %6s %6s %8s %5s %7s %7s %7s %8s %8s\n", "fault or mode", "tried", "fired", "accepted", "lost", "doubled", "changed", "unacked", "seconds", "MiB")
	row := func(name string, tried, fired any, took string) {
		a := sums[name]
		fmt.Fprintf(&b, "%-28s %6v %6v %8d %5d %7d %7d %7d %8s %8.1f\n", name, tried, fired,
			a.Acknowledged, a.Lost, a.Doubled, a.Changed, a.Unacknowledged, took, float64(a.Octets)/(1<<20))
	}
	for _, f := range faults {
		if c := counts[f.name]; c != nil {
			row(f.name, c.tried, c.fired, fmt.Sprintf("%.1f", c.took.Seconds()))
		}
	}
	for _, mode := range modes {
		row(mode, "", "", "")
	}
	row("all", "", "", fmt.Sprintf("%.1f", took.Seconds()))
	fmt.Fprintf(&b, "refused %d, connections failed %d, foreign arrivals %d, ends of the server not asked for %d\n",
		r.load.refused.Load(), r.load.failed.Load(), r.ledger.Foreign(), r.died)
	return b.String()
}

// TestInteropChaos causes all faults in turn, for two minutes or $CHAOSTIME. No
// acknowledged message may be lost or changed.
func TestInteropChaos(t *testing.T) {
	length := 2 * time.Minute
	if s := os.Getenv("CHAOSTIME"); s != "" {
		var err error
		if length, err = time.ParseDuration(s); err != nil {
			t.Fatal(err)
		}
	}
	r := newRun(t)
	r.server.must()
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { r.load.run(ctx, 200); close(ended) }()
	defer func() { stop(); <-ended }()

	counts := map[string]*count{}
	start := time.Now()
	for i := 0; time.Since(start) < length; i++ {
		f := faults[i%len(faults)]
		c := counts[f.name]
		if c == nil {
			c = &count{}
			counts[f.name] = c
		}
		r.load.group.Store(&f.name) // sums are grouped by fault; each message also counts for its mode
		began := time.Now()
		r.wait(300 * time.Millisecond)
		c.tried++
		c.fired += f.cause(r)
		r.recovers(f.name)
		r.collect()
		c.took += time.Since(began)
	}
	stop()
	<-ended
	r.settle()

	sums := r.ledger.Audit()
	t.Log(r.table(sums, counts, time.Since(start)))
	for name, c := range counts {
		if c.fired == 0 {
			t.Errorf("%s: caused %d times without effect", name, c.tried)
		}
	}
	if all := sums["all"]; all.Lost > 0 || all.Changed > 0 || all.Acknowledged < 100 {
		t.Errorf("%+v\nlost: %q", all, r.ledger.Lost())
	}
	if r.died > 0 {
		t.Errorf("the server ended %d times by itself", r.died)
	}
	for _, mode := range modes {
		if sums[mode].Acknowledged == 0 {
			t.Errorf("mode %s accepted no mail", mode)
		}
	}
	if n := r.server.logged(`panic`); n > 0 {
		t.Errorf("%d lines about panics in the log\n%s", n, r.server.tail())
	}
}

// This is the negative control for TestInteropChaos: with a disk that loses
// synced data, a power cut loses mail, and the ledger must detect it.
func TestInteropChaosFindsLostMail(t *testing.T) {
	r := newRun(t)
	if err := r.server.start("strace", "-f", "-qq", "-o", os.DevNull, "-e", "trace=fdatasync,fsync",
		"-e", "inject=fdatasync,fsync:retval=0"); err != nil {
		t.Fatalf("%v\n%s", err, r.server.tail())
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { r.load.run(ctx, 200); close(ended) }()
	defer func() { stop(); <-ended }()
	r.wait(time.Second)
	r.cut()
	stop()
	<-ended
	r.disk.On()
	if err := r.server.start(); err != nil {
		t.Logf("after lies about syncs: %v", err)
	}
	time.Sleep(3 * time.Second) // for the mail that is still in the queue
	r.collect()
	a := r.ledger.Audit()["maildir"]
	t.Logf("%d of %d messages in the Maildir are lost", a.Lost, a.Acknowledged)
	if a.Lost == 0 {
		t.Error("nothing was lost: the power cut has no effect")
	}
}
