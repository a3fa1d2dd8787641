package queue

import (
	"container/heap"
	"math/rand/v2"
	"time"
)

// Schedule says how often and how long an upstream's mail is tried.
type Schedule struct {
	// RetryMin is the wait after the first attempt that the upstream put off. Each further
	// wait is twice as long, give or take a sixth.
	RetryMin time.Duration
	// RetryMax is the longest wait between two attempts.
	RetryMax time.Duration
	// Lifetime is how long a message is tried before it goes back to its
	// sender.
	Lifetime time.Duration
	// DelayWarning is when the sender of a message that is still in the queue is
	// told so, once. 0 never tells.
	DelayWarning time.Duration
	// Concurrency is the most connections to one destination at once: the
	// queue starts with five and goes up as long as the destination keeps
	// pace.
	Concurrency int
}

// DefaultSchedule is the one of an upstream whose block says nothing of it.
var DefaultSchedule = Schedule{
	RetryMin: 5 * time.Minute, RetryMax: 4 * time.Hour, Lifetime: 5 * 24 * time.Hour,
	DelayWarning: 4 * time.Hour, Concurrency: 20,
}

// defaults fills in a schedule that was left out altogether, and repairs one
// that would never end.
func (s *Schedule) defaults() {
	if *s == (Schedule{}) {
		*s = DefaultSchedule
	}
	if s.RetryMin <= 0 {
		s.RetryMin = DefaultSchedule.RetryMin
	}
	if s.Lifetime <= 0 {
		s.Lifetime = DefaultSchedule.Lifetime
	}
	if s.Concurrency <= 0 {
		s.Concurrency = DefaultSchedule.Concurrency
	}
	s.RetryMax = max(s.RetryMax, s.RetryMin)
}

// wait is the time after the n-th attempt, n from 1, with a jitter of a sixth
// so that what was put off together does not come back together.
func (s *Schedule) wait(n int) time.Duration {
	return jitter(doubled(s.RetryMin, n, s.RetryMax))
}

func doubled(d time.Duration, n int, limit time.Duration) time.Duration {
	for ; n > 1 && d < limit; n-- {
		d *= 2
	}
	return min(d, limit)
}

func jitter(d time.Duration) time.Duration {
	return d - d/6 + rand.N(d/3+1)
}

// alarm is something that waits for its time.
type alarm interface {
	when() time.Time
	at() *int // its place in the heap, -1 outside
	ring(q *Queue)
}

// alarms is a heap, the earliest first.
type alarms []alarm

func (a alarms) Len() int           { return len(a) }
func (a alarms) Less(i, j int) bool { return a[i].when().Before(a[j].when()) }
func (a alarms) Swap(i, j int) {
	a[i], a[j] = a[j], a[i]
	*a[i].at(), *a[j].at() = i, j
}

// Push and Pop are for container/heap.
func (a *alarms) Push(x any) {
	*x.(alarm).at() = len(*a)
	*a = append(*a, x.(alarm))
}

// Pop is for container/heap.
func (a *alarms) Pop() any {
	old := *a
	x := old[len(old)-1]
	old[len(old)-1] = nil
	*a = old[:len(old)-1]
	*x.at() = -1
	return x
}

func (a *alarms) pop() alarm { return heap.Pop(a).(alarm) }

// setAlarm puts x in the heap, or moves it there.
func (q *Queue) setAlarm(x alarm) {
	if i := *x.at(); i >= 0 {
		heap.Fix(&q.alarms, i)
	} else {
		heap.Push(&q.alarms, x)
	}
	if q.alarms[0] == x {
		select {
		case q.rearm <- struct{}{}:
		default:
		}
	}
}

func (q *Queue) clearAlarm(x alarm) {
	if i := *x.at(); i >= 0 {
		heap.Remove(&q.alarms, i)
	}
}

func (j *job) when() time.Time { return j.next }
func (j *job) at() *int        { return &j.place }

// ring makes a job ready whose time has come, or ends a hold.
func (j *job) ring(q *Queue) {
	if j.state == jobWaiting {
		q.ready(j)
	}
}

func (d *dest) when() time.Time { return d.blocked }
func (d *dest) at() *int        { return &d.place }

// ring lets a destination be tried again.
func (d *dest) ring(q *Queue) { q.unblock(d) }
