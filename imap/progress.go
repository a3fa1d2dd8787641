package imap

import (
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// progressEvery is the interval at which a client is notified that a command is
// still running.
const progressEvery = 10 * time.Second

// progress sends notifications while a command runs that sends nothing else (RFC
// 9585). While it is active, only step may be called, from any goroutine, and
// nothing else may write to the output.
type progress struct {
	out   output
	tag   string
	total int // 0 if not known
	done  atomic.Int64

	mu    sync.Mutex
	timer *time.Timer // nil after end
}

// begin starts the notifications for a command that processes total messages, or
// an unknown number if total is 0. The caller must call end.
func (c *call) begin(total int) *progress {
	p := &progress{out: c.out, tag: c.tag, total: total}
	if c.session == nil || !c.session.srv.dialect.has("INPROGRESS") {
		return p
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.timer = time.AfterFunc(progressEvery, p.notify)
	return p
}

// step counts one processed message.
func (p *progress) step() { p.done.Add(1) }

// end ends the notifications.
func (p *progress) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.timer != nil {
		p.timer.Stop()
		p.timer = nil
	}
}

// notify sends a notification and schedules the next one.
func (p *progress) notify() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.timer == nil {
		return
	}
	b := append(p.out.Room(512), "* OK [INPROGRESS ("...)
	if strings.ContainsAny(p.tag, `]"\`) {
		b = append(b, "NIL"...) // a response code ends at the first bracket
	} else {
		b = append(append(append(b, '"'), p.tag...), '"')
	}
	if p.total > 0 {
		b = appendInt(append(b, ' '), min(p.done.Load(), int64(p.total)))
		b = appendInt(append(b, ' '), int64(p.total))
	} else {
		b = append(b, " NIL NIL"...)
	}
	p.out.Took(append(b, ")] Still working\r\n"...))
	if p.out.Flush() == nil {
		p.timer.Reset(progressEvery)
	}
}
