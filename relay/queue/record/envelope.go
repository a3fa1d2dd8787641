package record

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"hoplite/mail"
	"hoplite/relay/queue/schedule"
)

// File is the .json file next to a message in deferred and inject. It is
// human-readable, and sufficient to queue the message again.
type File struct {
	ID       string       `json:"id,omitempty"`
	Upstream string       `json:"upstream"` // routed if empty or unknown
	From     mail.Address `json:"from"`
	Queued   time.Time    `json:"queued"`
	Body     string       `json:"body,omitempty"` // 7BIT, 8BITMIME
	UTF8     bool         `json:"smtputf8,omitempty"`
	TLS      bool         `json:"requiretls,omitempty"`
	Ret      string       `json:"ret,omitempty"`
	EnvID    string       `json:"envid,omitempty"`
	Auth     string       `json:"auth,omitempty"` // AUTH= of MAIL, decoded
	// By is the delivery time limit (DELIVERBY). Priority is the MT-PRIORITY
	// value.
	By       *FileBy `json:"deliverby,omitempty"`
	Priority int     `json:"priority,omitempty"`
	Held     string  `json:"held,omitempty"`
	// Quarantine is the reason why a filter held the message, while that hold
	// lasts. The message is held again when it is injected.
	Quarantine string `json:"quarantine,omitempty"`
	// Forged is set if SPF or DMARC failed; the sender then gets no report.
	Forged bool `json:"forged,omitempty"`
	// Unverified is set if the upstream accepted every recipient of a remote
	// client; the sender then gets no report about a refusal.
	Unverified bool `json:"unverified,omitempty"`
	// Owner receives the reports instead of From.
	Owner mail.Address `json:"owner,omitempty"`
	Rcpts []FileRcpt   `json:"rcpts"`
}

// FileBy is the time limit of a File.
type FileBy struct {
	At     time.Time `json:"at"`
	Return bool      `json:"return,omitempty"`
	Trace  bool      `json:"trace,omitempty"`
}

// FileRcpt is one recipient of a File.
type FileRcpt struct {
	To       mail.Address `json:"to"`
	Orig     mail.Address `json:"orig,omitempty"`
	Via      []string     `json:"via,omitempty"` // the aliases between Orig and To
	Folder   string       `json:"folder,omitempty"`
	ORcpt    string       `json:"orcpt,omitempty"`
	Notify   mail.Notify  `json:"notify,omitempty"`
	State    string       `json:"state,omitempty"` // only "waiting" or none is queued again
	Attempts int          `json:"attempts,omitempty"`
	Last     string       `json:"last,omitempty"` // the last reply
}

// NewFile returns the file for a message with the given envelope. The caller
// adds the delivery status.
func NewFile(id, upstream string, queued time.Time, env *mail.Envelope) File {
	f := File{
		ID: id, Upstream: upstream, From: env.From, Queued: queued,
		Body: env.Body, UTF8: env.UTF8, TLS: env.RequireTLS, Ret: env.Ret, EnvID: env.EnvID, Auth: env.Auth,
		Priority: env.Priority, Owner: env.Owner,
	}
	if by := env.DeliverBy; by != nil {
		f.By = &FileBy{At: by.At, Return: by.Return, Trace: by.Trace}
	}
	for _, r := range env.Rcpts {
		fr := FileRcpt{To: r.To, Via: r.Via, Folder: r.Folder, ORcpt: r.ORcpt, Notify: r.Notify}
		if r.Orig != r.To {
			fr.Orig = r.Orig
		}
		f.Rcpts = append(f.Rcpts, fr)
	}
	return f
}

// Hold records the reason for holding the message, and whether the hold came
// from a filter.
func (f *File) Hold(held, quarantine string) {
	f.Held = held
	if held == quarantine {
		f.Quarantine = quarantine
	}
}

// Text returns the contents of the file.
func (f *File) Text() ([]byte, error) {
	text, err := json.MarshalIndent(f, "", "  ")
	return append(text, '\n'), err
}

// Envelope returns the contents of the .json file next to a deferred message,
// for the journal that writes the file.
func Envelope(id string, meta, state []byte) []byte {
	msg := &schedule.Message{ID: id}
	var tx mail.Transaction
	err := ReadMeta(meta, msg, &tx)
	msg.Rcpts = make([]schedule.Rcpt, len(msg.Envelope.Rcpts))
	if err = errors.Join(err, ReadState(state, msg)); err == nil {
		f := NewFile(id, msg.To(), msg.At, &msg.Envelope)
		f.Hold(msg.Held, tx.Quarantine)
		f.Forged, f.Unverified = msg.Forged, msg.Unverified
		for i := range msg.Rcpts {
			p, r := &msg.Rcpts[i], &f.Rcpts[i]
			r.State, r.Attempts = p.Status.String(), p.Attempts
			if p.Last != nil {
				r.Last = p.Last.String()
			}
		}
		var text []byte
		if text, err = f.Text(); err == nil {
			return text
		}
	}
	return fmt.Appendf(nil, "{\"id\": %q, \"error\": %q}\n", id, err)
}

// ReadFile parses an envelope file. It returns the file and the envelope with
// the recipients that are still waiting.
func ReadFile(text []byte) (f File, env mail.Envelope, err error) {
	if err := json.Unmarshal(text, &f); err != nil {
		return f, env, fmt.Errorf("read envelope: %w", err)
	}
	env = mail.Envelope{From: f.From, Body: f.Body, UTF8: f.UTF8, RequireTLS: f.TLS, Ret: f.Ret, EnvID: f.EnvID, Auth: f.Auth, Priority: f.Priority}
	if by := f.By; by != nil {
		env.DeliverBy = &mail.DeliverBy{At: by.At, Return: by.Return, Trace: by.Trace}
	}
	if f.Priority < -9 || f.Priority > 9 {
		return f, env, fmt.Errorf("priority %d is not between -9 and 9", f.Priority)
	}
	if f.From != "" {
		if env.From, err = mail.ParseAddress(string(f.From)); err != nil {
			return f, env, fmt.Errorf("from: %w", err)
		}
	}
	if f.Owner != "" {
		if env.Owner, err = mail.ParseAddress(string(f.Owner)); err != nil {
			return f, env, fmt.Errorf("owner: %w", err)
		}
	}
	for _, r := range f.Rcpts {
		if r.State != "" && r.State != schedule.Waiting.String() {
			continue
		}
		to, err := mail.ParseAddress(string(r.To))
		if err != nil {
			return f, env, fmt.Errorf("recipient %q: %w", r.To, err)
		}
		orig := to
		if r.Orig != "" {
			if orig, err = mail.ParseAddress(string(r.Orig)); err != nil {
				return f, env, fmt.Errorf("original recipient %q: %w", r.Orig, err)
			}
		}
		env.Rcpts = append(env.Rcpts, mail.Rcpt{To: to, Orig: orig, Via: r.Via, Folder: r.Folder, ORcpt: r.ORcpt, Notify: r.Notify})
	}
	if len(env.Rcpts) == 0 {
		return f, env, errors.New("no recipient is waiting")
	}
	return f, env, nil
}
