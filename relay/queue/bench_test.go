package queue

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"hoplite/mail"
	"hoplite/relay/queue/journal/disk"
	"hoplite/relay/queue/record"
)

// sink accepts everything immediately and counts; mail for later.example is
// deferred.
type sink struct {
	taken, late atomic.Int64
	first       chan struct{}
	once        sync.Once
}

func (s *sink) Open(context.Context, *mail.Transaction) (mail.Handoff, error) {
	return &drain{sink: s}, nil
}

type drain struct {
	sink  *sink
	rcpts []mail.Rcpt
}

func (d *drain) Rcpt(_ context.Context, r mail.Rcpt) error {
	if r.To.Domain() == "later.example" {
		d.sink.late.Add(1)
		return refuse(450, "4.2.1", "later")
	}
	d.rcpts = append(d.rcpts, r)
	return nil
}

func (d *drain) Close() error { return nil }

func (d *drain) Send(_ context.Context, m *mail.Message) []mail.Outcome {
	io.Copy(io.Discard, m.Body())
	d.sink.taken.Add(1)
	d.sink.once.Do(func() { close(d.sink.first) })
	return []mail.Outcome{{Rcpt: d.rcpts[0].To, Reply: mail.Reply{Code: 250}}}
}

// openBench opens a queue on disk and runs it until stop.
func openBench(b *testing.B, dir string, s *sink) (q *Queue, stop func()) {
	b.Helper()
	j, err := disk.Open(disk.Options{Dir: dir, Envelope: record.Envelope, Spare: true, Log: zerolog.Nop()})
	if err != nil {
		b.Fatal(err)
	}
	if q, err = Open(Options{Journal: j, Settings: Settings{Hostname: "mail.example.org"}, Log: zerolog.Nop()}); err != nil {
		b.Fatal(err)
	}
	q.Add(Upstream{Name: "out", Hop: s, PerDomain: true})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- q.Run(ctx, time.Minute) }()
	return q, func() { cancel(); <-done; q.Close() }
}

func newSink() *sink { return &sink{first: make(chan struct{})} }

// fill queues n messages of 1 KiB to one recipient from 64 writers.
func fill(b *testing.B, q *Queue, n int, rcpt mail.Address) {
	m, err := mail.NewMessage(mail.Bytes("Subject: x\r\n\r\n" + string(bytes.Repeat([]byte("x"), 1000))))
	if err != nil {
		b.Fatal(err)
	}
	var next atomic.Int64
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			for next.Add(1) <= int64(n) {
				h, _ := q.Hop("out").Open(context.Background(), mail.NewTransaction(mail.Client{}, "ann@example.org"))
				h.Rcpt(context.Background(), mail.Rcpt{To: rcpt, Orig: rcpt})
				if out := h.Send(context.Background(), m); !out[0].Reply.Positive() {
					b.Error(&out[0].Reply)
					return
				}
				h.Close()
			}
		})
	}
	wg.Wait()
}

// settled waits until n messages have been deferred and saved.
func settled(s *sink, n int) {
	for s.late.Load() < int64(n) {
		time.Sleep(10 * time.Millisecond)
	}
	time.Sleep(200 * time.Millisecond)
}

// BenchmarkPass measures the time that a message spends in the queue, from the
// handoff to its delivery, with an empty queue and with 100,000 deferred
// messages.
func BenchmarkPass(b *testing.B) {
	for _, deferred := range []int{0, 100_000} {
		b.Run(fmt.Sprint("deferred=", deferred), func(b *testing.B) {
			s := newSink()
			q, stop := openBench(b, b.TempDir(), s)
			defer stop()
			fill(b, q, deferred, "a@later.example")
			settled(s, deferred)
			b.ReportAllocs()
			b.ResetTimer()
			cpu := cpuTime()
			fill(b, q, b.N, "a@example.net")
			for s.taken.Load() < int64(b.N) {
				time.Sleep(time.Millisecond)
			}
			b.StopTimer()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
			b.ReportMetric(float64((cpuTime()-cpu).Microseconds())/float64(b.N), "cpu-us/msg")
		})
	}
}

// BenchmarkRestart measures the time from a restart with 100,000 deferred
// messages to the first delivery of a new message.
func BenchmarkRestart(b *testing.B) {
	dir := b.TempDir()
	s := newSink()
	q, stop := openBench(b, dir, s)
	fill(b, q, 100_000, "a@later.example")
	settled(s, 100_000)
	stop()
	var cpu time.Duration
	for b.Loop() {
		s := newSink()
		cpu -= cpuTime()
		q, stop := openBench(b, dir, s)
		fill(b, q, 1, "a@example.net")
		<-s.first
		cpu += cpuTime()
		b.StopTimer()
		if n := len(q.List(Filter{}, 0)); n < 100_000 {
			b.Fatalf("%d messages after the start", n)
		}
		stop()
		b.StartTimer()
	}
	b.ReportMetric(float64(cpu.Milliseconds())/float64(b.N), "cpu-ms/start")
}

// cpuTime returns the CPU time used by this process, which is more meaningful
// than elapsed time on a busy machine.
func cpuTime() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
