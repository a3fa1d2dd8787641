package attachments

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"hoplite/internal/memory"
	"hoplite/mail"
	"hoplite/mail/attachments/archive/archivetest"
	"hoplite/mail/ole/oletest"
)

// hostile returns messages whose attachments need as much memory as their
// format allows.
func hostile(t *testing.T) map[string]string {
	t.Helper()
	read := func(name string) []byte {
		b, err := os.ReadFile("archive/testdata/" + name)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	const dictionary = 64 << 20
	lzma := read("big.lzma")
	binary.LittleEndian.PutUint32(lzma[1:], dictionary)
	clear(lzma[5:13])
	lzma[12] = 1 // content of 64 PiB
	many := make([]oletest.Entry, 40_000)
	for i := range many {
		many[i] = oletest.Entry{Name: "d", Next: (i + 2) % (len(many) + 1)}
	}
	files := make([]string, 0, 20_000)
	for i := range 9_000 {
		files = append(files, fmt.Sprint(i), "")
	}
	parameters := "Content-Type: multipart/mixed; boundary=b" + strings.Repeat(";\r\n\ta=b", 999) + "\r\n\r\n"
	return map[string]string{
		"xz": wideXZ(), "lzma": file(lzma), "document": file(oletest.File(many...)), "zip": file(zipped(t, files...)),
		"7z": file(read("default.7z")), "MIME": parameters + strings.Repeat("--b\r\n"+parameters, 300),
	}
}

func file(data []byte) string { return attached(named("application/octet-stream", "a"), data) }

// wideXZ returns a message whose attachment announces a dictionary of 64 MiB.
func wideXZ() string { return file(archivetest.XZ(28, make([]byte, 200_000))) }

// TestMemoryBudget lists hostile messages concurrently, each one twice.
// Together they must stay within one budget and return all of it.
func TestMemoryBudget(t *testing.T) {
	messages := hostile(t)
	heap := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := heap()
	if used := memory.Content.Used(); used != 0 {
		t.Fatalf("%d octets in use at the start", used)
	}
	var wait sync.WaitGroup
	for range 2 {
		for name, msg := range messages {
			wait.Go(func() {
				if _, err := List(context.Background(), mail.Bytes(msg), int64(len(msg)), Limits{Dir: t.TempDir()}); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			})
		}
	}
	done := make(chan struct{})
	go func() { wait.Wait(); close(done) }()
	var most, used int64
	for running := true; running; {
		select {
		case <-done:
			running = false
		case <-time.After(60 * time.Millisecond):
			used = max(used, memory.Content.Used())
			most = max(most, heap()-before)
		}
	}
	if most > memory.Total+memory.Total/4 || used > memory.Total {
		t.Errorf("%d MiB used, %d MiB reserved", most>>20, used>>20)
	}
	if left := memory.Content.Used(); left != 0 {
		t.Errorf("%d octets were not returned", left)
	}
	t.Logf("%d MiB of memory at most, %d MiB reserved", most>>20, used>>20)
}

// TestNoMemory checks that a container for which there is no memory is reported
// as unread, and that the rest of the message is listed.
func TestNoMemory(t *testing.T) {
	all := memory.Content.Share(memory.Total)
	if !all.TryTake(memory.Total - 8<<20) {
		t.Fatal("the budget is in use")
	}
	defer all.Close()
	msg := strings.Replace(wideXZ(), "See there", "See there\r\n"+uuencoded("run.exe", exe), 1)
	items := list(t, msg, Limits{})
	if got := shown(items); got != "listed" {
		t.Error(short(items))
	}
	if last := items[len(items)-1]; last.Unread != memory.ErrFull.Error() {
		t.Errorf("%v", last)
	}
}

// TestNoMemoryAtAll checks that a message whose structure does not fit in
// memory is reported as unread.
func TestNoMemoryAtAll(t *testing.T) {
	all := memory.Content.Share(memory.Total)
	if !all.TryTake(memory.Total) {
		t.Fatal("the budget is in use")
	}
	defer all.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	msg := attached(named("text/plain", "a"), exe)
	if items, err := List(ctx, mail.Bytes(msg), int64(len(msg)), Limits{}); err == nil {
		t.Errorf("%v: it must wait for memory", items)
	}
}
