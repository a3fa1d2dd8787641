// Package dmarc evaluates DMARC (RFC 7489 and its successor RFC 9989): it finds
// the domains in a message's From field and their records, and determines
// whether SPF or DKIM passed for them.
//
// Start with [FromDomains] and [Evaluate]. SPF and DKIM are checked elsewhere,
// lookups go through [DNS], and the caller decides how to handle mail that
// fails.
package dmarc

import (
	"context"
	"slices"
	"strings"

	"golang.org/x/net/publicsuffix"
)

// Policy is the treatment requested by a domain for mail that fails.
type Policy string

// The policies, mildest first.
const (
	None       Policy = "none"
	Quarantine Policy = "quarantine"
	Reject     Policy = "reject"
)

// Record is a domain's DMARC record as defined in RFC 7489, 6.3, with the tags
// np, psd and t of RFC 9989.
type Record struct {
	Domain     string // the domain where the record was found
	P, SP, NP  Policy // SP and NP are empty if P applies
	StrictDKIM bool
	StrictSPF  bool
	Testing    bool
	PSD        string // y, n, u
}

// maxRecord is the maximum length of a record.
const maxRecord = 4096

// Parse parses a record; ok is false if txt is not a DMARC record. Unknown
// tags, and unknown values of tags other than p, are ignored.
func Parse(txt string) (r Record, ok bool) {
	if len(txt) > maxRecord {
		return r, false
	}
	r = Record{PSD: "u"}
	rua, p := false, ""
	for i, part := range strings.Split(txt, ";") {
		name, value, has := strings.Cut(part, "=")
		name, value = strings.ToLower(strings.TrimSpace(name)), strings.TrimSpace(value)
		if i == 0 {
			if name != "v" || value != "DMARC1" {
				return r, false
			}
			continue
		}
		if !has {
			continue
		}
		lower := strings.ToLower(value)
		switch name {
		case "p":
			p = lower
		case "sp":
			r.SP = policy(lower)
		case "np":
			r.NP = policy(lower)
		case "adkim":
			r.StrictDKIM = lower == "s"
		case "aspf":
			r.StrictSPF = lower == "s"
		case "t":
			r.Testing = lower == "y"
		case "psd":
			if lower == "y" || lower == "n" {
				r.PSD = lower
			}
		case "rua":
			rua = strings.Contains(lower, "mailto:")
		}
	}
	// Without a usable p, a record that requests reports has the policy none
	// (RFC 7489, 6.6.3).
	if r.P = policy(p); r.P == "" {
		if !rua && p != "" {
			return r, false
		}
		r.P = None
	}
	return r, true
}

func policy(s string) Policy {
	if p := Policy(s); p == None || p == Quarantine || p == Reject {
		return p
	}
	return ""
}

// fetch returns a domain's record. It returns nil if there is none or more than
// one.
func fetch(ctx context.Context, dns DNS, domain string) (*Record, error) {
	name := "_dmarc." + domain
	if len(name) > maxName {
		return nil, nil
	}
	txts, err := dns.TXT(ctx, name)
	if err != nil {
		return nil, err
	}
	var found []Record
	for _, t := range txts {
		if r, ok := Parse(t); ok {
			r.Domain = domain
			found = append(found, r)
		}
	}
	if len(found) != 1 {
		return nil, nil
	}
	return &found[0], nil
}

// maxName is the maximum length in octets of a domain name in DNS.
const maxName = 253

// maxLabels limits the walk: the leftmost labels of a longer name are skipped
// (RFC 9989).
const maxLabels = 8

// walk looks for records at a domain and its parents. It returns the domain's
// own record, the organisational domain, and the organisational domain's
// record. Either record may be nil.
func walk(ctx context.Context, dns DNS, domain string) (own *Record, org string, at *Record, err error) {
	labels := strings.Split(domain, ".")
	org = domain
	for first := true; len(labels) > 0; first = false {
		name := strings.Join(labels, ".")
		r, err := fetch(ctx, dns, name)
		if err != nil {
			return nil, "", nil, err
		}
		if first {
			own = r
		}
		switch {
		case r == nil:
		case r.PSD == "n":
			return own, name, r, nil
		case r.PSD == "y" || isSuffix(name):
			// The name directly below a public suffix is an organisation; the
			// suffix's record applies if the organisation has none. The list of
			// public suffixes is needed because most records of suffixes lack
			// psd=y.
			if !first {
				if at == nil {
					org, at = below(domain, name), r
				}
				return own, org, at, nil
			}
		default:
			org, at = name, r // the record with the fewest labels applies
		}
		skip := 1
		if len(labels) > maxLabels {
			skip = len(labels) - maxLabels + 1
		}
		labels = slices.Clone(labels[skip:])
	}
	if at == nil {
		at = own
	}
	return own, org, at, nil
}

// isSuffix reports whether a domain is a public suffix, under which
// organisations register domains.
func isSuffix(domain string) bool {
	suffix, icann := publicsuffix.PublicSuffix(domain)
	return icann && suffix == domain
}

// below returns the part of domain that has one more label than suffix.
func below(domain, suffix string) string {
	rest := strings.TrimSuffix(domain, "."+suffix)
	return rest[strings.LastIndexByte(rest, '.')+1:] + "." + suffix
}
