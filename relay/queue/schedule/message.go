package schedule

import (
	"cmp"
	"time"

	"hoplite/mail"
)

// Status is the progress of delivery to one recipient. The numbers are stored
// on disk.
type Status uint8

// The statuses of a recipient.
const (
	Waiting   Status = iota
	Delivered        // the next hop has taken responsibility
	Failed           // refused permanently, or expired
	Dropped          // by an administrator
)

// String returns the word used in listings and envelope files.
func (s Status) String() string {
	return [...]string{"waiting", "delivered", "failed", "dropped"}[min(s, Dropped)]
}

// Rcpt is the progress of one recipient.
type Rcpt struct {
	Status   Status
	Attempts int
	Next     time.Time   // time of the next attempt; zero means immediately
	Tried    time.Time   // time of the last attempt
	Last     *mail.Reply // the last reply
}

// Message is one queued message. The owner of the Machine guards the fields
// that change: those from Rcpts onwards.
type Message struct {
	ID       string
	Upstream string // if empty, the message is routed on delivery
	At       time.Time
	Size     int64
	Forged   bool // the sender's address is forged and must not get reports
	// Unverified is set if a remote client's recipients were accepted by an
	// upstream that accepts every recipient. The upstream's refusals are not
	// reported to the sender, whose address may be forged.
	Unverified bool
	Envelope   mail.Envelope

	Rcpts    []Rcpt    // same indices as Envelope.Rcpts
	Held     string    // the reason for the hold; empty if not held
	HeldAt   time.Time // when the hold began or ended
	Override string    // the upstream set by an administrator's order, if any
	Warned   bool      // the sender has been sent a delay notice

	awaitsUpstream bool // held until its upstream is configured again; not stored
	hold           *holdAlarm
	jobs           []*Job
	active         int  // jobs being attempted, until their outcomes are saved
	replan         bool // plan again when active is 0
	gone           bool // removed from the queue while a job was being attempted
}

// NewMessage returns a message for the recipients of env.
func NewMessage(id, upstream string, env mail.Envelope, at time.Time) *Message {
	return &Message{ID: id, Upstream: upstream, Envelope: env, At: at, Rcpts: make([]Rcpt, len(env.Rcpts))}
}

// SetClock converts the times of a message read from disk to readings of the
// current process's clock, so that waits do not change when the wall clock is
// set. Times in the future, stored while the clock was wrong, are replaced by
// now.
func (msg *Message) SetClock(now time.Time) {
	past := func(t *time.Time) {
		if t.After(now) {
			*t = now
		}
		*t = onClock(*t, now)
	}
	past(&msg.At)
	past(&msg.HeldAt)
	for i := range msg.Rcpts {
		past(&msg.Rcpts[i].Tried)
		msg.Rcpts[i].Next = onClock(msg.Rcpts[i].Next, now) // planOne enforces the maximum wait
	}
	if by := msg.Envelope.DeliverBy; by != nil {
		by.At = onClock(by.At, now)
	}
}

// onClock returns t with a monotonic clock reading, like now.
func onClock(t, now time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return now.Add(t.Sub(now))
}

// To returns the name of the upstream that the message is sent to.
func (msg *Message) To() string { return cmp.Or(msg.Override, msg.Upstream) }

// Since returns the start of the message's lifetime: the time of its arrival or
// of its release from a hold.
func (msg *Message) Since() time.Time {
	if msg.Held == "" && msg.HeldAt.After(msg.At) {
		return msg.HeldAt
	}
	return msg.At
}

// Finished reports whether no recipient is still waiting.
func (msg *Message) Finished() bool {
	for i := range msg.Rcpts {
		if msg.Rcpts[i].Status == Waiting {
			return false
		}
	}
	return true
}

// AwaitsUpstream reports whether the message is held only because its upstream
// is not configured. Such a hold is not stored; it is determined again at each
// start.
func (msg *Message) AwaitsUpstream() bool { return msg.awaitsUpstream }

// Busy reports whether an attempt at any part of the message is in progress.
func (msg *Message) Busy() bool { return msg.active > 0 }

// State returns "held", "active" or "deferred".
func (msg *Message) State(now time.Time) string {
	switch {
	case msg.Held != "":
		return "held"
	case msg.active > 0 || !msg.Next().After(now):
		return "active"
	}
	return "deferred"
}

// Next returns the time of the next attempt, if known.
func (msg *Message) Next() time.Time {
	var next time.Time
	earlier := func(t time.Time) {
		if next.IsZero() || t.Before(next) {
			next = t
		}
	}
	for _, j := range msg.jobs {
		t := j.next
		if j.dest.blocked.After(t) {
			t = j.dest.blocked
		}
		earlier(t)
	}
	if len(msg.jobs) == 0 { // the machine has not been started
		for i := range msg.Rcpts {
			if msg.Rcpts[i].Status == Waiting {
				earlier(msg.Rcpts[i].Next)
			}
		}
	}
	return next
}

// Blocked calls yield for each waiting recipient whose destination is down,
// passing the last failure to reach it.
func (msg *Message) Blocked(yield func(rcpt int, why *mail.Reply)) {
	for _, j := range msg.jobs {
		if j.dest.why != nil {
			for _, i := range j.Rcpts {
				yield(i, j.dest.why)
			}
		}
	}
}

// expired reports whether the message has reached the end of its lifetime.
func (msg *Message) expired(p *Policy, now time.Time) bool {
	by := msg.Envelope.DeliverBy
	return now.Sub(msg.Since()) >= p.Lifetime || by != nil && by.Return && now.After(by.At)
}

// late reports whether it is time to send the sender a delay notice.
func (msg *Message) late(p *Policy, now time.Time) bool {
	if msg.Warned {
		return false
	}
	if by := msg.Envelope.DeliverBy; by != nil && !by.Return && now.After(by.At) {
		return true
	}
	return p.DelayWarning > 0 && now.Sub(msg.Since()) >= p.DelayWarning
}

// Job is the part of a message that is sent in one transaction: the recipients
// at one destination.
type Job struct {
	Message *Message
	Rcpts   []int // indices into Message.Rcpts, all waiting; not changed during an attempt

	dest    *destination
	next    time.Time
	place   int // index in the heap of alarms, or -1
	index   int // in dest.jobs
	state   jobState
	counted bool // included in its destination's active
	// unreached is set if the last attempt failed before the destination
	// replied about the message.
	unreached bool
}

type jobState uint8

const (
	jobNew jobState = iota
	jobReady
	jobActive
	jobWaiting
	jobGone
)

// Upstream returns the name of the upstream that the job is sent to.
func (j *Job) Upstream() string { return j.dest.upName }

// tries returns the largest number of attempts made for any of its recipients.
func (j *Job) tries() int {
	n := 0
	for _, i := range j.Rcpts {
		n = max(n, j.Message.Rcpts[i].Attempts)
	}
	return n
}
