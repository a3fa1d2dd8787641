package story

import (
	"github.com/rs/zerolog"

	"hoplite/mail"
)

// LogTrail adds a trail to a log line: all events except a plain pass, a
// summary of the authentication results, and the outcomes.
type LogTrail mail.Trail

// MarshalZerologObject implements zerolog.LogObjectMarshaler.
func (t *LogTrail) MarshalZerologObject(e *zerolog.Event) {
	if said := t.notable(); len(said) > 0 {
		e.Array("said", said)
	}
	if len(t.Auth) > 0 {
		e.Array("auth", loggedAuth(t.Auth))
	}
	if len(t.Outcomes) > 0 {
		e.Array("sent", loggedOutcomes(t.Outcomes))
	}
}

// notable returns all events except those with a plain pass.
func (t *LogTrail) notable() loggedEvents {
	var said loggedEvents
	for _, v := range t.Events {
		if v.Verdict != "pass" {
			said = append(said, v)
		}
	}
	return said
}

// These types log the lists of a trail with the log's fixed keys.
type (
	loggedEvents   []mail.Event
	loggedAuth     []mail.AuthResult
	loggedOutcomes []mail.Outcome
	loggedEvent    mail.Event
	loggedOutcome  mail.Outcome
)

func (s loggedEvents) MarshalZerologArray(a *zerolog.Array) {
	for i := range s {
		a.Object((*loggedEvent)(&s[i]))
	}
}

func (s loggedAuth) MarshalZerologArray(a *zerolog.Array) {
	for _, r := range s {
		a.Str(r.Method + "=" + r.Value)
	}
}

func (s loggedOutcomes) MarshalZerologArray(a *zerolog.Array) {
	for i := range s {
		a.Object((*loggedOutcome)(&s[i]))
	}
}

func (v *loggedEvent) MarshalZerologObject(e *zerolog.Event) {
	e.Str("stage", string(v.Stage)).Str("by", v.By).Str("verdict", v.Verdict)
	if v.Rcpt != "" {
		e.Str("rcpt", string(v.Rcpt))
	}
	if v.Reply != nil {
		e.Str("reply", v.Reply.String())
	}
	if v.Reason != "" {
		e.Str("reason", v.Reason)
	}
	if v.Took > 0 {
		e.Dur("took", v.Took)
	}
	if v.Shadow {
		e.Bool("shadow", true)
	}
}

func (o *loggedOutcome) MarshalZerologObject(e *zerolog.Event) {
	e.Str("rcpt", string(o.Rcpt)).Str("hop", o.Hop).Str("reply", o.Reply.String())
	if o.Host != "" {
		e.Str("peer", o.Host)
	}
	if o.RemoteID != "" {
		e.Str("remote_id", o.RemoteID)
	}
	if o.TLS != "" {
		e.Str("tls", o.TLS)
	}
	if o.Proof != "" {
		e.Str("proof", o.Proof)
	}
	e.Dur("took", o.Took)
}
