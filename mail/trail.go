package mail

import "time"

// Stage is a point in the processing of a message at which filters run.
type Stage string

// The stages, in order.
const (
	StageConnect Stage = "connect"
	StageMail    Stage = "mail"
	StageRcpt    Stage = "rcpt"
	StageData    Stage = "data"
	StageSend    Stage = "send"
)

// Trail collects information about a transaction. Entries are only ever added.
// The log line, the queue's record, history, the web page and
// Authentication-Results are all derived from it. It is not safe for concurrent
// use.
type Trail struct {
	Events   []Event      `json:"events,omitempty"`
	Auth     []AuthResult `json:"auth,omitempty"`
	Outcomes []Outcome    `json:"outcomes,omitempty"`
}

// Event is one verdict or observation about the message.
type Event struct {
	At    time.Time `json:"at"`
	Stage Stage     `json:"stage"`
	By    string    `json:"by"` // a filter, "route", "listener", "stamp", ...
	Rcpt  Address   `json:"rcpt,omitempty"`
	// Verdict is pass, tag, reject, defer, quarantine, discard or redirect, or
	// error if the message could not be evaluated.
	Verdict string `json:"verdict"`
	Reply   *Reply `json:"reply,omitempty"`
	// Reason explains the verdict as text. Facts holds the evidence.
	Reason string        `json:"reason,omitempty"`
	Facts  []Fact        `json:"facts,omitempty"`
	Took   time.Duration `json:"took,omitempty"`
	// Shadow is set for a verdict that was recorded but had no effect.
	Shadow bool `json:"shadow,omitempty"`
}

// Fact is one piece of evidence.
type Fact struct {
	Key   string `json:"k"`
	Value string `json:"v"`
}

// AuthResult is the result of one authentication method in
// Authentication-Results (RFC 8601, 2.2).
type AuthResult struct {
	Method string     `json:"method"` // spf, dkim, dmarc, arc, smime, auth, ...
	Value  string     `json:"value"`  // pass, fail, ...
	Reason string     `json:"reason,omitempty"`
	Props  []AuthProp `json:"props,omitempty"`
	// Comment is written in parentheses after the value.
	Comment string `json:"comment,omitempty"`
}

// AuthProp is one ptype.property=value of an AuthResult.
type AuthProp struct {
	Type  string `json:"type"` // smtp, header, body, policy
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Add appends an event and sets At if it is zero.
func (t *Trail) Add(e Event) {
	if e.At.IsZero() {
		e.At = time.Now()
	}
	if t.Events == nil {
		t.Events = make([]Event, 0, 6) // enough for two filters
	}
	t.Events = append(t.Events, e)
}

// Prop returns the value of the first property with the given type and name.
func (r *AuthResult) Prop(ptype, name string) string {
	for _, p := range r.Props {
		if p.Type == ptype && p.Name == name {
			return p.Value
		}
	}
	return ""
}
