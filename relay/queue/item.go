package queue

import (
	"cmp"
	"strings"
	"time"

	"hoplite/mail"
)

// status is how far a recipient is.
type status uint8

const (
	waiting   status = iota
	delivered        // the next hop answers for it
	failed           // refused for good, or too late
	dropped          // by an admin
)

func (s status) String() string {
	return [...]string{"waiting", "delivered", "failed", "dropped"}[min(s, dropped)]
}

// rcpt is one recipient's progress. Its address is item.env.Rcpts at the same
// index.
type rcpt struct {
	status   status
	attempts int
	next     time.Time   // of the next attempt; zero for at once
	tried    time.Time   // the last attempt
	last     *mail.Reply // the last answer
}

// item is one queued message in memory. Queue.mu guards what changes.
type item struct {
	id       string
	upstream string // "" is routed when it is delivered
	at       time.Time
	size     int64
	noReport bool // the sender is forged: no report to it
	env      mail.Envelope

	rcpts    []rcpt
	held     string     // why it waits for a person
	heldAt   time.Time  // when that began, or when it ended
	stranded bool       // held only until its upstream is configured again; not on disk
	hold     *holdAlarm // once it was held
	override string     // another upstream, by an admin's order
	warned   bool       // the sender knows that it is late
	jobs     []*job
	active   int  // jobs being attempted, until what came of it is saved
	replan   bool // once none is
	dead     bool // gone while a job was being attempted
}

// to is the upstream that takes the message.
func (it *item) to() string { return cmp.Or(it.override, it.upstream) }

// since is when the message's time to be delivered in began: when it came, or
// when it was released.
func (it *item) since() time.Time {
	if it.held == "" && it.heldAt.After(it.at) {
		return it.heldAt
	}
	return it.at
}

// job is the part of a message that goes in one transaction: its recipients
// at one destination.
type job struct {
	it    *item
	dest  *dest
	rcpts []int // indices into it.rcpts, all waiting
	next  time.Time
	place int // in the heap of those that wait for their time; -1 elsewhere
	state jobState
	// unreached is set when the last attempt failed before the destination
	// judged the message.
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

// attempts is the most that any of its recipients has seen.
func (j *job) attempts() int {
	n := 0
	for _, i := range j.rcpts {
		n = max(n, j.it.rcpts[i].attempts)
	}
	return n
}

// noReport tells whether a report to the sender could hit somebody who never
// wrote: SPF or DMARC said that the address is forged.
func forged(t *mail.Trail) bool {
	if t == nil {
		return false
	}
	for i := range t.Auth {
		a := &t.Auth[i]
		if (a.Method == "spf" || a.Method == "dmarc") && strings.EqualFold(a.Value, "fail") {
			return true
		}
	}
	return false
}

// finished tells whether nobody waits any more.
func (it *item) finished() bool {
	for i := range it.rcpts {
		if it.rcpts[i].status == waiting {
			return false
		}
	}
	return true
}

// transaction is what the next hop is told. Rcpts are added one by one.
func (it *item) transaction(hostname string) *mail.Transaction {
	tx := &mail.Transaction{ID: it.id, At: it.at, Envelope: it.env, Trail: &mail.Trail{}, Hostname: hostname}
	tx.Envelope.Rcpts = nil
	tx.Envelope.Size = it.size
	return tx
}
