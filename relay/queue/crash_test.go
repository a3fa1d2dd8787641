package queue

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"hoplite/internal/sampletest"
	"hoplite/mail"
	"hoplite/relay/queue/journal/disk"
	"hoplite/relay/queue/record"
	"hoplite/relay/queue/schedule"
)

// The crash tests run this test binary as a server. It queues messages, prints
// the ones it has acknowledged, and delivers them to a ledger. The test kills
// the server, restarts it, and compares the results.

const (
	childDir    = "HOPLITE_CRASH_DIR"    // the queue directory; makes the binary a server
	childLedger = "HOPLITE_CRASH_LEDGER" // the file that deliveries are written to
	childMode   = "HOPLITE_CRASH_MODE"   // "load", "drain", "idle", "unsynced", or a number of messages
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		if err := crashChild(dir, os.Getenv(childLedger), os.Getenv(childMode)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// ledger is the child's next hop. It writes a line for each copy, and
// occasionally defers one so that states are written, too.
type ledger struct{ file *os.File }

func (l ledger) Open(_ context.Context, tx *mail.Transaction) (mail.Handoff, error) {
	return &entry{file: l.file, tx: tx}, nil
}

type entry struct {
	file  *os.File
	tx    *mail.Transaction
	rcpts []mail.Rcpt
}

func (e *entry) Rcpt(_ context.Context, r mail.Rcpt) error {
	if rand.N(8) == 0 {
		return mail.NewReply(450, "4.2.1", "not now")
	}
	e.rcpts = append(e.rcpts, r)
	return nil
}

func (e *entry) Send(_ context.Context, m *mail.Message) []mail.Outcome {
	sum := sha256.New()
	_, err := m.WriteTo(sum)
	out := make([]mail.Outcome, len(e.rcpts))
	for i, r := range e.rcpts {
		if err == nil {
			_, err = fmt.Fprintf(e.file, "%s %s %x\n", e.tx.ID, r.To, sum.Sum(nil))
		}
		out[i] = mail.Outcome{Rcpt: r.To, Reply: mail.Reply{Code: 250}}
		if err != nil {
			out[i].Reply = *mail.AsReply(err)
		}
	}
	return out
}

func (e *entry) Close() error { return nil }

func crashChild(dir, ledgerPath, mode string) error {
	if mode == "unsynced" {
		return unsyncedChild(dir)
	}
	file, err := os.OpenFile(ledgerPath, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	log := zerolog.New(os.Stderr).Level(zerolog.WarnLevel)
	j, err := disk.Open(disk.Options{Dir: dir, Segment: 4 << 20, Inline: 64 << 10, Age: 300 * time.Millisecond, Spare: true, Envelope: record.Envelope, Log: log})
	if err != nil {
		return err
	}
	q, err := Open(Options{Journal: j, Settings: Settings{Hostname: "mail.example.org"}, Log: log})
	if err != nil {
		return err
	}
	q.Add(Upstream{Name: "out", Hop: ledger{file}, Policy: schedule.Policy{RetryMin: 20 * time.Millisecond, RetryMax: 200 * time.Millisecond}})
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- q.Run(ctx, 10*time.Second) }()

	limit, err := strconv.Atoi(mode)
	if err != nil {
		limit = 1 << 30
	}
	if mode == "idle" {
		limit = 80
	}
	var writers sync.WaitGroup
	for w := range 8 {
		if mode != "drain" {
			writers.Go(func() { crashWriter(q, w, limit/8) })
		}
	}
	writers.Wait()
	for len(q.List(Filter{}, 1)) > 0 {
		time.Sleep(10 * time.Millisecond)
	}
	for mode == "idle" { // until the done marks are on disk, and then until the kill
		if j.Usage().Messages == 0 {
			fmt.Println("idle - - - 0")
		}
		time.Sleep(10 * time.Millisecond)
	}
	stop()
	if err := <-done; err != nil {
		return err
	}
	return q.Close()
}

// crashWriter acts as one client. It prints the messages that were acknowledged
// with 250.
func crashWriter(q *Queue, w, limit int) {
	sizes := []int{500, 2000, 20_000, 100_000}
	for i := range limit {
		text := fmt.Appendf(nil, "Subject: %d %d\r\n\r\n", w, i)
		text = append(text, bytes.Repeat([]byte("0123456789abcdef"), sizes[rand.N(len(sizes))]/16)...)
		m, err := mail.NewMessage(mail.Bytes(text))
		if err != nil {
			panic(err)
		}
		tx := mail.NewTransaction(mail.Client{}, "ann@example.org")
		h, err := q.Hop("out").Open(context.Background(), tx)
		if err != nil {
			panic(err)
		}
		rcpts := to("a@example.net", "b@example.net")[:1+i%2]
		for _, r := range rcpts {
			h.Rcpt(context.Background(), r)
		}
		out := h.Send(context.Background(), m)
		h.Close()
		for _, o := range out {
			word := "refused"
			if o.Reply.Positive() {
				word = "acked"
			}
			fmt.Printf("%s %s %s %x %d\n", word, tx.ID, o.Rcpt, sha256.Sum256(text), time.Now().UnixNano())
		}
		if !out[0].Reply.Positive() {
			time.Sleep(5 * time.Millisecond)
		}
	}
}

// unsyncedChild is the negative control: a writer that acknowledges messages
// before syncing them.
func unsyncedChild(dir string) error {
	for i := range 1 << 20 {
		name := fmt.Sprint("m", i)
		if err := os.WriteFile(filepath.Join(dir, name), []byte(name), 0o600); err != nil {
			return err
		}
		fmt.Printf("acked %s x x 0\n", name)
	}
	return nil
}

// crashRun holds the ledgers of a test that runs the server repeatedly.
type crashRun struct {
	t      *testing.T
	dir    string
	ledger string
	acked  map[string]string // "id rcpt" and the sum of the octets
	seen   map[string]int    // lines by first word
	kills  int
	when   map[string]string // this run's replies, by time in Unix nanoseconds
	power  time.Time         // time of the power cut; zero if there was none
	idle   chan struct{}     // closed when the server has nothing left to do
	lines  atomic.Int64      // read during this run
}

func newCrashRun(t *testing.T, dir string) *crashRun {
	return &crashRun{t: t, dir: dir, ledger: filepath.Join(t.TempDir(), "ledger"), acked: map[string]string{}, seen: map[string]int{}, idle: make(chan struct{})}
}

// live starts the server, lets it run until end returns, kills it, and reads
// its list of acknowledged messages. wrap is an optional command that runs the
// server.
func (c *crashRun) live(mode string, end func(*exec.Cmd), wrap ...string) (exit error) {
	c.t.Helper()
	self, err := os.Executable()
	if err != nil {
		c.t.Fatal(err)
	}
	args := append(wrap, self)
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(os.Environ(), childDir+"="+c.dir, childLedger+"="+c.ledger, childMode+"="+mode)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.StdoutPipe()
	if err != nil {
		c.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	read := make(chan struct{})
	c.lines.Store(0)
	c.when = map[string]string{}
	go func() { defer close(read); c.read(out) }()
	if end != nil {
		end(cmd)
	}
	<-read
	c.unheard()
	exit = cmd.Wait()
	if exit != nil && end == nil && len(wrap) == 0 {
		c.t.Fatalf("the server exited: %v\n%s", exit, said.String())
	}
	return exit
}

func (c *crashRun) read(out io.Reader) {
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		if len(words) != 5 { // truncated by the kill
			continue
		}
		c.lines.Add(1)
		if c.seen[words[0]]++; words[0] == "idle" && c.seen["idle"] == 1 {
			close(c.idle)
		}
		if words[0] == "acked" {
			c.acked[words[1]+" "+words[2]] = words[3]
			c.when[words[1]+" "+words[2]] = words[4]
		}
	}
}

// unheard discards acknowledgements made after the power was cut. After a real
// power cut no reply would reach a client, but the kernel reports success for
// syncs in progress when a file system is shut down.
func (c *crashRun) unheard() {
	if c.power.IsZero() {
		return
	}
	for key, when := range c.when {
		if nano, err := strconv.ParseInt(when, 10, 64); err != nil || nano > c.power.UnixNano() {
			delete(c.acked, key)
		}
	}
	c.power = time.Time{}
}

// loaded waits until the server has acknowledged a message, and then for more.
func (c *crashRun) loaded(more time.Duration) {
	for deadline := time.Now().Add(30 * time.Second); c.lines.Load() == 0 && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	time.Sleep(more)
}

func (c *crashRun) kill(cmd *exec.Cmd) {
	c.kills++
	cmd.Process.Kill()
}

// compare drains the queue and compares the ledger with the acknowledged
// messages.
func (c *crashRun) compare(inFlight int) {
	c.t.Helper()
	c.live("drain", nil)
	text, err := os.ReadFile(c.ledger)
	if err != nil {
		c.t.Fatal(err)
	}
	copies := map[string]int{}
	for line := range strings.Lines(string(text)) {
		words := strings.Fields(line)
		if len(words) != 3 {
			c.t.Fatalf("ledger line %q", line)
		}
		key := words[0] + " " + words[1]
		copies[key]++
		if want, ok := c.acked[key]; ok && want != words[2] {
			c.t.Errorf("%s arrived modified", key)
		}
	}
	lost, dup := 0, 0
	for key := range c.acked {
		if copies[key] == 0 {
			lost++
		}
	}
	for _, n := range copies {
		dup += n - 1
	}
	c.t.Logf("%d crashes: %d recipients answered for, %d lost, %d duplicates", c.kills, len(c.acked), lost, dup)
	if lost > 0 {
		c.t.Errorf("%d of %d lost", lost, len(c.acked))
	}
	if limit := c.kills * inFlight; dup > limit {
		c.t.Errorf("%d duplicates, but at most %d messages were in flight", dup, limit)
	}
	if len(c.acked) == 0 {
		c.t.Error("nothing was acknowledged: the test proves nothing")
	}
}

// TestKill repeatedly kills the server under load. Only messages that were
// being delivered, or whose done marks were less than 100 ms old, may arrive
// twice. With HOPLITE_WHOLE=1 it is killed 40 times.
func TestKill(t *testing.T) {
	cycles := 8
	if sampletest.Whole() {
		cycles = 40
	}
	c := newCrashRun(t, t.TempDir())
	for range cycles {
		c.live("load", func(cmd *exec.Cmd) {
			c.loaded(rand.N(150 * time.Millisecond))
			c.kill(cmd)
		})
	}
	c.compare(200)
}

// TestKillWhenIdle checks that no delivery is repeated if the queue was idle,
// because done marks are flushed then.
func TestKillWhenIdle(t *testing.T) {
	c := newCrashRun(t, t.TempDir())
	c.live("idle", func(cmd *exec.Cmd) {
		select {
		case <-c.idle:
		case <-time.After(time.Minute):
			t.Error("the done marks are not on disk after a minute")
		}
		c.kill(cmd)
	})
	c.compare(0)
}
