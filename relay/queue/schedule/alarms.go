package schedule

import (
	"container/heap"
	"time"
)

// alarm is an event that is due at a certain time: a *Job, a *destination, a
// *pinging or a *holdAlarm.
type alarm interface {
	when() time.Time
	at() *int // its index in the heap, or -1
}

func (j *Job) when() time.Time         { return j.next }
func (j *Job) at() *int                { return &j.place }
func (d *destination) when() time.Time { return d.blocked }
func (d *destination) at() *int        { return &d.place }
func (h *holdAlarm) when() time.Time   { return h.until }
func (h *holdAlarm) at() *int          { return &h.place }

// holdAlarm ends a message's hold time.
type holdAlarm struct {
	msg   *Message
	until time.Time
	place int
}

// alarms is a heap with the earliest alarm first. After a change of its time,
// an alarm must be set again.
type alarms []alarm

// Len, Less, Swap, Push and Pop implement heap.Interface.
func (a alarms) Len() int           { return len(a) }
func (a alarms) Less(i, j int) bool { return a[i].when().Before(a[j].when()) }
func (a alarms) Swap(i, j int) {
	a[i], a[j] = a[j], a[i]
	*a[i].at(), *a[j].at() = i, j
}

func (a *alarms) Push(x any) {
	*x.(alarm).at() = len(*a)
	*a = append(*a, x.(alarm))
}

func (a *alarms) Pop() any {
	old := *a
	x := old[len(old)-1]
	old[len(old)-1] = nil
	*a = old[:len(old)-1]
	*x.at() = -1
	return x
}

// set adds x, or moves it to its new time.
func (a *alarms) set(x alarm) {
	if i := *x.at(); i >= 0 {
		heap.Fix(a, i)
	} else {
		heap.Push(a, x)
	}
}

func (a *alarms) clear(x alarm) {
	if i := *x.at(); i >= 0 {
		heap.Remove(a, i)
	}
}

// due removes and returns the first alarm that is due, or nil if there is none.
func (a *alarms) due(now time.Time) alarm {
	if len(*a) == 0 || (*a)[0].when().After(now) {
		return nil
	}
	return heap.Pop(a).(alarm)
}
