package inspect

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"hoplite/mail"
	"hoplite/mail/arc"
	"hoplite/mail/dkim"
	"hoplite/mail/dmarc"
	"hoplite/mail/trace"
	"hoplite/mail/trace/intake"
)

// Checks performs the lookups needed to evaluate authentication now.
type Checks interface {
	dmarc.DNS
	// SPF evaluates the SPF record of the sender's domain for a client.
	SPF(ctx context.Context, client netip.Addr, helo string, from mail.Address) mail.AuthResult
	// Listings looks up an address in the configured DNS lists.
	Listings(ctx context.Context, addr netip.Addr) []Listing
}

// Listing is one DNS list's answer for an address.
type Listing struct {
	Zone   string
	Good   bool     // the list contains good addresses
	Codes  []string // the answers; empty if the address is not listed
	Reason string   // the explanation provided by the list
	Err    error
}

// evaluationTime is the time limit for all lookups about one message.
const evaluationTime = 30 * time.Second

// evaluation is the state of evaluating authentication now.
type evaluation struct {
	checks   Checks
	head     []byte
	results  []mail.AuthResult // results that DMARC considers
	claims   []trace.AuthClaim
	seals    []trace.Seal
	findings []trace.Finding
}

// evaluate verifies the DKIM signatures and the ARC chain.
func evaluate(ctx context.Context, checks Checks, in *intake.Input) (*evaluation, error) {
	ctx, cancel := context.WithTimeout(ctx, evaluationTime)
	defer cancel()
	e := &evaluation{checks: checks, head: in.Head}
	// Files may contain LF line endings, but signatures cover CRLF.
	wire := bytes.ReplaceAll(bytes.ReplaceAll(in.Message(), []byte("\r\n"), []byte("\n")), []byte("\n"), []byte("\r\n"))
	m, err := mail.NewMessage(mail.Bytes(wire))
	if err != nil {
		return nil, fmt.Errorf("verify signatures: %w", err)
	}
	doubt := unfaithful(in)
	if err := e.dkim(ctx, m, doubt); err != nil {
		return nil, fmt.Errorf("verify DKIM: %w", err)
	}
	if err := e.arc(ctx, m, doubt); err != nil {
		return nil, fmt.Errorf("verify ARC: %w", err)
	}
	return e, nil
}

// unfaithful returns the reason why a valid signature may fail for this copy of
// the message, or "".
func unfaithful(in *intake.Input) string {
	switch {
	case in.Outlook:
		return "an Outlook file does not contain the message as it was sent"
	case len(in.Body) == 0:
		return "the body is missing here"
	case in.Pasted:
		return "this copy of the message had to be repaired"
	}
	return ""
}

// dkim verifies the DKIM signatures. A signature that fails on an unfaithful
// copy is not reported as broken.
func (e *evaluation) dkim(ctx context.Context, m *mail.Message, doubt string) error {
	results, present, err := dkim.Verify(ctx, m, e.checks.TXT)
	if err != nil {
		return err
	}
	for i := range results {
		r := &results[i]
		a := r.AuthResult()
		switch {
		case a.Value != "fail":
		case doubt != "":
			a.Value, a.Reason = "neutral", "cannot be verified: "+doubt
		case !r.Expires.IsZero() && time.Now().After(r.Expires):
			a.Value = "neutral" // it may have been valid when the message arrived
		}
		e.results = append(e.results, a)
		domain := a.Prop("header", "d")
		e.claim("DKIM-Signature", &a)
		switch a.Value {
		case "pass":
			if lines := covered(r); lines > 0 {
				e.seals = append(e.seals, trace.Seal{Kind: "dkim", Domain: domain, Lines: lines})
			}
		case "fail":
			e.find("dkim-fail", trace.Warning, fmt.Sprintf("the DKIM signature of %s does not verify: %s", named(domain), a.Reason),
				"the message was changed on the way, or the sender's key was replaced")
		case "permerror", "policy":
			e.find("dkim-error", trace.Note, fmt.Sprintf("the DKIM signature of %s cannot be used: %s", named(domain), a.Reason),
				"keys are removed after some months; this says nothing about the time of delivery")
		}
	}
	if present == 0 {
		e.claim("", &mail.AuthResult{Method: "dkim", Value: "none", Reason: "not signed"})
	} else if present > len(results) {
		e.find("dkim-more", trace.Note, fmt.Sprintf("%d further DKIM signatures were not verified", present-len(results)), "")
	}
	return nil
}

// covered returns the number of Received lines that a signature covers.
func covered(r *dkim.Result) int {
	lines := 0
	for _, h := range r.Headers {
		if strings.EqualFold(h, "received") {
			lines++
		}
	}
	return lines
}

func (e *evaluation) arc(ctx context.Context, m *mail.Message, doubt string) error {
	chain, err := arc.Validate(ctx, m, e.checks.TXT)
	if err != nil {
		return err
	}
	a := mail.AuthResult{Method: "arc", Value: chain.CV, Reason: chain.Reason}
	if sealer := chain.Sealer(); sealer != "" {
		a.Props = []mail.AuthProp{{Type: "header", Name: "d", Value: sealer}}
	}
	switch {
	case chain.CV == "none":
		return nil
	case chain.CV == "fail" && doubt != "":
		a.Value, a.Reason = "neutral", "cannot be validated: "+doubt
	case chain.CV == "fail":
		e.find("arc-fail", trace.Warning, fmt.Sprintf("the ARC chain of %s does not validate: %s", named(chain.Sealer()), chain.Reason),
			"what its sets report about earlier servers cannot be relied on")
	case chain.CV == "pass":
		if lines := chain.Signed("Received"); lines > 0 {
			e.seals = append(e.seals, trace.Seal{Kind: "arc", Domain: chain.Sealer(), Lines: lines})
		}
	}
	e.claim("ARC-Seal", &a)
	return nil
}

// sender evaluates SPF for the origin named by trusted lines and DMARC for the
// domains in From. It also looks up the origin in the DNS lists.
func (e *evaluation) sender(ctx context.Context, t *trace.Trace) {
	ctx, cancel := context.WithTimeout(ctx, evaluationTime)
	defer cancel()
	e.spf(ctx, t)
	e.dmarc(ctx)
	if o := t.Origin; o != nil && trace.Classify(o.Addr) == trace.Public {
		e.lists(ctx, o.Addr)
	}
}

func (e *evaluation) spf(ctx context.Context, t *trace.Trace) {
	none := func(why string) {
		e.claim("", &mail.AuthResult{Method: "spf", Value: "none", Reason: "not evaluated: " + why})
	}
	o := t.Origin
	switch {
	case o == nil || !o.Addr.IsValid():
		none("the address of the sender's server is not known")
		return
	case o.Auth != "":
		none("the sender logged in")
		return
	case trace.Inside(o.Addr):
		none(o.Addr.String() + " is an internal address")
		return
	}
	from, known := t.ReversePath()
	if !known && o.Helo == "" {
		none("the envelope sender is not known")
		return
	}
	a := e.checks.SPF(ctx, o.Addr, o.Helo, mail.Address(from))
	if a.Value == "fail" {
		e.find("spf-fail", trace.Note, fmt.Sprintf("%s may not send for this domain, according to its SPF record: %s", o.Addr, a.Comment),
			"common after a forward; DMARC considers DKIM as well")
	}
	e.results = append(e.results, a)
	e.claim("", &a)
}

// dmarc evaluates every domain that could be the author's domain.
func (e *evaluation) dmarc(ctx context.Context) {
	domains, problem := dmarc.FromDomains(e.head)
	for _, d := range domains {
		r := dmarc.Evaluate(ctx, e.checks, d, e.results)
		a := r.AuthResult()
		e.claim("", &a)
	}
	if len(domains) == 0 && problem != "" {
		e.claim("", &mail.AuthResult{Method: "dmarc", Value: "permerror", Reason: problem})
	}
}

func (e *evaluation) lists(ctx context.Context, addr netip.Addr) {
	for _, l := range e.checks.Listings(ctx, addr) {
		codes := strings.Join(l.Codes, ", ")
		switch {
		case l.Err != nil:
			e.find("dns-list-error", trace.Note, fmt.Sprintf("the DNS list %s did not answer: %v", l.Zone, l.Err), "")
		case len(l.Codes) == 0:
		case l.Good:
			e.find("dns-list", trace.Note, fmt.Sprintf("%s is on %s, a list of good addresses (%s)", addr, l.Zone, codes), "")
		default:
			text := fmt.Sprintf("%s is listed in %s (%s)", addr, l.Zone, codes)
			if l.Reason != "" {
				text += ": " + l.Reason
			}
			e.find("dns-list", trace.Warning, text, "the owner of the address should ask the list for the reason and for removal")
		}
	}
}

// claim adds a result to the trace.
func (e *evaluation) claim(field string, a *mail.AuthResult) {
	var words []string
	for _, p := range a.Props {
		words = append(words, p.Type+"."+p.Name+"="+p.Value)
	}
	detail := strings.Join(words, " ")
	why := a.Reason
	if why != "" && a.Comment != "" {
		why += "; "
	}
	if why += a.Comment; why != "" {
		detail = strings.TrimSpace(detail + " (" + why + ")")
	}
	e.claims = append(e.claims, trace.AuthClaim{By: "this program", Field: field, Method: a.Method, Result: a.Value, Detail: detail, Trusted: true, Now: true})
}

func (e *evaluation) find(code, severity, text, advice string) {
	e.findings = append(e.findings, trace.Finding{Code: code, Severity: severity, Text: text, Advice: advice})
}

func named(domain string) string {
	if domain == "" {
		return "an unnamed domain"
	}
	return domain
}
