//go:build interop && linux

package chaos

import (
	"bufio"
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hoplite/internal/powercuttest"
)

// config has a route for each mode, all on a disk that can fail.
const config = `
hostname = "mail.chaos.example"
data     = %q
log { level = "info" }
history { max = "16MiB" }
queue { reserve = "8MiB" }
smtp "in" {
  listen     = [%q]
  relay_from = ["127.0.0.0/8"]
  max_errors = 1000
  chain      = "in"
}
chain "in" {
  route "maildir" {
    to  = ["maildir.example"]
    hop = "boxes"
  }
  route "inline" {
    to    = ["inline.example"]
    relay = true
    hop   = "inline"
  }
  route "auto" {
    to    = ["auto.example"]
    relay = true
    hop   = "auto"
  }
  route "rest" {
    relay = true
    hop   = "queue"
  }
}
maildrop "boxes" {}
upstream "queue" {
  servers     = ["smtp://%s"]
  mode        = "queue"
  tls         = "off"
  first_retry = "1s"
  max_retry   = "3s"
}
upstream "inline" {
  servers     = ["smtp://%s"]
  mode        = "inline"
  tls         = "off"
}
upstream "auto" {
  servers     = ["smtp://%s"]
  mode        = "auto"
  tls         = "off"
  first_retry = "1s"
  max_retry   = "3s"
}
`

// run is one server under load and everything that it depends on.
type run struct {
	t      *testing.T
	disk   *powercuttest.Disk
	server *server
	sink   *exec.Cmd
	log    string // of the sink
	boxes  string
	ledger *Ledger
	load   *load

	died      int             // ends of the server that no fault asked for
	collected map[string]bool // files of the Maildir, by name
}

func newRun(t *testing.T) *run {
	t.Helper()
	if _, err := exec.LookPath("strace"); err != nil {
		t.Skip("needs strace")
	}
	r := &run{
		t: t, disk: powercuttest.NewDisk(t), ledger: NewLedger(),
		log: filepath.Join(t.TempDir(), "arrived"), collected: map[string]bool{},
	}
	var addrs []string
	r.sink, addrs = startSink(t, 3, r.log)
	data, addr := filepath.Join(r.disk.Mount, "data"), freeAddr(t)
	r.boxes = filepath.Join(data, "mail")
	r.server = newServer(t, fmt.Sprintf(config, data, addr, addrs[0], addrs[1], addrs[2]))
	r.load = &load{addr: addr, ledger: r.ledger}
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := r.server.command("secret-enough\n", "user", "add", "ann@maildir.example"); err != nil {
		t.Fatal(err)
	}
	return r
}

// wait lets the load go on.
func (r *run) wait(d time.Duration) { time.Sleep(d) }

// collect records the messages in the Maildir and removes them. It runs after a
// fault only: what it finds has survived.
func (r *run) collect() {
	r.t.Helper()
	err := filepath.WalkDir(r.boxes, func(path string, d fs.DirEntry, err error) error {
		dir := filepath.Base(filepath.Dir(path))
		if err != nil || d.IsDir() || dir != "new" && dir != "cur" {
			return nil
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		sum, id, err := Identify(f)
		if err != nil {
			return err
		}
		// A power cut can bring back a file that was removed.
		if !r.collected[d.Name()] {
			r.ledger.Arrived(id, sum)
			r.collected[d.Name()] = true
		}
		return os.Remove(path)
	})
	if err != nil {
		r.t.Error(err)
	}
}

// recovers waits until each mode accepts mail again without help.
func (r *run) recovers(name string) {
	r.t.Helper()
	var before [4]int64
	for i := range modes {
		before[i] = r.load.ok[i].Load()
	}
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		waiting := ""
		for i, mode := range modes {
			if r.load.ok[i].Load() == before[i] {
				waiting = mode
			}
		}
		if waiting == "" {
			return
		}
		if !r.server.running() {
			r.died++
			r.server.must()
		}
		if time.Now().After(end) {
			r.t.Fatalf("no mail was accepted in mode %s for %s after %s\n%s", waiting, patience, name, r.server.tail())
		}
	}
}

// settle waits until everything that was acknowledged has arrived.
func (r *run) settle() {
	r.t.Helper()
	f, err := os.Open(r.log)
	if err != nil {
		r.t.Fatal(err)
	}
	defer f.Close()
	in := bufio.NewReader(f)
	half := ""
	for end := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		for {
			line, err := in.ReadString('\n')
			if half += line; err != nil {
				break
			}
			id, sum, _ := strings.Cut(strings.TrimSpace(half), " ")
			half = ""
			r.ledger.Arrived(id, sum)
		}
		r.collect()
		if r.ledger.Missing() == 0 || time.Now().After(end) {
			return
		}
	}
}

// count is how often a fault was caused and took effect, and how long that and
// the recovery took.
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

// TestInteropChaos causes all faults in turn, for two minutes or $CHAOSTIME.
// Nothing that was acknowledged may be lost or changed.
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
		r.load.group.Store(&f.name) // sums by fault; each message counts for its mode, too
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
		t.Errorf("%+v", all)
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

// The negative control: a disk that does not keep what was synced loses mail in a
// power cut, and the ledger finds that. Otherwise TestInteropChaos would prove
// nothing.
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
	r.disk.Cut()
	r.server.kill()
	stop()
	<-ended
	r.disk.On()
	if err := r.server.start(); err != nil {
		t.Logf("after lies about syncs: %v", err)
	}
	time.Sleep(3 * time.Second) // for what the queue has left
	r.collect()
	a := r.ledger.Audit()["maildir"]
	t.Logf("%d of %d messages in the Maildir are lost", a.Lost, a.Acknowledged)
	if a.Lost == 0 {
		t.Error("nothing was lost: the power cut has no effect")
	}
}
