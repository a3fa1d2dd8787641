package imap

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"hoplite/maildrop"
)

// TestModel runs ten clients that make random changes to one mailbox, and an
// outsider that changes the files as another server would. Each client
// maintains a copy of the mailbox from the untagged responses. At the end, all
// copies must contain the same messages with the same flags: those that were
// stored and not expunged. The test runs for two seconds, or for the duration
// in HOPLITE_MODEL.
func TestModel(t *testing.T) {
	length := 2 * time.Second
	if v := os.Getenv("HOPLITE_MODEL"); v != "" {
		var err error
		length, err = time.ParseDuration(v)
		must(t, err)
	} else if testing.Short() {
		length = 500 * time.Millisecond
	}
	d := open(t, Config{}, maildrop.Config{})
	truth := &truth{subjects: map[uint32]string{}, gone: map[uint32]bool{}}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	end := time.Now().Add(length)
	var wg sync.WaitGroup
	views := make([]*watcher, 10)
	for i := range views {
		c := d.login(t)
		c.SetDeadline(end.Add(2 * patience))
		views[i] = &watcher{client: c, truth: truth, rnd: rand.New(rand.NewPCG(seed, uint64(i)))}
		if i%3 == 1 {
			c.ok("ENABLE QRESYNC")
		}
		views[i].run("SELECT INBOX")
	}
	for _, v := range views {
		wg.Go(func() {
			for time.Now().Before(end) && v.err == nil {
				v.step()
			}
		})
	}
	wg.Go(func() { outsider(t, d, truth, end, rand.New(rand.NewPCG(seed, 99))) })
	wg.Wait()
	// Directory timestamps are coarse, so wait until the last change is
	// visible.
	for range 3 {
		for _, v := range views {
			v.run("NOOP")
		}
		time.Sleep(1100 * time.Millisecond)
	}
	for i, v := range views {
		v.run("NOOP")
		v.compare()
		if v.err != nil {
			t.Errorf("client %d: %v\nlast: %s", i, v.err, strings.Join(v.log, "\n"))
		}
	}
	if t.Failed() {
		return
	}
	truth.check(t, views)
}

// truth records the changes made by all clients.
type truth struct {
	mu       sync.Mutex
	subjects map[uint32]string // subjects of stored messages, by UID
	gone     map[uint32]bool   // expunged UIDs
	dropped  int               // number of messages delivered by the outsider
	n        int
}

func (tr *truth) next() string {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.n++
	return fmt.Sprintf("m%d", tr.n)
}

func (tr *truth) stored(uid uint32, subject string) error {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	if have, ok := tr.subjects[uid]; ok && have != subject {
		return fmt.Errorf("UID %d is %s and %s", uid, have, subject)
	}
	tr.subjects[uid] = subject
	return nil
}

func (tr *truth) expunged(uid uint32) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.gone[uid] = true
}

// check compares the remaining messages with the recorded changes.
func (tr *truth) check(t *testing.T, views []*watcher) {
	left := map[uint32]bool{}
	for _, m := range views[0].msgs {
		left[m.uid] = true
	}
	for uid := range tr.subjects {
		if tr.gone[uid] == left[uid] {
			t.Errorf("UID %d: expunged %v, in the mailbox %v", uid, tr.gone[uid], left[uid])
		}
	}
	t.Logf("%d messages stored, %d dropped in, %d expunged, %d left", len(tr.subjects), tr.dropped, len(tr.gone), len(left))
}

// outsider adds files to new/ and renames or removes some in cur/.
func outsider(t *testing.T, d *testServer, tr *truth, end time.Time, rnd *rand.Rand) {
	box := filepath.Join(d.dir, "mail/localhost/ann")
	for i := 0; time.Now().Before(end); i++ {
		name := fmt.Sprintf("%d.M%dP%d.out", time.Now().Unix(), i, os.Getpid())
		tmp := filepath.Join(box, "tmp", name)
		if err := os.WriteFile(tmp, []byte("Subject: out\n\nx\n"), 0o600); err == nil {
			if os.Rename(tmp, filepath.Join(box, "new", name)) == nil {
				tr.mu.Lock()
				tr.dropped++
				tr.mu.Unlock()
			}
		}
		if names, err := os.ReadDir(filepath.Join(box, "cur")); err == nil && len(names) > 0 {
			n := names[rnd.IntN(len(names))].Name()
			if base, flags, ok := strings.Cut(n, ":2,"); ok && !strings.Contains(flags, "T") && !strings.Contains(flags, "F") {
				set := []byte(flags + "F")
				slices.Sort(set)
				os.Rename(filepath.Join(box, "cur", n), filepath.Join(box, "cur", base+":2,"+string(set)))
			}
		}
		time.Sleep(time.Duration(rnd.IntN(40)) * time.Millisecond)
	}
}

// watcher is one client's copy of the mailbox.
type watcher struct {
	*client
	truth *truth
	rnd   *rand.Rand
	msgs  []seen
	log   []string
	err   error
}

type seen struct {
	uid   uint32 // 0 until known
	flags string // "?" until known
}

func (v *watcher) fail(format string, args ...any) {
	if v.err == nil {
		v.err = fmt.Errorf(format, args...)
	}
}

// step runs one random command.
func (v *watcher) step() {
	pick := func() int { return 1 + v.rnd.IntN(max(len(v.msgs), 1)) }
	flags := []string{`\Seen`, `\Flagged`, `\Answered`, "$One", "two"}
	flag := flags[v.rnd.IntN(len(flags))]
	op := [...]string{"+", "-", ""}[v.rnd.IntN(3)]
	switch n := v.rnd.IntN(20); {
	case n < 4 || len(v.msgs) < 3:
		subject := v.truth.next()
		text := "Subject: " + subject + "\n\nx\n"
		v.run(fmt.Sprintf("APPEND INBOX (%s) {%d+}\n%s", flag, len(text)+3, text), subject)
	case n < 6:
		v.run(fmt.Sprintf("STORE %d %sFLAGS (%s)", pick(), op, flag))
	case n < 7:
		v.run(fmt.Sprintf("UID STORE 1:* %sFLAGS.SILENT (%s)", op, flag))
		v.run("UID FETCH 1:* (UID FLAGS)")
	case n < 9:
		v.run(fmt.Sprintf(`STORE %d +FLAGS (\Deleted)`, pick()))
	case n < 10:
		v.run("EXPUNGE")
	case n < 12:
		v.run("FETCH 1:* (UID FLAGS)")
	case n < 13:
		v.run(fmt.Sprintf("FETCH %d (UID BODY.PEEK[HEADER.FIELDS (SUBJECT)])", pick()))
	case n < 14:
		v.run(fmt.Sprintf("SEARCH %s", []string{"ALL", "SUBJECT m1", "UNSEEN", "TEXT x"}[v.rnd.IntN(4)]))
	case n < 15:
		v.run(fmt.Sprintf("COPY %d INBOX", pick()))
	case n < 16:
		v.run(fmt.Sprintf("UID MOVE %d INBOX", v.uid(pick())))
	default:
		v.run("NOOP")
	}
}

// uid returns the UID of a message.
func (v *watcher) uid(n int) uint32 {
	if v.msgs[n-1].uid == 0 {
		v.run("FETCH 1:* (UID)")
	}
	return v.msgs[n-1].uid
}

var (
	fetchRE = regexp.MustCompile(`^\* (\d+) FETCH \(`)
	uidRE   = regexp.MustCompile(`[( ]UID (\d+)`)
	flagsRE = regexp.MustCompile(`FLAGS \(([^)]*)\)`)
	subjRE  = regexp.MustCompile(`Subject: (m\d+)`)
)

// run runs a command and applies its responses.
func (v *watcher) run(cmd string, subject ...string) {
	if v.err != nil {
		return
	}
	v.log = append(v.log, "> "+cmd)
	if len(v.log) > 60 {
		v.log = v.log[20:]
	}
	untagged, status := v.do("%s", cmd)
	for _, l := range untagged {
		v.log = append(v.log, l)
		v.take(l, cmd)
	}
	v.log = append(v.log, status)
	switch {
	case strings.HasPrefix(status, "OK"):
	case strings.HasPrefix(status, "NO [EXPUNGEISSUED]"), strings.HasPrefix(status, "BAD no such message"):
	default:
		v.fail("%s: %s", cmd, status)
	}
	if len(subject) > 0 {
		f := strings.Fields(status)
		if len(f) > 3 && f[1] == "[APPENDUID" {
			uid, _ := strconv.Atoi(strings.TrimSuffix(f[3], "]"))
			if err := v.truth.stored(uint32(uid), subject[0]); err != nil {
				v.fail("%v", err)
			}
		}
	}
}

// take applies an untagged response.
func (v *watcher) take(l, cmd string) {
	f := strings.Fields(l)
	n, err := strconv.Atoi(f[1])
	switch {
	case err == nil && f[2] == "EXISTS":
		if n < len(v.msgs) {
			v.fail("%s: EXISTS fell from %d to %d", cmd, len(v.msgs), n)
		}
		for len(v.msgs) < n {
			v.msgs = append(v.msgs, seen{flags: "?"})
		}
	case err == nil && f[2] == "EXPUNGE":
		if n < 1 || n > len(v.msgs) {
			v.fail("%s: EXPUNGE %d of %d", cmd, n, len(v.msgs))
			return
		}
		verb, _, _ := strings.Cut(cmd, " ")
		if verb == "FETCH" || verb == "STORE" || verb == "SEARCH" {
			v.fail("EXPUNGE within %s", cmd)
		}
		if uid := v.msgs[n-1].uid; uid > 0 {
			v.truth.expunged(uid)
		}
		v.msgs = slices.Delete(v.msgs, n-1, n)
	case f[1] == "VANISHED":
		v.vanished(f[2])
	case fetchRE.MatchString(l):
		v.fetched(l, cmd)
	case strings.HasPrefix(l, "* BYE"):
		v.fail("%s: %s", cmd, l)
	}
}

func (v *watcher) vanished(set string) {
	for r := range strings.SplitSeq(set, ",") {
		lo, hi, ok := strings.Cut(r, ":")
		if !ok {
			hi = lo
		}
		a, _ := strconv.Atoi(lo)
		b, _ := strconv.Atoi(hi)
		for uid := uint32(a); uid <= uint32(b); uid++ {
			v.truth.expunged(uid)
			i := slices.IndexFunc(v.msgs, func(m seen) bool { return m.uid == uid })
			if i < 0 {
				// The message's UID has not been fetched, so it is one of those
				// without a UID, between neighbors whose UIDs are known.
				j := slices.IndexFunc(v.msgs, func(m seen) bool { return m.uid > uid })
				if j < 0 {
					j = len(v.msgs)
				}
				if i = j - 1; i < 0 || v.msgs[i].uid != 0 {
					v.fail("VANISHED %d is unknown", uid)
					return
				}
			}
			v.msgs = slices.Delete(v.msgs, i, i+1)
		}
	}
}

func (v *watcher) fetched(l, cmd string) {
	n, _ := strconv.Atoi(fetchRE.FindStringSubmatch(l)[1])
	if n < 1 || n > len(v.msgs) {
		v.fail("%s: FETCH %d of %d", cmd, n, len(v.msgs))
		return
	}
	m := &v.msgs[n-1]
	if sub := uidRE.FindStringSubmatch(l); sub != nil {
		uid, _ := strconv.Atoi(sub[1])
		if m.uid != 0 && m.uid != uint32(uid) {
			v.fail("%s: message %d has UID %d, and had %d", cmd, n, uid, m.uid)
		}
		m.uid = uint32(uid)
		if sub := subjRE.FindStringSubmatch(l); sub != nil && v.truth.subjects != nil {
			v.truth.mu.Lock()
			have, ok := v.truth.subjects[m.uid]
			v.truth.mu.Unlock()
			if ok && have != sub[1] {
				v.fail("%s: UID %d is %s, and was stored as %s", cmd, uid, sub[1], have)
			}
		}
	}
	if sub := flagsRE.FindStringSubmatch(l); sub != nil {
		m.flags = normal(sub[1])
	}
}

// normal sorts flags and omits \Recent, which differs between sessions.
func normal(flags string) string {
	f := strings.Fields(flags)
	f = slices.DeleteFunc(f, func(s string) bool { return s == `\Recent` })
	slices.Sort(f)
	return strings.Join(f, " ")
}

// compare fetches everything again and compares it with the client's copy.
func (v *watcher) compare() {
	known := slices.Clone(v.msgs)
	v.run("FETCH 1:* (UID FLAGS)")
	if len(known) != len(v.msgs) {
		v.fail("%d messages known, %d in the mailbox", len(known), len(v.msgs))
		return
	}
	for i, m := range v.msgs {
		if k := known[i]; k.uid != 0 && k.uid != m.uid || k.flags != "?" && k.flags != m.flags {
			v.fail("message %d: known as %+v, is %+v", i+1, k, m)
		}
		if i > 0 && m.uid <= v.msgs[i-1].uid {
			v.fail("UID %d after %d", m.uid, v.msgs[i-1].uid)
		}
	}
}
