package disk

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"hoplite/internal/sampletest"
	"hoplite/mail"
	"hoplite/relay/queue/journal"
)

var ctx = context.Background()

func message(text string) *mail.Message {
	m, err := mail.NewMessage(mail.Bytes("Subject: x\r\n\r\n" + text))
	if err != nil {
		panic(err)
	}
	return m
}

func open(t *testing.T, opt Options) *Log {
	t.Helper()
	l, err := Open(opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func put(t *testing.T, l *Log, id, text string) {
	t.Helper()
	if err := l.Commit(ctx, journal.Change{Kind: journal.Put, ID: id, Meta: []byte("m-" + id), Message: message(text)}); err != nil {
		t.Fatal(err)
	}
}

func ids(t *testing.T, l *Log) []string {
	t.Helper()
	all := []string{}
	if err := l.Load(func(e journal.Entry) error { all = append(all, e.ID); return nil }); err != nil {
		t.Fatal(err)
	}
	return all
}

func text(t *testing.T, l *Log, id string) string {
	t.Helper()
	m, c, err := l.Message(id)
	if err != nil {
		t.Fatalf("message %s: %v", id, err)
	}
	defer c.Close()
	b, err := io.ReadAll(m.Body())
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// segments returns the paths of the log's files that end in ext, in order.
func segments(t *testing.T, dir, ext string) []string {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(dir, "log", "*"+ext))
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(all)
	return all
}

func copyTree(t *testing.T, from string) string {
	t.Helper()
	to := t.TempDir()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	return to
}

// A crash may leave any prefix of the last write; the ordinary run tries those
// around the end of each batch and a part of the others. After a restart everything
// synced earlier exists, the last write exists completely or not at all, and
// the next start has nothing to repair.
func TestTornTailAtEveryOctet(t *testing.T) {
	dir := t.TempDir()
	l := open(t, Options{Dir: dir})
	seg := func() int64 { return l.Usage().Log }
	put(t, l, "a", "first")
	var steps []int64 // end of the log after each step
	steps = append(steps, seg())
	put(t, l, "b", "second")
	steps = append(steps, seg())
	l.Commit(ctx, journal.Change{Kind: journal.Set, ID: "a", State: []byte("s1")})
	steps = append(steps, seg())
	l.Commit(ctx, journal.Change{Kind: journal.Done, ID: "b"})
	steps = append(steps, seg())
	want := []string{"", "a=", "a= b=", "a=s1 b=", "a=s1"}

	path := segments(t, dir, ".log")[0]
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	whole = whole[:seg()]
	// A torn batch is recognised only if its first record is complete.
	isTorn := func(left []byte) bool {
		from := int64(segmentHead)
		for _, end := range steps {
			if int64(len(left)) < end || !bytes.Equal(left[:end], whole[:end]) {
				break
			}
			from = end
		}
		begun := min(from+firstSize, int64(len(left)))
		return begun == from+firstSize && begun <= int64(len(whole)) && bytes.Equal(left[from:begun], whole[from:begun])
	}
	try := sampletest.OneIn(t, 8)
	atBorder := func(size int) bool {
		return size < segmentHead+3 || slices.ContainsFunc(steps, func(end int64) bool { return end-2 <= int64(size) && int64(size) <= end+2 })
	}
	for size := segmentHead; size <= len(whole); size++ {
		if !atBorder(size) && !try() {
			continue
		}
		for n, fill := range []string{"", "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", "hqr1hqr1\x01\x01\x00\x00\xff\x00\x00\x00"} {
			if n > 0 && size%7 != 0 {
				continue
			}
			crashed := t.TempDir()
			os.MkdirAll(filepath.Join(crashed, "log"), 0o700)
			torn := filepath.Join(crashed, "log", filepath.Base(path))
			if err := os.WriteFile(torn, append(whole[:size:size], fill...), 0o600); err != nil {
				t.Fatal(err)
			}
			done := 0
			for _, end := range steps {
				if left := append(whole[:size:size], fill...); int64(len(left)) >= end && bytes.Equal(left[:end], whole[:end]) {
					done++
				}
			}
			for round := range 2 {
				var log bytes.Buffer
				l := open(t, Options{Dir: crashed, Log: zerolog.New(&log)})
				var got []string
				l.Load(func(e journal.Entry) error { got = append(got, e.ID+"="+string(e.State)); return nil })
				if s := strings.Join(got, " "); s != want[done] {
					t.Fatalf("cut at %d, filled with %q: %q, want %q", size, fill, s, want[done])
				}
				l.Close()
				torn := isTorn(append(whole[:size:size], fill...))
				if said := strings.Contains(log.String(), "was cut off"); said != (torn && round == 0) {
					t.Fatalf("cut at %d, filled with %q, start %d: log says %q", size, fill, round, log.String())
				}
			}
		}
	}
}

// The blocks of one write may reach the disk in any order. If only the end of a
// batch is on disk, the whole batch is dropped, because its records belong
// together. If other batches follow it, it is treated as damaged and they are
// kept.
func TestTornBatchIsDroppedDamageIsNot(t *testing.T) {
	dir := t.TempDir()
	l := open(t, Options{Dir: dir})
	put(t, l, "a", "text of a")
	both := l.Usage().Log
	err := l.Commit(ctx, journal.Change{Kind: journal.Put, ID: "report", Meta: []byte("m"), Message: message("text of the report")},
		journal.Change{Kind: journal.Done, ID: "a"})
	if err != nil {
		t.Fatal(err)
	}
	end := l.Usage().Log
	put(t, l, "c", "text of c")
	whole, err := os.ReadFile(segments(t, dir, ".log")[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		end  int64
		want []string
		says string
	}{
		{"last batch", end, []string{"a"}, "cut off"},
		{"not the last batch", int64(len(whole)), []string{"c"}, "unreadable octets"},
	} {
		t.Run(c.name, func(t *testing.T) {
			crashed := t.TempDir()
			b := slices.Clone(whole)
			clear(b[c.end:])
			clear(b[both+firstSize : bytes.Index(b, []byte("the report"))])
			os.MkdirAll(filepath.Join(crashed, "log"), 0o700)
			if err := os.WriteFile(filepath.Join(crashed, "log", segmentName(1)), b, 0o600); err != nil {
				t.Fatal(err)
			}
			var log bytes.Buffer
			l := open(t, Options{Dir: crashed, Log: zerolog.New(&log)})
			if got := ids(t, l); !slices.Equal(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
			if !strings.Contains(log.String(), c.says) {
				t.Errorf("log says %q", log.String())
			}
		})
	}
}

// With Spare, a file of zeros exists before a segment needs it, and another is
// created once it has been used. A crash while the file is being created leaves
// nothing behind.
func TestSpareIsKeptReady(t *testing.T) {
	dir := t.TempDir()
	os.MkdirAll(filepath.Join(dir, "log"), 0o700)
	spare := filepath.Join(dir, "log", spareName)
	if err := os.WriteFile(spare+unfinished, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	const full = 64 << 10
	l := open(t, Options{Dir: dir, Segment: full, Spare: true})
	for i := range 3 { // each iteration opens a segment
		if i > 0 {
			l.reclaim.spare.prepare(l.reclaim.quit) // the reclaimer does this periodically
		}
		for try := 0; ; try++ {
			if info, err := os.Stat(spare); err == nil && info.Size() == full {
				break
			}
			if try == 1000 {
				t.Fatalf("no spare before segment %d", i+1)
			}
			time.Sleep(10 * time.Millisecond)
		}
		put(t, l, fmt.Sprint("m", i), strings.Repeat("x", full*3/4))
		segs := segments(t, dir, ".log")
		if info, err := os.Stat(segs[len(segs)-1]); err != nil || info.Size() != full {
			t.Errorf("segment %d did not use the spare: %v, %v", i+1, info.Size(), err)
		}
		if err := l.Commit(ctx, journal.Change{Kind: journal.Done, ID: fmt.Sprint("m", i)}); err != nil {
			t.Fatal(err)
		}
	}
	crashed := copyTree(t, dir)
	var log bytes.Buffer
	l = open(t, Options{Dir: crashed, Segment: full, Log: zerolog.New(&log).Level(zerolog.InfoLevel)})
	if got := ids(t, l); len(got) != 0 || log.Len() > 0 {
		t.Errorf("after a crash: %q, log says %q", got, log.String())
	}
	if _, err := os.Stat(filepath.Join(crashed, "log", spareName+unfinished)); err == nil {
		t.Error("half a spare was left")
	}
}

// A dead segment's file is reused. Its earlier content never reappears,
// wherever a crash truncates the new records.
func TestUsedAgain(t *testing.T) {
	dir := t.TempDir()
	l := open(t, Options{Dir: dir, Segment: 16 << 10})
	again, try := 0, sampletest.OneIn(t, 4)
	for i := range 120 {
		put(t, l, fmt.Sprintf("m%03d", i), strings.Repeat("text", 500))
		if i > 0 {
			if err := l.Commit(ctx, journal.Change{Kind: journal.Done, ID: fmt.Sprintf("m%03d", i-1)}); err != nil {
				t.Fatal(err)
			}
		}
		if err := l.reclaim.run(); err != nil {
			t.Fatal(err)
		}
		segs := segments(t, dir, ".log")
		last := segs[len(segs)-1]
		whole, err := os.ReadFile(last)
		if err != nil {
			t.Fatal(err)
		}
		l.catalog.mu.Lock()
		end := l.catalog.segs[len(l.catalog.segs)-1].size
		l.catalog.mu.Unlock()
		if len(bytes.TrimRight(whole[end:], "\x00")) == 0 || end == segmentHead+firstSize {
			continue // a new file, or one without new records
		}
		again++
		if !try() {
			continue
		}
		for name, damage := range map[string]func(b []byte){
			"whole":            func([]byte) {},
			"last octets gone": func(b []byte) { copy(b[end-20:], b[end:]) },
			"last octets zero": func(b []byte) { clear(b[end-20 : end]) },
			"another write": func(b []byte) {
				b = b[end:]
				(&batchHead{num: l.catalog.segs[len(l.catalog.segs)-1].num, octets: 3000}).append(b[:0], l.salt)
			},
			"an earlier number": func(b []byte) { b = b[end:]; (&batchHead{num: 1}).append(b[:0], l.salt) },
		} {
			crashed := copyTree(t, dir)
			b := bytes.Clone(whole)
			damage(b)
			if err := os.WriteFile(filepath.Join(crashed, "log", filepath.Base(last)), b, 0o600); err != nil {
				t.Fatal(err)
			}
			want := []string{fmt.Sprintf("m%03d", i)}
			done := fmt.Sprintf("m%03d", i-1) // in the last batch, which was synced if its segment no longer exists
			if strings.HasPrefix(name, "last octets") && bytes.Contains(whole[:end], []byte("m-"+done)) {
				want = []string{done, want[0]}
			}
			c := open(t, Options{Dir: crashed})
			if got := ids(t, c); !slices.Equal(got, want) {
				t.Fatalf("%s, message %d: got %q, want %q", name, i, got, want)
			}
			c.Close()
		}
	}
	if again < 10 {
		t.Errorf("only %d reused files", again)
	}
}

func TestDamageInTheMiddleKeepsWhatIsBehind(t *testing.T) {
	dir := t.TempDir()
	l := open(t, Options{Dir: dir})
	for _, id := range []string{"a", "b", "c"} {
		put(t, l, id, "text of "+id)
	}
	l.Close()
	path := segments(t, dir, ".log")[0]
	b, _ := os.ReadFile(path)
	b[bytes.Index(b, []byte("text of b"))] ^= 1
	os.WriteFile(path, b, 0o600)

	var log bytes.Buffer
	l = open(t, Options{Dir: dir, Log: zerolog.New(&log)})
	if got := ids(t, l); !slices.Equal(got, []string{"a", "c"}) {
		t.Fatalf("got %q", got)
	}
	if text(t, l, "c") != "text of c" {
		t.Error("c is damaged")
	}
	if !strings.Contains(log.String(), "unreadable octets") {
		t.Errorf("log says %q", log.String())
	}
	put(t, l, "d", "opens a new segment")
	l.Commit(ctx, journal.Change{Kind: journal.Done, ID: "a"}, journal.Change{Kind: journal.Done, ID: "c"})
	if err := l.reclaim.run(); err != nil {
		t.Fatal(err)
	}
	if got := segments(t, dir, ".damaged"); len(got) != 1 {
		t.Errorf("the damaged segment was not kept: %q", got)
	}
}

// A segment that has become shorter is damaged, and the damage is logged.
func TestMissingEndIsSaid(t *testing.T) {
	dir := t.TempDir()
	l := open(t, Options{Dir: dir, Segment: 1 << 10})
	put(t, l, "a", strings.Repeat("x", 900))
	put(t, l, "b", strings.Repeat("x", 900)) // in another segment, whose header records the end of the first
	l.Close()
	if err := os.Truncate(segments(t, dir, ".log")[0], 300); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	l = open(t, Options{Dir: dir, Log: zerolog.New(&log)})
	if got := ids(t, l); !slices.Equal(got, []string{"b"}) {
		t.Errorf("got %q", got)
	}
	if !strings.Contains(log.String(), "the end of the segment is missing") {
		t.Errorf("log says %q", log.String())
	}
}

// Message text that looks like records must not be mistaken for records, not
// even when recovery searches it after damage.
func TestMailIsNoRecord(t *testing.T) {
	dir := t.TempDir()
	l := open(t, Options{Dir: dir})
	forged := endRecord(beginRecord(nil, kindDone, "victim"), 0, len("victim"), 0)
	put(t, l, "victim", "keep me")
	put(t, l, "evil", strings.Repeat(string(forged), 100))
	put(t, l, "last", "x")
	l.Close()
	path := segments(t, dir, ".log")[0]
	b, _ := os.ReadFile(path)
	b[bytes.Index(b, []byte("m-evil"))] ^= 1
	os.WriteFile(path, b, 0o600)
	l = open(t, Options{Dir: dir})
	if got := ids(t, l); !slices.Equal(got, []string{"last", "victim"}) {
		t.Fatalf("got %q", got)
	}
}

func TestNewerVersionIsRefusedUntouched(t *testing.T) {
	dir := t.TempDir()
	l := open(t, Options{Dir: dir})
	put(t, l, "a", "x")
	l.Close()
	path := segments(t, dir, ".log")[0]
	b, _ := os.ReadFile(path)
	b = append(b, "torn"...)
	binary.LittleEndian.PutUint16(b[8:], segmentVersion+1)
	os.WriteFile(path, b, 0o600)
	os.WriteFile(filepath.Join(dir, "log", segmentName(99)), nil, 0o600)
	if _, err := Open(Options{Dir: dir}); !errors.Is(err, journal.ErrVersion) {
		t.Fatalf("got %v", err)
	}
	if after, _ := os.ReadFile(path); !bytes.Equal(after, b) || len(segments(t, dir, ".log")) != 2 {
		t.Error("the log was modified")
	}
}

func TestUnfinishedSegmentIsRemoved(t *testing.T) {
	for _, size := range []int{0, 1, segmentHead - 1, segmentHead} {
		dir := t.TempDir()
		l := open(t, Options{Dir: dir})
		put(t, l, "a", "x")
		l.Close()
		os.WriteFile(filepath.Join(dir, "log", segmentName(2)), make([]byte, size), 0o600)
		l = open(t, Options{Dir: dir})
		if got := ids(t, l); !slices.Equal(got, []string{"a"}) {
			t.Errorf("%d octets: got %q", size, got)
		}
		put(t, l, "b", "y")
		l.Close()
		if got := ids(t, open(t, Options{Dir: dir})); !slices.Equal(got, []string{"a", "b"}) {
			t.Errorf("%d octets: got %q", size, got)
		}
	}
}

func TestFailedWritePoisonsTheSegment(t *testing.T) {
	for _, tc := range []struct {
		name         string
		write, sync  error
		half         bool // the write stores half of its octets
		keepsTheTail bool // as if the truncation had also failed
	}{
		{name: "sync EIO", sync: syscall.EIO},
		{name: "write ENOSPC", write: syscall.ENOSPC},
		{name: "half a write", write: syscall.ENOSPC, half: true},
		{name: "sync EIO, but the data reaches the disk", sync: syscall.EIO, keepsTheTail: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			var broken atomic.Bool
			opt := Options{Dir: dir, Flush: time.Millisecond}
			opt.write = func(f *os.File, p []byte) error {
				if broken.Load() && tc.write != nil {
					if tc.half {
						f.Write(p[:len(p)/2])
					}
					return tc.write
				}
				_, err := f.Write(p)
				return err
			}
			opt.sync = func(f *os.File) error {
				if broken.Load() && tc.sync != nil {
					return tc.sync
				}
				return f.Sync()
			}
			l := open(t, opt)
			put(t, l, "a", "before")
			put(t, l, "gone", "before")
			first := segments(t, dir, ".log")[0]
			broken.Store(true)
			for range 3 {
				err := l.Commit(ctx, journal.Change{Kind: journal.Put, ID: "refused", Message: message("never")})
				if !errors.Is(err, errors.Join(tc.write, tc.sync)) && !errors.Is(err, tc.write) && !errors.Is(err, tc.sync) || err == nil {
					t.Fatalf("got %v", err)
				}
			}
			if err := l.Commit(ctx, journal.Change{Kind: journal.Put, ID: "huge", Message: message(strings.Repeat("x", 1<<20))}); err == nil && tc.sync != nil {
				t.Fatal("a large body was accepted without a sync")
			}
			l.Done("gone")
			time.Sleep(5 * time.Millisecond) // its first flush may fail and is then repeated
			broken.Store(false)
			put(t, l, "b", "after")
			if got := segments(t, dir, ".log"); len(got) < 2 {
				t.Fatalf("no new segment: %q", got)
			}
			if err := l.Commit(ctx, journal.Change{Kind: journal.Put, ID: "refused2", Message: message("x")}); err != nil {
				t.Fatal(err)
			}
			l.Done("refused2")
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			if tc.keepsTheTail {
				f, _ := os.OpenFile(first, os.O_APPEND|os.O_WRONLY, 0)
				f.Write(endRecord(appendPutTest(beginRecord(nil, kindPut, "refused")), 0, len("refused"), l.salt))
				f.Close()
			}
			l = open(t, Options{Dir: dir})
			if got := ids(t, l); !slices.Equal(got, []string{"a", "b"}) {
				t.Fatalf("got %q", got)
			}
			if text(t, l, "a") != "before" || text(t, l, "b") != "after" {
				t.Error("octets changed")
			}
		})
	}
}

func appendPutTest(b []byte) []byte {
	return append(appendPutHead(b, &entry{size: 2, head: 2}), "\r\n"...)
}

// tree lists the files below dir.
func tree(t *testing.T, dir string) (files []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			files = append(files, d.Name())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(files)
	return files
}

func TestSurvivorsMoveToFiles(t *testing.T) {
	dir := t.TempDir()
	opt := Options{Dir: dir, Age: time.Nanosecond, Envelope: func(id string, meta, state []byte) []byte {
		return fmt.Appendf(nil, "%s %s %s", id, meta, state)
	}}
	l := open(t, opt)
	put(t, l, "a", "deferred")
	put(t, l, "b", "delivered")
	put(t, l, "huge", strings.Repeat("x", 1<<20))
	l.Commit(ctx, journal.Change{Kind: journal.Set, ID: "a", State: []byte("later")})
	l.Commit(ctx, journal.Change{Kind: journal.Done, ID: "b"})
	if err := l.reclaim.run(); err != nil {
		t.Fatal(err)
	}
	if got := tree(t, filepath.Join(dir, "deferred")); !slices.Equal(got, []string{"a.eml", "a.json", "huge.eml", "huge.json"}) {
		t.Fatalf("deferred holds %q", got)
	}
	if got, _ := os.ReadFile(filepath.Join(dir, "deferred", fan("a"), "a.eml")); string(got) != "Subject: x\r\n\r\ndeferred" {
		t.Errorf("the message is %q", got)
	}
	if got, _ := os.ReadFile(filepath.Join(dir, "deferred", fan("a"), "a.json")); string(got) != "a m-a later" {
		t.Errorf("the envelope is %q", got)
	}
	if text(t, l, "a") != "deferred" {
		t.Error("the message has changed")
	}
	l.Close()
	l = open(t, opt)
	var state string
	l.Load(func(e journal.Entry) error {
		if e.ID == "a" {
			state = string(e.State)
		}
		return nil
	})
	if state != "later" {
		t.Errorf("state is %q", state)
	}
	if len(text(t, l, "huge")) != 1<<20 || text(t, l, "a") != "deferred" {
		t.Error("octets were lost by the restart")
	}
	if err := l.Commit(ctx, journal.Change{Kind: journal.Done, ID: "a"}, journal.Change{Kind: journal.Done, ID: "huge"}); err != nil {
		t.Fatal(err)
	}
	l.Close()
	if got := append(tree(t, filepath.Join(dir, "deferred")), tree(t, filepath.Join(dir, "body"))...); len(got) > 0 {
		t.Errorf("files left behind: %q", got)
	}
}

func TestRemovedFileIsNoticed(t *testing.T) {
	dir := t.TempDir()
	l := open(t, Options{Dir: dir, Age: 1})
	put(t, l, "a", "x")
	l.reclaim.run()
	os.Remove(filepath.Join(dir, "deferred", fan("a"), "a.eml"))
	if _, _, err := l.Message("a"); !errors.Is(err, journal.ErrGone) {
		t.Errorf("got %v", err)
	}
	os.WriteFile(filepath.Join(dir, "deferred", fan("a"), "a.eml"), []byte("other"), 0o600)
	if _, _, err := l.Message("a"); err == nil || errors.Is(err, journal.ErrGone) {
		t.Errorf("a file of another size: %v", err)
	}
}

// If half of all messages are never finished, the log stays within twice its
// live data plus two segments, and nothing is lost.
func TestDiskIsBounded(t *testing.T) {
	dir := t.TempDir()
	const segment = 64 << 10
	l := open(t, Options{Dir: dir, Segment: segment, Flush: time.Millisecond})
	var keep []string
	for i := range 600 {
		id := fmt.Sprintf("m%03d", i)
		put(t, l, id, strings.Repeat("x", 1000))
		if i%10 == 0 {
			keep = append(keep, id)
		} else {
			l.Done(id)
		}
	}
	if err := l.Commit(ctx); err != nil { // done marks join the batch
		t.Fatal(err)
	}
	if err := l.reclaim.run(); err != nil {
		t.Fatal(err)
	}
	if u := l.Usage(); u.Log > 2*u.Live+2*segment {
		t.Errorf("log holds %d octets for %d live ones", u.Log, u.Live)
	}
	l.Close()
	l = open(t, Options{Dir: dir})
	if got := ids(t, l); !slices.Equal(got, keep) {
		t.Fatalf("%d messages, want %d", len(got), len(keep))
	}
	for _, id := range keep {
		if len(text(t, l, id)) != 1000 {
			t.Errorf("%s lost octets", id)
		}
	}
}

// A crash may happen at any point in a reclaim, so the tree is copied after
// each system call that makes something durable.
func TestCrashDuringReclaim(t *testing.T) {
	dir := t.TempDir()
	var mu sync.Mutex
	var images []string
	opt := Options{Dir: dir, Segment: 8 << 10, Age: 1, Flush: time.Hour}
	opt.sync = func(f *os.File) error {
		mu.Lock()
		defer mu.Unlock()
		images = append(images, copyTree(t, dir))
		return f.Sync()
	}
	l := open(t, opt)
	l.reclaim.running.Lock() // prevents background reclaims
	var all []string
	for i := range 12 {
		id := fmt.Sprintf("m%02d", i)
		all = append(all, id)
		put(t, l, id, strings.Repeat(id, 300))
	}
	mu.Lock()
	acked := len(images)
	mu.Unlock()
	l.reclaim.running.Unlock()
	l.reclaim.run()
	l.reclaim.run()
	l.reclaim.running.Lock()
	defer l.reclaim.running.Unlock()
	images = append(images, copyTree(t, dir))
	if len(images) < acked+12 {
		t.Fatalf("only %d images: nothing was reclaimed", len(images)-acked)
	}
	for i, image := range images[acked:] {
		l := open(t, Options{Dir: image})
		if got := ids(t, l); !slices.Equal(got, all) {
			t.Fatalf("image %d: %q", i, got)
		}
		for _, id := range all {
			if text(t, l, id) != strings.Repeat(id, 300) {
				t.Errorf("image %d: %s changed", i, id)
			}
		}
		l.Close()
	}
}

func TestLeftOversAreSwept(t *testing.T) {
	dir := t.TempDir()
	l := open(t, Options{Dir: dir})
	put(t, l, "huge", strings.Repeat("x", 1<<20))
	l.Close()
	for _, name := range []string{"body/aa/orphan", "deferred/bb/gone.eml", "deferred/bb/gone.json", "deferred/cc/half.eml.tmp"} {
		os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700)
		os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o600)
	}
	l = open(t, Options{Dir: dir})
	l.Close()
	if got := tree(t, filepath.Join(dir, "body")); !slices.Equal(got, []string{"huge"}) {
		t.Errorf("body holds %q", got)
	}
	if got := tree(t, filepath.Join(dir, "deferred")); len(got) > 0 {
		t.Errorf("deferred holds %q", got)
	}
}

// If the log has been lost, the messages in deferred are kept.
func TestFreshLogTouchesNoMail(t *testing.T) {
	dir := t.TempDir()
	os.MkdirAll(filepath.Join(dir, "deferred", "aa"), 0o700)
	os.WriteFile(filepath.Join(dir, "deferred", "aa", "x.eml"), []byte("x"), 0o600)
	open(t, Options{Dir: dir}).Close()
	if got := tree(t, filepath.Join(dir, "deferred")); len(got) != 1 {
		t.Errorf("deferred holds %q", got)
	}
}

// Done marks are written to disk even if no other commit follows.
func TestDoneMarksAreFlushedWhenIdle(t *testing.T) {
	dir := t.TempDir()
	l := open(t, Options{Dir: dir})
	put(t, l, "a", "x")
	l.Done("a")
	deadline := time.Now().Add(10 * time.Second)
	for l.Usage().Messages > 0 && time.Now().Before(deadline) {
		time.Sleep(5 * time.Millisecond)
	}
	l2 := open(t, Options{Dir: copyTree(t, dir)})
	if got := ids(t, l2); len(got) > 0 {
		t.Errorf("still there: %q", got)
	}
}

func FuzzParseRecord(f *testing.F) {
	f.Add(endRecord(appendPutTest(beginRecord(nil, kindPut, "a")), 0, 1, 7))
	f.Add(endRecord(beginRecord(nil, kindDone, "a"), 0, 1, 7))
	f.Add([]byte("hqr1"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) >= recordHead { // fix the checksum so that later checks are reached
			binary.LittleEndian.PutUint32(b[4:], checksum(7, b[8:]))
		}
		r, err := parseRecord(b, 7)
		if err == nil && (r.kind == kindPut || r.kind == kindKeep) {
			r.entry()
		}
	})
}

// The writer and the reclaimer both use the spare. Each segment must remain the
// file that its name refers to.
func TestSpareHasOneOwner(t *testing.T) {
	l := open(t, Options{Dir: t.TempDir(), Segment: 2 << 10})
	stop := make(chan struct{})
	var cleaner sync.WaitGroup
	cleaner.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				if err := l.reclaim.run(); err != nil {
					t.Error(err)
				}
			}
		}
	})
	for i := range 300 {
		id := fmt.Sprint("m", i)
		put(t, l, id, strings.Repeat("x", 1500))
		l.catalog.mu.Lock()
		s := l.catalog.segs[len(l.catalog.segs)-1]
		l.catalog.mu.Unlock()
		open, err := s.file.Stat()
		if err != nil {
			t.Fatal(err)
		}
		if named, err := os.Stat(s.path); err != nil || !os.SameFile(open, named) {
			t.Fatalf("segment %d is written to a file without a name: %v", s.num, err)
		}
		if err := l.Commit(ctx, journal.Change{Kind: journal.Done, ID: id}); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	cleaner.Wait()
}
