package wire

import (
	"slices"
	"strings"
	"time"

	"hoplite/internal/listen"
	"hoplite/mail"
	"hoplite/mail/safe"
)

func refusal(code int, enhanced, text string) mail.Reply {
	return mail.Reply{Code: code, Enhanced: enhanced, Text: text}
}

// replies collects replies until the next read from the socket, so that replies
// to pipelined commands are sent together (RFC 2920, 3.2).
type replies struct {
	sock    *listen.Conn
	out     []byte
	then    []func() // called once out has been sent
	longest int      // longest AUTH line
	closed  bool
}

// maxText keeps a reply line below the limit of 512 octets in RFC 5321,
// 4.5.3.1.5.
const maxText = 480

// put adds a reply. Every line gets the enhanced code (RFC 2034, 4), and text
// from clients or other servers cannot add lines.
func (o *replies) put(r mail.Reply) {
	if o.closed {
		return
	}
	text, more := strings.TrimRight(r.Text, "\n"), true
	for more {
		var line string
		line, text, more = strings.Cut(text, "\n")
		o.out = append(o.out, byte('0'+r.Code/100%10), byte('0'+r.Code/10%10), byte('0'+r.Code%10), ' ')
		if more {
			o.out[len(o.out)-1] = '-'
		}
		if r.Enhanced != "" && r.Code != 334 && r.Code != 354 {
			o.out = append(append(o.out, r.Enhanced...), ' ')
		}
		limit := maxText
		if r.Code == 334 {
			limit = o.longest
		}
		o.out = append(safe.AppendReply(o.out, line, limit), "\r\n"...)
	}
}

// flushTime is the maximum time for a client to read its replies.
const flushTime = time.Minute

// keepOut is the maximum size of a buffer that an idle connection keeps.
const keepOut = 1 << 10

// flush sends the replies and then calls the waiting functions.
func (o *replies) flush() (err error) {
	if len(o.out) > 0 {
		o.sock.SetWriteDeadline(time.Now().Add(flushTime))
		_, err = o.sock.Write(o.out)
		if o.out = o.out[:0]; cap(o.out) > keepOut {
			o.out = nil
		}
	}
	for len(o.then) > 0 {
		f := o.then[0]
		o.then = slices.Delete(o.then, 0, 1)
		f()
	}
	return err
}

// afterwards calls f after the pending replies have been sent or sending them
// has failed.
func (o *replies) afterwards(f func()) {
	if o.closed {
		f()
		return
	}
	o.then = append(o.then, f)
}

// close sends the pending replies. No replies can be added afterwards.
func (o *replies) close() {
	o.flush()
	o.closed = true
}
