package spf

import (
	"context"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"hoplite/internal/resolve"
)

// The spf package does not support everything that a record may contain.
// Unsupported parts are rewritten before the record is passed to it: the macro
// p becomes the client's name, and slashOctet stands for a slash in a domain,
// which the package would interpret as the start of a CIDR length.
const slashOctet = "\x01"

// maxNames is the maximum number of a client's names that are checked (RFC
// 7208, 4.6.4).
const maxNames = 10

var (
	pMacro   = regexp.MustCompile(`%\{([pP])([0-9]*)([rR]?)([-.+,/_=]*)\}`)
	hostName = regexp.MustCompile(`^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.?$`)
	anyMacro = regexp.MustCompile(macroExpand)
	targeted = regexp.MustCompile(`^([-+?~]?(?i:a:|mx:|include:|exists:|ptr:|redirect=))(` + domainSpec + `)(` + dualCIDR + `)$`)
)

// rewrite prepares the record of a domain for the spf package.
func (a *adapter) rewrite(ctx context.Context, domain, record string) string {
	if !strings.Contains(record, "/") && !pMacro.MatchString(record) {
		return record
	}
	terms := strings.Split(record, " ")
	for i, term := range terms {
		parts := targeted.FindStringSubmatch(term)
		if parts == nil {
			continue
		}
		spec := pMacro.ReplaceAllStringFunc(parts[2], func(macro string) string {
			return expandName(a.clientName(ctx, domain), pMacro.FindStringSubmatch(macro))
		})
		terms[i] = parts[1] + hideSlashes(spec) + parts[3]
	}
	return strings.Join(terms, " ")
}

// hideSlashes replaces slashes, except in the delimiters of a macro.
func hideSlashes(spec string) string {
	var out strings.Builder
	at := 0
	for _, m := range anyMacro.FindAllStringIndex(spec, -1) {
		out.WriteString(strings.ReplaceAll(spec[at:m[0]], "/", slashOctet))
		out.WriteString(spec[m[0]:m[1]])
		at = m[1]
	}
	out.WriteString(strings.ReplaceAll(spec[at:], "/", slashOctet))
	return out.String()
}

// expandName applies the transformers of a macro to a name: digits, reversal
// and delimiters (RFC 7208, 7.3).
func expandName(name string, macro []string) string {
	delimiters := macro[4]
	if delimiters == "" {
		delimiters = "."
	}
	labels := strings.FieldsFunc(name, func(r rune) bool { return strings.ContainsRune(delimiters, r) })
	if macro[3] != "" {
		slices.Reverse(labels)
	}
	if n, err := strconv.Atoi(macro[2]); err == nil && n > 0 {
		labels = labels[len(labels)-min(n, len(labels)):]
	}
	out := strings.Join(labels, ".")
	if macro[1] == "P" {
		out = url.QueryEscape(out)
	}
	return out
}

// clientName returns the value of the macro p: a name of the client that
// resolves back to it, preferably the domain itself or one below it (RFC 7208,
// 7.3).
func (a *adapter) clientName(ctx context.Context, domain string) string {
	if !a.looked {
		a.looked = true
		a.names = confirmed(ctx, a.dns, a.ip)
	}
	best := "unknown"
	for _, n := range a.names {
		switch {
		case strings.EqualFold(n, domain):
			return n
		case strings.HasSuffix(strings.ToLower(n), "."+strings.ToLower(domain)):
			best = n
		case best == "unknown":
			best = n
		}
	}
	return best
}

// confirmed returns the names of an address that resolve back to it. The sender
// controls these names, and anything other than a host name could add terms to
// the record.
func confirmed(ctx context.Context, dns resolve.Resolver, ip netip.Addr) []string {
	names, err := resolve.LookupPTR(ctx, dns, ip)
	if err != nil {
		return nil
	}
	var out []string
	for _, n := range names[:min(len(names), maxNames)] {
		if !hostName.MatchString(n) {
			continue
		}
		if addrs, err := resolve.LookupHosts(ctx, dns, n); err == nil && slices.Contains(addrs, ip) {
			out = append(out, strings.TrimSuffix(n, "."))
		}
	}
	return out
}
