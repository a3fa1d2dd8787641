package queue

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"hoplite/mail"
)

// envelopeFile is the .json beside a message in deferred and inject: for
// people to read, and enough to queue the message again.
type envelopeFile struct {
	ID       string       `json:"id,omitempty"`
	Upstream string       `json:"upstream"` // empty or unknown: routed anew
	From     mail.Address `json:"from"`
	Queued   time.Time    `json:"queued"`
	Body     string       `json:"body,omitempty"` // 7BIT, 8BITMIME
	UTF8     bool         `json:"smtputf8,omitempty"`
	TLS      bool         `json:"requiretls,omitempty"`
	Ret      string       `json:"ret,omitempty"`
	EnvID    string       `json:"envid,omitempty"`
	Held     string       `json:"held,omitempty"`
	// Quarantine is why a filter held the message, as long as it is held for
	// that: it is held again where it is injected.
	Quarantine string `json:"quarantine,omitempty"`
	// Forged is set when SPF or DMARC failed: the sender gets no report.
	Forged bool          `json:"forged,omitempty"`
	Rcpts  []rcptsInFile `json:"rcpts"`
}

type rcptsInFile struct {
	To       mail.Address `json:"to"`
	Orig     mail.Address `json:"orig,omitempty"`
	Via      []string     `json:"via,omitempty"` // what led from orig to to
	Folder   string       `json:"folder,omitempty"`
	ORcpt    string       `json:"orcpt,omitempty"`
	Notify   mail.Notify  `json:"notify,omitempty"`
	State    string       `json:"state,omitempty"` // only those waiting, or without a state, are queued again
	Attempts int          `json:"attempts,omitempty"`
	Last     string       `json:"last,omitempty"`
}

// envelopeText writes the file of a message from what an admin sees of it.
func envelopeText(in *Info, env *mail.Envelope, quarantine string, forged bool) ([]byte, error) {
	f := envelopeFile{
		ID: in.ID, Upstream: in.Upstream, From: env.From, Queued: in.At, Body: env.Body, UTF8: env.UTF8,
		TLS: env.RequireTLS, Ret: env.Ret, EnvID: env.EnvID, Held: in.Held, Forged: forged,
	}
	if in.Held == quarantine {
		f.Quarantine = quarantine
	}
	for i, r := range env.Rcpts {
		p := &in.Rcpts[i]
		f.Rcpts = append(f.Rcpts, rcptsInFile{
			To: r.To, Orig: mail.Address(p.Orig), Via: r.Via, Folder: r.Folder, ORcpt: r.ORcpt, Notify: r.Notify,
			State: p.State, Attempts: p.Attempts, Last: p.Reply,
		})
	}
	text, err := json.MarshalIndent(f, "", "  ")
	return append(text, '\n'), err
}

// Envelope is the text of the .json file beside a deferred message; it fits
// journal.Options.
func Envelope(id string, meta, state []byte) []byte {
	it := &item{id: id}
	var tx mail.Transaction
	err := unpackMeta(meta, it, &tx)
	it.rcpts = make([]rcpt, len(it.env.Rcpts))
	if err = errors.Join(err, unpackState(state, it)); err == nil {
		in := it.info()
		var text []byte
		if text, err = envelopeText(&in, &it.env, tx.Quarantine, it.noReport); err == nil {
			return text
		}
	}
	return fmt.Appendf(nil, "{\"id\": %q, \"error\": %q}\n", id, err)
}

// EnvelopeFile is the text of a .json file from which the message can be
// queued again, elsewhere for instance.
func (d *Detail) EnvelopeFile() ([]byte, error) {
	return envelopeText(&d.Info, &d.Envelope, d.Quarantine, forged(d.Trail))
}

// read is the envelope of those who still wait.
func (f *envelopeFile) read() (env mail.Envelope, err error) {
	env = mail.Envelope{From: f.From, Body: f.Body, UTF8: f.UTF8, RequireTLS: f.TLS, Ret: f.Ret, EnvID: f.EnvID}
	if f.From != "" {
		if env.From, err = mail.ParseAddress(string(f.From)); err != nil {
			return env, fmt.Errorf("from: %w", err)
		}
	}
	for _, r := range f.Rcpts {
		if r.State != "" && r.State != waiting.String() {
			continue
		}
		to, err := mail.ParseAddress(string(r.To))
		if err != nil {
			return env, fmt.Errorf("recipient %q: %w", r.To, err)
		}
		orig := to
		if r.Orig != "" {
			if orig, err = mail.ParseAddress(string(r.Orig)); err != nil {
				return env, fmt.Errorf("original recipient %q: %w", r.Orig, err)
			}
		}
		env.Rcpts = append(env.Rcpts, mail.Rcpt{To: to, Orig: orig, Via: r.Via, Folder: r.Folder, ORcpt: r.ORcpt, Notify: r.Notify})
	}
	if len(env.Rcpts) == 0 {
		return env, errors.New("no recipient is waiting")
	}
	return env, nil
}
