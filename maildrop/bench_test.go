package maildrop

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"hoplite/mail"
)

// message10k is a 10 KiB message with CRLF line endings.
var message10k = "Subject: bench\r\n\r\n" + strings.Repeat(strings.Repeat("x", 70)+"\r\n", 141)

// BenchmarkDeliver delivers 10 KiB messages durably. "raw" performs only the
// system calls: creating and syncing the file, renaming it, and syncing the
// directory.
func BenchmarkDeliver(b *testing.B) {
	for _, writers := range []int{1, 16} {
		b.Run(fmt.Sprintf("hop/%d", writers), func(b *testing.B) {
			s := hopStore(b, Config{})
			m, err := mail.NewMessage(mail.Bytes(message10k))
			must(b, err)
			tx := mail.NewTransaction(mail.Client{}, "bob@example.net")
			run(b, writers, func(int64) error {
				h, err := s.Open(context.Background(), tx)
				if err != nil {
					return err
				}
				defer h.Close()
				if err := h.Rcpt(context.Background(), mail.Rcpt{To: "ann@example.org"}); err != nil {
					return err
				}
				if o := h.Send(context.Background(), m)[0]; !o.Reply.Positive() {
					return &o.Reply
				}
				return nil
			})
		})
		b.Run(fmt.Sprintf("raw/%d", writers), func(b *testing.B) {
			dir := b.TempDir()
			must(b, os.Mkdir(filepath.Join(dir, "tmp"), 0o700))
			must(b, os.Mkdir(filepath.Join(dir, "new"), 0o700))
			text := []byte(strings.ReplaceAll(message10k, "\r\n", "\n"))
			run(b, writers, func(n int64) error { return raw(dir, fmt.Sprint(n), text) })
		})
	}
}

// raw performs a durable delivery and nothing else.
func raw(dir, name string, text []byte) error {
	f, err := os.OpenFile(filepath.Join(dir, "tmp", name), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.Write(text); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), filepath.Join(dir, "new", name)); err != nil {
		return err
	}
	d, err := os.Open(filepath.Join(dir, "new"))
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// run calls do b.N times in total from several goroutines.
func run(b *testing.B, writers int, do func(n int64) error) {
	b.Helper()
	var next atomic.Int64
	var wg sync.WaitGroup
	b.ResetTimer()
	for range writers {
		wg.Go(func() {
			for {
				n := next.Add(1)
				if n > int64(b.N) {
					return
				}
				if err := do(n); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
}

// BenchmarkFolder opens mailboxes of 10,000 and 100,000 messages, with and
// without an index, and changes their flags.
func BenchmarkFolder(b *testing.B) {
	for _, size := range []int{10_000, 100_000} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			s := testStore(b, Config{})
			cur := filepath.Join(boxDir(s), "cur")
			must(b, os.MkdirAll(cur, 0o700))
			for i := range size {
				must(b, os.WriteFile(fmt.Sprintf("%s/17000%05d.M1P1.host,S=24,W=27:2,", cur, i), []byte("Subject: bench\n\nmessage\n"), 0o600))
			}
			open := func(b *testing.B, s *Store, prepare func()) {
				for range b.N {
					b.StopTimer()
					prepare()
					s.tidyAll()
					b.StartTimer()
					f := inboxOf(b, s)
					if n := len(syncNow(b, f).Messages); n != size {
						b.Fatalf("%d messages", n)
					}
					f.Close()
					f.box.Close()
				}
			}
			b.Run("cold", func(b *testing.B) {
				open(b, s, func() {
					os.RemoveAll(filepath.Join(s.env.Data, "index", "boxes"))
					os.Mkdir(filepath.Join(s.env.Data, "index", "boxes"), 0o700)
				})
			})
			b.Run("warm", func(b *testing.B) { open(b, s, func() {}) })
			f := inboxOf(b, s)
			defer f.box.Close()
			defer f.Close()
			all := uids(syncNow(b, f))
			b.Run("flag-all", func(b *testing.B) {
				for i := range b.N {
					_, _, err := f.Store(all, FlagChange{Mode: Mode(i % 2), Flags: Flagged})
					must(b, err)
				}
				b.ReportMetric(float64(b.N*size)/b.Elapsed().Seconds(), "changes/s")
			})
			b.Run("flag-one", func(b *testing.B) {
				for i := range b.N {
					_, _, err := f.Store(all[i%size:i%size+1], FlagChange{Mode: Mode(i / size % 2), Flags: Answered})
					must(b, err)
				}
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "changes/s")
			})
		})
	}
}

// tidyAll closes all unused boxes.
func (s *Store) tidyAll() {
	s.tidy(time.Now())
	s.mu.Lock()
	var closing []chan struct{}
	for _, b := range s.boxes {
		if b.closing != nil {
			closing = append(closing, b.closing)
		}
	}
	s.mu.Unlock()
	for _, c := range closing {
		<-c
	}
}
