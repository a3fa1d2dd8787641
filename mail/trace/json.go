package trace

import (
	"fmt"
	"math"
	"strings"
	"time"

	"hoplite/mail/received"
)

// StepJSON is the JSON form of a hop, as printed by `hoplite trace --json`.
type StepJSON struct {
	Index int `json:"index"`
	received.JSON
	Time          string   `json:"time,omitempty"` // as written, in UTC
	CorrectedTime string   `json:"corrected_time,omitempty"`
	DelayS        *float64 `json:"delay_s,omitempty"`
	DelayLowS     *float64 `json:"delay_low_s,omitempty"`
	DelayHighS    *float64 `json:"delay_high_s,omitempty"`
	RawDelayS     *float64 `json:"raw_delay_s,omitempty"`
	Trust         Trust    `json:"trust"`
	Reasons       []string `json:"reasons"`
	Kind          LinkKind `json:"kind"`
	Address       string   `json:"address_class,omitempty"`
	RDNSState     string   `json:"rdns_state,omitempty"`
}

// ClockJSON is one wrong clock.
type ClockJSON struct {
	Host    string     `json:"host"`
	OffsetS float64    `json:"offset_s"`
	LowS    float64    `json:"low_s"`
	HighS   float64    `json:"high_s"`
	Cause   ClockCause `json:"cause"`
	Certain bool       `json:"certain"`
	Hops    []int      `json:"hops,omitempty"`
}

// OriginJSON is the origin of the message, if it is known.
type OriginJSON struct {
	IP        string `json:"ip,omitempty"`
	Name      string `json:"name,omitempty"`
	Helo      string `json:"helo,omitempty"`
	Hop       int    `json:"hop"`
	VouchedBy string `json:"vouched_by"`
	Auth      string `json:"auth,omitempty"`
}

// JSON is the JSON form of a trace, as printed by `hoplite trace --json` and
// the web page. mail/trace/inspect adds the rest of the message.
type JSON struct {
	Verdict   string      `json:"verdict"`
	Hops      []StepJSON  `json:"hops"`
	Clocks    []ClockJSON `json:"clocks"`
	Origin    *OriginJSON `json:"origin,omitempty"`
	Boundary  int         `json:"boundary,omitempty"`
	Slowest   int         `json:"slowest_hop,omitempty"`
	Loops     []Loop      `json:"loops"`
	Auth      []AuthClaim `json:"auth"`
	Scores    []Score     `json:"scores,omitempty"`
	Findings  []Finding   `json:"findings"`
	Ambiguous bool        `json:"ambiguous"`
	TotalS    *float64    `json:"total_s,omitempty"`
	MessageID string      `json:"message_id,omitempty"`
	Date      string      `json:"date,omitempty"`
	From      string      `json:"from,omitempty"`
	Repairs   []string    `json:"repairs,omitempty"`
}

func seconds(d time.Duration) *float64 {
	s := math.Round(d.Seconds()*1000) / 1000
	return &s
}

// JSON returns the trace in its documented JSON form.
func (t *Trace) JSON() JSON {
	j := JSON{
		Verdict: t.Verdict(), Hops: []StepJSON{}, Clocks: []ClockJSON{}, Boundary: t.Boundary, Slowest: t.Slowest, Loops: t.Loops, Auth: t.Auth, Scores: t.Scores,
		Findings: t.Findings, Ambiguous: t.Ambiguous, MessageID: t.MessageID, Date: t.Date, From: t.From,
	}
	for i := range t.Steps {
		s := &t.Steps[i]
		o := StepJSON{Index: s.Index, JSON: s.Line.JSON(), Trust: s.Trust, Reasons: s.Reasons, Kind: s.Kind, Address: string(s.Class)}
		if o.Reasons == nil {
			o.Reasons = []string{}
		}
		if s.From.RDNSState != received.NotLooked {
			o.RDNSState = s.From.RDNSState.String()
		}
		if s.Stamp.OK {
			o.Time = s.Stamp.Time().UTC().Format(time.RFC3339Nano)
		}
		if !s.Time.IsZero() {
			o.CorrectedTime = s.Time.Format(time.RFC3339Nano)
		}
		if s.HasDelay {
			o.DelayS, o.DelayLowS, o.DelayHighS, o.RawDelayS = seconds(s.Delay), seconds(s.Low), seconds(s.High), seconds(s.RawDelay)
		}
		j.Hops = append(j.Hops, o)
	}
	for _, c := range t.Clocks {
		j.Clocks = append(j.Clocks, ClockJSON{c.Host, *seconds(c.Offset), *seconds(c.Low), *seconds(c.High), c.Cause, c.Certain, c.Hops})
	}
	if o := t.Origin; o != nil {
		j.Origin = &OriginJSON{Name: o.Name, Helo: o.Helo, Hop: o.Hop, VouchedBy: o.VouchedBy, Auth: o.Auth}
		if o.Addr.IsValid() {
			j.Origin.IP = o.Addr.String()
		}
	}
	if j.Loops == nil {
		j.Loops = []Loop{}
	}
	if j.Auth == nil {
		j.Auth = []AuthClaim{}
	}
	if j.Findings == nil {
		j.Findings = []Finding{}
	}
	if t.HasTotal {
		j.TotalS = seconds(t.Total)
	}
	return j
}

// Verdict returns a one-line summary.
func (t *Trace) Verdict() string {
	n := len(t.Steps) + t.Dropped
	if n == 0 {
		return "no hops: no Received lines"
	}
	wrong, unclear, suspects := 0, 0, 0
	for _, c := range t.Clocks {
		if c.Certain {
			wrong++
		} else {
			unclear++
		}
	}
	for i := range t.Steps {
		if t.Steps[i].Trust == Suspect {
			suspects++
		}
	}
	parts := []string{plural(n, "hop")}
	if t.HasTotal && len(t.Steps) > 1 {
		if t.totalKnown() {
			parts = append(parts, Words(t.Total))
		} else {
			parts = append(parts, "total time unclear")
		}
	}
	if wrong > 0 {
		parts = append(parts, plural(wrong, "clock")+" wrong")
	}
	if unclear > 0 {
		parts = append(parts, "a clock is wrong, unclear which")
	}
	if len(t.Loops) > 0 {
		parts = append(parts, "mail loop")
	}
	if n > limitHops {
		parts = append(parts, "over the hop limit")
	}
	if suspects > 0 {
		parts = append(parts, plural(suspects, "line")+" suspect")
	}
	if o := t.Origin; o != nil {
		where := o.Name
		if o.Addr.IsValid() {
			where = o.Addr.String()
		}
		parts = append(parts, fmt.Sprintf("origin %s vouched by %s", where, o.VouchedBy))
	}
	return strings.Join(parts, ", ")
}

// totalKnown reports whether the uncertain clocks leave the total time about as
// it is.
func (t *Trace) totalKnown() bool {
	for i := range t.Clocks {
		if c := &t.Clocks[i]; !c.Certain && c.Host != DateHost && c.least > t.Total/10 {
			return false
		}
	}
	return true
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
