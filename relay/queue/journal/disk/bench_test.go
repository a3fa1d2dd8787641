package disk

import (
	"bytes"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/rs/zerolog"

	"hoplite/mail"
	"hoplite/relay/queue/journal"
)

// BenchmarkLog puts, reads and finishes messages. Each put is acknowledged
// after its sync. This is the work that the queue does for a message, without
// the network.
func BenchmarkLog(b *testing.B) {
	for _, size := range []int{1 << 10, 10 << 10, 100 << 10} {
		m, err := mail.NewMessage(mail.Bytes("Subject: x\r\n\r\n" + string(bytes.Repeat([]byte("x"), size))))
		if err != nil {
			b.Fatal(err)
		}
		for _, writers := range []int{1, 16, 64} {
			b.Run(fmt.Sprintf("%dKiB/%d", size>>10, writers), func(b *testing.B) {
				l, err := Open(Options{Dir: b.TempDir(), Spare: true, Log: zerolog.Nop()})
				if err != nil {
					b.Fatal(err)
				}
				defer l.Close()
				b.SetBytes(int64(size))
				b.ReportAllocs()
				b.ResetTimer()
				passMany(b, l, m, writers)
				b.StopTimer()
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
			})
		}
	}
}

func passMany(b *testing.B, l *Log, m *mail.Message, writers int) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			buf := make([]byte, 32<<10)
			for {
				n := next.Add(1)
				if n > int64(b.N) {
					return
				}
				id := fmt.Sprintf("m%d", n)
				if err := l.Commit(ctx, journal.Change{Kind: journal.Put, ID: id, Meta: []byte("ann@example.org bob@example.org"), Message: m}); err != nil {
					b.Error(err)
					return
				}
				back, c, err := l.Message(id)
				if err != nil {
					b.Error(err)
					return
				}
				for off := int64(0); off < back.Base.Size(); off += int64(len(buf)) {
					back.Base.ReadAt(buf, off)
				}
				c.Close()
				l.Done(id)
			}
		})
	}
	wg.Wait()
}

// BenchmarkOpen measures opening a log with 100,000 messages of 1 KiB.
func BenchmarkOpen(b *testing.B) {
	dir := b.TempDir()
	l, err := Open(Options{Dir: dir, Log: zerolog.Nop()})
	if err != nil {
		b.Fatal(err)
	}
	m, _ := mail.NewMessage(mail.Bytes("Subject: x\r\n\r\n" + string(bytes.Repeat([]byte("x"), 1000))))
	const queued = 100_000
	var wg sync.WaitGroup
	for w := range 256 {
		wg.Go(func() {
			for i := w; i < queued; i += 256 {
				id := fmt.Sprintf("m%d", i)
				if err := l.Commit(ctx, journal.Change{Kind: journal.Put, ID: id, Meta: bytes.Repeat([]byte("m"), 200), Message: m}); err != nil {
					b.Error(err)
				}
			}
		})
	}
	wg.Wait()
	l.Close()
	for b.Loop() {
		l, err := Open(Options{Dir: dir, Log: zerolog.Nop()})
		if err != nil {
			b.Fatal(err)
		}
		n := 0
		l.Load(func(journal.Entry) error { n++; return nil })
		if n != queued {
			b.Fatalf("%d loaded", n)
		}
		b.StopTimer()
		l.Close()
		b.StartTimer()
	}
}
