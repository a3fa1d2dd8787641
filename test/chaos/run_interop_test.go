//go:build interop && linux

package chaos

import (
	"bufio"
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

// run is a server under load with everything that it depends on.
type run struct {
	t      *testing.T
	disk   *powercuttest.Disk
	server *server
	sink   *exec.Cmd
	log    string // file in which the sink stores messages
	data   string
	ledger *Ledger
	load   *load

	died      int             // number of times the server ended unexpectedly
	collected map[string]bool // names of Maildir files already collected
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
	r.data = data
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

// wait lets the load continue.
func (r *run) wait(d time.Duration) { time.Sleep(d) }

// collect records the messages in the Maildir and removes them. It runs only
// after a fault, so the messages it finds have survived the fault.
func (r *run) collect() {
	r.t.Helper()
	err := filepath.WalkDir(filepath.Join(r.data, "mail"), func(path string, d fs.DirEntry, err error) error {
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
		// A removed file can reappear after a power cut.
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

// recovers waits until each mode accepts mail again without intervention.
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

// settle waits until every acknowledged message has arrived.
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
		if len(r.ledger.Lost()) == 0 || time.Now().After(end) {
			return
		}
	}
}
