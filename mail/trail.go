package mail

import "time"

// Stage is a moment in a message's life at which somebody judges it.
type Stage string

// The stages in their order (DESIGN 3).
const (
	StageConnect Stage = "connect"
	StageMail    Stage = "mail"
	StageRcpt    Stage = "rcpt"
	StageData    Stage = "data"
	StageSend    Stage = "send"
)

// Trail is what was learned of a transaction on its way. It only grows. The
// log line, the queue's record, history, the web page and
// Authentication-Results are all written from it. One goroutine at a time
// holds it.
type Trail struct {
	Events   []Event      `json:"events,omitempty"`
	Auth     []AuthResult `json:"auth,omitempty"`
	Outcomes []Outcome    `json:"outcomes,omitempty"`
}

// Event is one thing that somebody said of the message.
type Event struct {
	At    time.Time `json:"at"`
	Stage Stage     `json:"stage"`
	By    string    `json:"by"` // a filter, "route", "listener", "stamp", ...
	Rcpt  Address   `json:"rcpt,omitempty"`
	// Verdict is pass, tag, reject, defer, quarantine, discard, redirect, or
	// error where nobody could judge.
	Verdict string `json:"verdict"`
	Reply   *Reply `json:"reply,omitempty"`
	// Reason says why, in a person's words; Facts are the evidence.
	Reason string        `json:"reason,omitempty"`
	Facts  []Fact        `json:"facts,omitempty"`
	Took   time.Duration `json:"took,omitempty"`
	// Shadow events were only looked at and changed nothing.
	Shadow bool `json:"shadow,omitempty"`
}

// Fact is one piece of evidence.
type Fact struct {
	Key   string `json:"k"`
	Value string `json:"v"`
}

// AuthResult is one method's result as Authentication-Results has it (RFC
// 8601, 2.2).
type AuthResult struct {
	Method string     `json:"method"` // spf, dkim, dmarc, arc, smime, auth, ...
	Value  string     `json:"value"`  // pass, fail, ...
	Reason string     `json:"reason,omitempty"`
	Props  []AuthProp `json:"props,omitempty"`
	// Comment is written behind the value in parentheses.
	Comment string `json:"comment,omitempty"`
}

// AuthProp is one ptype.property=value of an AuthResult.
type AuthProp struct {
	Type  string `json:"type"` // smtp, header, body, policy
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Add puts an event at the end; At is filled in when it is zero.
func (t *Trail) Add(e Event) {
	if e.At.IsZero() {
		e.At = time.Now()
	}
	if t.Events == nil {
		t.Events = make([]Event, 0, 6) // of a size, two filters at work
	}
	t.Events = append(t.Events, e)
}

// Prop is the value of the first property with that type and name.
func (r *AuthResult) Prop(ptype, name string) string {
	for _, p := range r.Props {
		if p.Type == ptype && p.Name == name {
			return p.Value
		}
	}
	return ""
}
