package dmarc

import (
	"context"
	"strings"

	"hoplite/mail"
)

// DNS provides the lookups needed for an evaluation.
type DNS interface {
	// TXT returns the TXT records at a name. It is not an error if there are
	// none.
	TXT(ctx context.Context, name string) ([]string, error)
	// Missing reports whether it is certain that a domain has neither addresses
	// nor mail servers.
	Missing(ctx context.Context, domain string) bool
}

// Result is the DMARC result for one domain.
type Result struct {
	Value  string // pass, fail, none, temperror, permerror (RFC 7489, 11.2)
	Domain string
	Policy Policy // the policy requested by the domain, if Value is fail
	Record *Record
	Reason string
}

// Evaluate looks up the record for a From domain and compares the domain with
// the results of SPF and DKIM in auth.
func Evaluate(ctx context.Context, dns DNS, domain string, auth []mail.AuthResult) Result {
	r := Result{Domain: domain}
	own, org, at, err := walk(ctx, dns, domain)
	if err != nil {
		r.Value, r.Reason = "temperror", "record not available"
		return r
	}
	rec := own
	if rec == nil {
		rec = at
	}
	if rec == nil {
		r.Value = "none"
		return r
	}
	r.Record = rec
	a := aligner{dns: dns, domain: domain, org: org}
	switch by := a.find(ctx, rec, auth); {
	case by != "":
		r.Value, r.Reason = "pass", by
		return r
	case a.unsure:
		r.Value, r.Reason = "temperror", "SPF or DKIM could not be checked"
		return r
	}
	r.Value, r.Policy = "fail", rec.P
	r.Reason = "neither SPF nor DKIM is for this domain"
	if rec.Domain != domain {
		if rec.SP != "" {
			r.Policy = rec.SP
		}
		if rec.NP != "" && dns.Missing(ctx, domain) {
			r.Policy = rec.NP
		}
	}
	return r
}

// aligner compares authenticated identifiers with a From domain.
type aligner struct {
	dns         DNS
	domain, org string // the From domain and its organisational domain
	asked       int
	// unsure is set if the result for an aligned identifier is a temporary
	// error. Unaligned identifiers are ignored, because the sender controls
	// them, and whether DNS answers queries for them.
	unsure bool
}

// find returns a description of the aligned result that passed, or "" if none
// did.
func (a *aligner) find(ctx context.Context, rec *Record, auth []mail.AuthResult) string {
	for i := range auth {
		r := &auth[i]
		if r.Value != "pass" && r.Value != "temperror" {
			continue
		}
		d, strict := identifier(r, rec, auth)
		switch {
		case !a.aligned(ctx, d, strict):
		case r.Value == "temperror":
			a.unsure = true
		default:
			return r.Method + " passed for " + d
		}
	}
	return ""
}

// identifier returns the domain to which a result applies, and whether it must
// equal the From domain.
func identifier(r *mail.AuthResult, rec *Record, auth []mail.AuthResult) (domain string, strict bool) {
	switch r.Method {
	case "dkim":
		return r.Prop("header", "d"), rec.StrictDKIM
	case "spf":
		d := mail.Address(r.Prop("smtp", "mailfrom")).ASCIIDomain()
		if d == "" && !hasMailFrom(auth) {
			d = r.Prop("smtp", "helo")
		}
		return d, rec.StrictSPF
	}
	return "", false
}

// aligned reports whether d is the From domain or, if strict is false, belongs
// to the same organisation.
func (a *aligner) aligned(ctx context.Context, d string, strict bool) bool {
	d = strings.ToLower(strings.TrimSuffix(d, "."))
	if d == a.domain || d == "" {
		return d != ""
	}
	if strict || d != a.org && !strings.HasSuffix(d, "."+a.org) {
		return false
	}
	if a.asked++; a.asked > maxDomains {
		return false
	}
	_, org, _, err := walk(ctx, a.dns, d)
	if err != nil {
		a.unsure = true
	}
	return err == nil && org == a.org
}

// hasMailFrom reports whether SPF checked a reverse path. The HELO name is used
// only if there is no reverse path (RFC 7489, 3.1.2).
func hasMailFrom(auth []mail.AuthResult) bool {
	for i := range auth {
		if auth[i].Method == "spf" && auth[i].Prop("smtp", "mailfrom") != "" {
			return true
		}
	}
	return false
}

// Severity orders results; the most severe result of several domains applies.
func (r *Result) Severity() int {
	if r.Value == "fail" {
		return map[Policy]int{None: 3, Quarantine: 4, Reject: 5}[r.Policy]
	}
	return map[string]int{"pass": 0, "none": 1, "temperror": 2}[r.Value]
}

// AuthResult returns the result for Authentication-Results.
func (r *Result) AuthResult() mail.AuthResult {
	a := mail.AuthResult{Method: "dmarc", Value: r.Value, Reason: r.Reason, Props: []mail.AuthProp{{Type: "header", Name: "from", Value: r.Domain}}}
	if r.Record != nil {
		a.Comment = "p=" + string(r.Record.P)
		if r.Record.SP != "" {
			a.Comment += " sp=" + string(r.Record.SP)
		}
		if r.Value == "fail" {
			a.Comment += " dis=" + string(r.Policy)
		}
	}
	return a
}

// Facts returns the evidence for a trail.
func (r *Result) Facts() []mail.Fact {
	facts := []mail.Fact{{Key: "from", Value: r.Domain}, {Key: "result", Value: r.Value}}
	if r.Record != nil {
		facts = append(facts, mail.Fact{Key: "record", Value: "_dmarc." + r.Record.Domain}, mail.Fact{Key: "policy", Value: string(r.Record.P)})
	}
	if r.Reason != "" {
		facts = append(facts, mail.Fact{Key: "why", Value: r.Reason})
	}
	return facts
}
