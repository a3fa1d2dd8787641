package inspect

import (
	"hoplite/mail/smime"
	"hoplite/mail/story"
	"hoplite/mail/trace"
)

// JSON is the JSON form of a report, as written by hoplite trace --json and the
// trace page.
type JSON struct {
	trace.JSON
	Bounce *BounceJSON   `json:"bounce,omitempty"`
	Story  []story.Story `json:"story,omitempty"` // from our history
	SMIME  string        `json:"smime,omitempty"` // the verdict on the signatures only
	Parts  []smime.Part  `json:"parts,omitempty"`
}

// BounceJSON is the JSON form of a bounce or complaint and its original
// message.
type BounceJSON struct {
	Reporter   string         `json:"reporter,omitempty"`
	Recipients []FailedJSON   `json:"recipients"`
	Complaint  *ComplaintJSON `json:"complaint,omitempty"`
	Original   *trace.JSON    `json:"original,omitempty"`
}

// FailedJSON is one recipient of a bounce.
type FailedJSON struct {
	Rcpt       string   `json:"rcpt"`
	Original   string   `json:"original_rcpt,omitempty"`
	Action     string   `json:"action,omitempty"`
	Status     string   `json:"status,omitempty"`
	Diagnostic string   `json:"diagnostic,omitempty"`
	Remote     string   `json:"remote,omitempty"`
	Means      []string `json:"means,omitempty"`
	Next       []string `json:"next,omitempty"`
}

// ComplaintJSON is a feedback report (RFC 5965).
type ComplaintJSON struct {
	Type      string   `json:"type"`
	Reporter  string   `json:"reporter,omitempty"`
	SourceIP  string   `json:"source_ip,omitempty"`
	MailFrom  string   `json:"mail_from,omitempty"`
	Rcpts     []string `json:"rcpts,omitempty"`
	Domains   []string `json:"domains,omitempty"`
	Arrived   string   `json:"arrived,omitempty"`
	Incidents int      `json:"incidents"`
}

// JSON returns the report in its documented JSON form.
func (r *Report) JSON() *JSON {
	j := &JSON{JSON: r.Trace.JSON()}
	j.Repairs = r.Repairs
	if r.Known != nil {
		j.Story = r.Known.Stories
	}
	if r.Content.Notable() {
		j.Parts = r.Content.Parts
		if r.Content.SMIME != nil {
			j.SMIME = r.Content.SMIME.Verdict
		}
	}
	if r.Bounce != nil {
		j.Bounce = r.bounce()
	}
	return j
}

func (r *Report) bounce() *BounceJSON {
	b := &BounceJSON{Reporter: r.Bounce.Reporter, Recipients: []FailedJSON{}}
	for i := range r.Bounce.Recipients {
		f := &r.Bounce.Recipients[i]
		one := FailedJSON{Rcpt: f.Rcpt, Original: f.Original, Action: f.Action, Status: f.Status, Diagnostic: f.Diagnostic, Remote: f.Remote}
		for _, m := range f.Meanings() {
			one.Means = append(one.Means, m.Title)
			one.Next = append(one.Next, m.Next)
		}
		b.Recipients = append(b.Recipients, one)
	}
	if r.Bounce.Complaint != nil {
		b.Complaint = (*ComplaintJSON)(r.Bounce.Complaint)
	}
	if r.Original != nil {
		t := r.Original.JSON()
		b.Original = &t
	}
	return b
}
