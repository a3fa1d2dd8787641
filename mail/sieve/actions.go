package sieve

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"hoplite/mail"
)

// Kind is the kind of an action.
type Kind string

// The kinds of actions. The implicit keep is a Keep.
const (
	Keep     Kind = "keep"
	FileInto Kind = "fileinto"
	Discard  Kind = "discard"
	Redirect Kind = "redirect"
	Reject   Kind = "reject"
	Vacation Kind = "vacation"
	Notify   Kind = "notify"
)

// Action is something to do with the message.
type Action struct {
	Kind    Kind
	Mailbox string   // of FileInto
	Flags   []string // of Keep and FileInto
	Copy    bool     // the action did not cancel the implicit keep (RFC 3894)
	Create  bool     // the mailbox is created if it does not exist (RFC 5490)
	Address mail.Address
	// Reason is the text of Reject, Vacation and Notify, in UTF-8.
	Reason string
	// Reply describes the reply of Vacation.
	Reply *Reply
	// Header is the header block of the message for this action if the script
	// has changed it (RFC 5293), otherwise nil.
	Header []byte
}

// Reply is the automatic reply that a vacation action asks for (RFC 5230).
type Reply struct {
	Subject   string // "" for the default
	From      string // "" for the default
	Addresses []string
	MIME      bool // Reason is a MIME entity with its header
	Handle    string
	Every     time.Duration // the least time between two replies to one sender
}

// MarshalJSON writes the form that "hoplite sieve test --json" prints.
func (a Action) MarshalJSON() ([]byte, error) {
	out := map[string]any{"action": a.Kind}
	switch a.Kind {
	case Keep, FileInto:
		if a.Kind == FileInto {
			out["mailbox"], out["copy"], out["create"] = a.Mailbox, a.Copy, a.Create
		}
		out["flags"] = append([]string{}, a.Flags...)
		out["edited"] = a.Header != nil
	case Redirect:
		out["address"], out["copy"] = a.Address, a.Copy
	case Reject, Notify:
		out["reason"] = a.Reason
		if a.Address != "" {
			out["address"] = a.Address
		}
	case Vacation:
		out["reason"], out["days"] = a.Reason, a.Reply.Every.Hours()/24
		if a.Reply.Subject != "" {
			out["subject"] = a.Reply.Subject
		}
		if a.Reply.From != "" {
			out["from"] = a.Reply.From
		}
	}
	return json.Marshal(out)
}

// add adds an action. An action that would only repeat an earlier one is merged
// with it (RFC 5228, 2.10.3).
func (r *run) add(a Action) {
	for i := range r.actions {
		if old := &r.actions[i]; same(old, &a) {
			old.Flags = union(old.Flags, a.Flags)
			return
		}
	}
	if len(r.actions) >= MaxActions {
		r.fail("more than %d actions", MaxActions)
	}
	if r.msg.edited {
		a.Header = r.msg.header()
		r.charge(len(a.Header))
	}
	r.conflicts(&a)
	r.actions = append(r.actions, a)
}

func same(a, b *Action) bool {
	if a.Kind != b.Kind {
		return a.inbox() && b.inbox()
	}
	switch a.Kind {
	case Keep, Discard:
		return true
	case FileInto:
		return a.Mailbox == b.Mailbox
	case Redirect:
		return a.Address.Local() == b.Address.Local() && a.Address.ASCIIDomain() == b.Address.ASCIIDomain()
	}
	return false
}

// inbox reports whether the action stores the message in the inbox.
func (a *Action) inbox() bool {
	return a.Kind == Keep || a.Kind == FileInto && strings.EqualFold(a.Mailbox, "INBOX")
}

// conflicts fails if the action cannot be combined with earlier ones (RFC 5429,
// 2.6; RFC 5230, 4.7).
func (r *run) conflicts(a *Action) {
	for i := range r.actions {
		old := &r.actions[i]
		switch {
		case a.Kind == Reject && old.Kind == Reject:
			r.fail("reject is executed twice")
		case a.Kind == Vacation && old.Kind == Vacation:
			r.fail("vacation is executed twice")
		case a.Kind == Reject && old.rivalOfReject(), old.Kind == Reject && a.rivalOfReject():
			r.fail("reject conflicts with %s", other(a, old).Kind)
		}
	}
	if a.Kind == Redirect {
		n := 1
		for i := range r.actions {
			if r.actions[i].Kind == Redirect {
				n++
			}
		}
		if n > MaxRedirects {
			r.fail("more than %d redirects", MaxRedirects)
		}
	}
}

// rivalOfReject reports whether the action delivers or answers the message,
// which a rejection denies.
func (a *Action) rivalOfReject() bool {
	switch a.Kind {
	case Keep, FileInto, Redirect, Vacation:
		return true
	}
	return false
}

func other(a, b *Action) *Action {
	if a.Kind == Reject {
		return b
	}
	return a
}

// union returns a with the flags of b that it lacks.
func union(a, b []string) []string {
	out := slices.Clone(a)
	for _, f := range b {
		if !slices.ContainsFunc(out, func(x string) bool { return strings.EqualFold(x, f) }) && len(out) < maxFlags {
			out = append(out, f)
		}
	}
	return out
}

// flagList splits strings at spaces into valid flags, without repetitions (RFC
// 5232, 2). Invalid flags are ignored.
func flagList(list []string) (out []string) {
	for _, s := range list {
		for f := range strings.FieldsSeq(s) {
			if validFlag(f) {
				out = union(out, []string{f})
			}
		}
	}
	return out
}

// validFlag reports whether f is a system flag that may be set, or a keyword.
func validFlag(f string) bool {
	if rest, ok := strings.CutPrefix(f, `\`); ok {
		switch strings.ToLower(rest) {
		case "answered", "flagged", "deleted", "seen", "draft":
			return true
		}
		return false
	}
	for i := range len(f) {
		if c := f[i]; c <= ' ' || c >= 0x7f || strings.IndexByte(`(){%*"\]`, c) >= 0 {
			return false
		}
	}
	return f != "" && len(f) <= 100
}
