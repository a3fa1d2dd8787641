// Package dmarc is the filter that asks the domain of From what to do with mail
// that neither SPF nor DKIM ties to it (RFC 7489, with the tree walk of its
// successor).
//
// It stands behind the filters spf and dkim in the chain and judges by what
// they wrote on the trail; behind arc it also hears what a trusted forwarder saw.
package dmarc

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"

	"hoplite/filters"
	"hoplite/internal/resolve"
	"hoplite/mail"
	"hoplite/mail/mime"
)

// maxDomains is how many domains in From are looked at.
const maxDomains = 5

// Config is the block filter "dmarc" { ... } of a chain. Its place is behind
// spf, dkim and arc.
type Config struct {
	// Mode is "observe" (results are written down and nothing happens), or
	// "enforce": what a domain asks for is done.
	Mode string `hcl:"mode,optional" enum:"observe|enforce" default:"observe"`
	// BadFrom is what becomes, when enforcing, of mail with several From fields,
	// with none, or without a domain in it.
	BadFrom string `hcl:"bad_from,optional" enum:"tag|quarantine|reject" default:"reject"`
	// Relayed judges also mail that comes from a server of yours (one in trusted);
	// set it on the filter spf as well.
	Relayed bool `hcl:"relayed,optional"`
	// Override are domains for which you know better than their record.
	Override []Override `hcl:"override,block"`
	// Sealers are domains whose ARC seals are believed: mail that failed here
	// only because they changed it passes if they saw it pass.
	Sealers []string `hcl:"sealers,optional" example:"lists.example"`
}

// Override is what counts for a domain instead of its record.
type Override struct {
	// Domain is the domain of From; ".example.org" is every domain below it.
	Domain string `hcl:"domain,label"`
	// Policy is what happens to its mail if it fails.
	Policy string `hcl:"policy" enum:"none|quarantine|reject"`
}

// Filter judges by a Config.
type Filter struct {
	cfg Config
	dns resolve.Resolver
}

// New makes the filter.
func New(cfg Config, env filters.Env) (filters.Filter, error) { return &Filter{cfg, env.DNS}, nil }

// Result is what DMARC says of one domain.
type Result struct {
	Value  string // pass, fail, none, temperror, permerror (RFC 7489, 11.2)
	Domain string
	Policy Policy // what the domain asks for, if Value is fail
	Record *Record
	Reason string
}

// AtData judges the domains of From.
func (f *Filter) AtData(ctx context.Context, tx *mail.Transaction, m *mail.Message) (filters.Verdict, error) {
	if c := &tx.Client; c.MayRelay || c.User != "" || c.Trusted && !f.cfg.Relayed {
		return filters.Verdict{}, nil
	}
	domains, problem := fromDomains(m.Head)
	if problem != "" {
		v := filters.Tagged("DMARC: " + problem)
		if f.cfg.Mode == "enforce" {
			v = filters.Acted(filters.Action(f.cfg.BadFrom), 550, "5.7.26", "%s", problem)
		}
		v.Auth = []mail.AuthResult{{Method: "dmarc", Value: "permerror", Reason: problem}}
		return v, nil
	}
	var worst Result
	var v filters.Verdict
	for _, d := range domains {
		r := Evaluate(ctx, f.dns, d, tx.Trail.Auth)
		f.adjust(tx, &r)
		v.Auth = append(v.Auth, r.authResult())
		if worst.Value == "" || r.severity() > worst.severity() {
			worst = r
		}
	}
	w := f.verdict(&worst)
	w.Auth = v.Auth
	w.Facts = worst.facts()
	return w, nil
}

// fromDomains finds the domains that a reader sees as senders, with A-labels.
func fromDomains(head []byte) (domains []string, problem string) {
	n := 0
	for f := range mail.Fields(head) {
		if !f.Is("From") {
			continue
		}
		if n++; n > 1 {
			return nil, "the message has several From fields"
		}
		text := f.Text()
		if strings.ContainsAny(text, "\x00") {
			return nil, "From holds a NUL"
		}
		for _, a := range mime.ParseAddresses(text) {
			if a.Kind != mime.Mailbox || a.Local == "" && a.Domain == "" {
				continue
			}
			addr, err := mail.Join("x", strings.TrimSuffix(a.Domain, "."))
			if err != nil || !strings.Contains(addr.ASCIIDomain(), ".") {
				return nil, "From has an address without a valid domain"
			}
			d := addr.ASCIIDomain()
			if !contains(domains, d) {
				domains = append(domains, d)
			}
		}
	}
	switch {
	case n == 0:
		return nil, "the message has no From field"
	case len(domains) == 0:
		return nil, "From names nobody"
	case len(domains) > maxDomains:
		return nil, "From names too many domains"
	}
	return domains, ""
}

func contains(list []string, s string) bool {
	for _, l := range list {
		if strings.EqualFold(l, s) {
			return true
		}
	}
	return false
}

// Evaluate asks the DNS for a From domain and holds the results of SPF and DKIM
// against it.
func Evaluate(ctx context.Context, dns resolve.Resolver, domain string, auth []mail.AuthResult) Result {
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
	aligned, unsure := align(ctx, dns, domain, org, rec, auth)
	switch {
	case aligned != "":
		r.Value, r.Reason = "pass", aligned
		return r
	case unsure:
		r.Value, r.Reason = "temperror", "SPF or DKIM could not be checked"
		return r
	}
	r.Value, r.Policy = "fail", rec.P
	r.Reason = "neither SPF nor DKIM is for this domain"
	if rec.Domain != domain {
		if rec.SP != "" {
			r.Policy = rec.SP
		}
		if rec.NP != "" && missing(ctx, dns, domain) {
			r.Policy = rec.NP
		}
	}
	return r
}

// align finds a result that passed for a domain that counts as the From domain.
func align(ctx context.Context, dns resolve.Resolver, domain, org string, rec *Record, auth []mail.AuthResult) (found string, unsure bool) {
	asked := 0
	same := func(d string, strict bool) bool {
		d = strings.ToLower(strings.TrimSuffix(d, "."))
		if d == domain || d == "" {
			return d != ""
		}
		if strict || d != org && !strings.HasSuffix(d, "."+org) {
			return false
		}
		if asked++; asked > maxDomains {
			return false
		}
		_, other, _, err := walk(ctx, dns, d)
		unsure = unsure || err != nil
		return err == nil && other == org
	}
	for i := range auth {
		a := &auth[i]
		var d string
		strict := rec.StrictDKIM
		switch a.Method {
		case "dkim":
			d = a.Prop("header", "d")
		case "spf":
			strict = rec.StrictSPF
			d = mail.Address(a.Prop("smtp", "mailfrom")).ASCIIDomain()
			if d == "" && !hasMailFrom(auth) {
				d = a.Prop("smtp", "helo")
			}
		default:
			continue
		}
		switch {
		case a.Value == "temperror":
			unsure = true
		case a.Value == "pass" && same(d, strict):
			return a.Method + " passed for " + d, false
		}
	}
	return "", unsure
}

// hasMailFrom says whether SPF judged a reverse path; only without one the HELO
// name counts (RFC 7489, 3.1.2).
func hasMailFrom(auth []mail.AuthResult) bool {
	for i := range auth {
		if auth[i].Method == "spf" && auth[i].Prop("smtp", "mailfrom") != "" {
			return true
		}
	}
	return false
}

// missing says that a domain has neither addresses nor mail servers.
func missing(ctx context.Context, dns resolve.Resolver, domain string) bool {
	for _, t := range []resolve.Type{resolve.MX, resolve.A, resolve.AAAA} {
		if _, err := dns.Lookup(ctx, domain, t); !errors.Is(err, resolve.ErrNotFound) {
			return false
		}
	}
	return true
}

// adjust applies what makes less of a policy: test mode, sampling, our own
// overrides, and a forwarder that we trust.
func (f *Filter) adjust(tx *mail.Transaction, r *Result) {
	if r.Value != "fail" {
		return
	}
	asked := r.Policy
	if r.Record.Testing || sampledOut(tx.ID, r.Record.Percent) {
		r.Policy = milder(r.Policy)
	}
	if r.Policy != asked {
		r.Reason += fmt.Sprintf("; asks for %s of a part or as a test only", asked)
	}
	for _, o := range f.cfg.Override {
		d := strings.ToLower(o.Domain)
		if r.Domain == d || strings.HasPrefix(d, ".") && strings.HasSuffix(r.Domain, d) {
			r.Policy = Policy(o.Policy)
			r.Reason += "; local policy"
			break
		}
	}
	if s := f.vouchedBy(tx.Trail.Auth); s != "" {
		r.Policy = None
		r.Reason += "; " + s + " saw it pass (ARC)"
	}
}

// vouchedBy finds a trusted ARC sealer who saw DMARC pass; everybody who sealed
// after it must be trusted as well.
func (f *Filter) vouchedBy(auth []mail.AuthResult) string {
	for i := range auth {
		a := &auth[i]
		if a.Method != "arc" || a.Value != "pass" || a.Prop("policy", "dmarc") != "pass" {
			continue
		}
		sealers := strings.Split(a.Prop("policy", "sealer"), ",")
		if !slices.ContainsFunc(sealers, func(s string) bool { return !contains(f.cfg.Sealers, s) }) {
			return sealers[len(sealers)-1]
		}
	}
	return ""
}

// sampledOut picks the share of mail that a policy is not for, the same for the
// same message.
func sampledOut(id string, percent int) bool {
	h := fnv.New32a()
	h.Write([]byte(id))
	return int(h.Sum32()%100) >= percent
}

func milder(p Policy) Policy {
	if p == Reject {
		return Quarantine
	}
	return None
}

// severity orders results: of several domains the worst counts.
func (r *Result) severity() int {
	if r.Value == "fail" {
		return map[Policy]int{None: 3, Quarantine: 4, Reject: 5}[r.Policy]
	}
	return map[string]int{"pass": 0, "none": 1, "temperror": 2}[r.Value]
}

func (f *Filter) verdict(r *Result) filters.Verdict {
	if r.Value != "fail" {
		return filters.Verdict{}
	}
	if f.cfg.Mode != "enforce" || r.Policy == None {
		return filters.Tagged(fmt.Sprintf("DMARC: %s fails (%s asked for)", r.Domain, r.Policy))
	}
	return filters.Acted(filters.Action(r.Policy), 550, "5.7.26", "DMARC: %s asks to %s mail that is not its own: %s", r.Domain, r.Policy, r.Reason)
}

func (r *Result) authResult() mail.AuthResult {
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

func (r *Result) facts() []mail.Fact {
	facts := []mail.Fact{{Key: "from", Value: r.Domain}, {Key: "result", Value: r.Value}}
	if r.Record != nil {
		facts = append(facts, mail.Fact{Key: "record", Value: "_dmarc." + r.Record.Domain}, mail.Fact{Key: "policy", Value: string(r.Record.P)})
	}
	if r.Reason != "" {
		facts = append(facts, mail.Fact{Key: "why", Value: r.Reason})
	}
	return facts
}
