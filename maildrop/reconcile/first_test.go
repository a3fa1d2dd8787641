package reconcile

import (
	"fmt"
	"runtime"
	"testing"
)

// firstReading returns a reading of a folder with n files that no server has
// used yet.
func firstReading(n int) *Reading {
	r := NewReading(n)
	r.CurRead, r.Locked = true, true
	for i := range n {
		r.Add(File{Name: fmt.Sprintf("%d.M%dP1.host,S=15000,W=15300:2,S", 1_600_000_000+i*7919%n, i)})
	}
	return r
}

// first performs the first reading of a folder like package maildrop, but
// without a disk.
func first(r *Reading) (State, []byte) {
	s := &State{}
	r.NoList(s)
	r.List.Validity, r.List.GUID = 7, guid
	next, _, _ := Reconcile(s, r)
	return next, next.List(nil).Bytes()
}

// A first reading allocates each message and its uidlist line once. A slice
// that grows step by step would exceed the limit.
func TestFirstReadingMemory(t *testing.T) {
	const n = 10_000
	r := firstReading(n)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	next, text := first(r)
	runtime.ReadMemStats(&after)
	if len(next.Messages) != n || len(text) < n*30 {
		t.Fatalf("%d messages, %d octets", len(next.Messages), len(text))
	}
	per := (after.TotalAlloc - before.TotalAlloc) / n
	// 128 for the message, 56 for sorting, 40 for its entry, 64 for its line,
	// and 32 in the slices.
	if per > 360 {
		t.Errorf("%d octets allocated per message", per)
	}
}

// BenchmarkFirst reconciles a folder of 100,000 messages that no server has
// used yet.
func BenchmarkFirst(b *testing.B) {
	r := firstReading(100_000)
	b.ReportAllocs()
	for b.Loop() {
		if next, _ := first(r); len(next.Messages) != 100_000 {
			b.Fatal(len(next.Messages))
		}
	}
}
