// Package resolve queries the DNS. [Resolver] is an interface with one method;
// functions such as [LookupMX] return typed answers. [Client] is a stub
// resolver, which is needed because the standard library's resolver returns
// neither TTLs nor the result of DNSSEC validation; [Cached] caches answers.
// Package resolvetest provides a resolver for tests.
//
// Errors distinguish a name without records ([ErrNotFound]) from a server that
// does not answer ([ErrTemporary]), because the latter must never cause a
// permanent refusal. Interpreting an answer is left to the caller.
package resolve

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/net/idna"
)

// The two kinds of failure. An Error matches one of them with errors.Is.
var (
	ErrNotFound  = errors.New("no such record")
	ErrTemporary = errors.New("no answer")
)

// Type is the type of a record.
type Type = dnsmessage.Type

// The record types that are queried.
const (
	A    = dnsmessage.TypeA
	AAAA = dnsmessage.TypeAAAA
	MX   = dnsmessage.TypeMX
	TXT  = dnsmessage.TypeTXT
	PTR  = dnsmessage.TypePTR
	NS   = dnsmessage.TypeNS
	TLSA = dnsmessage.Type(52) // RFC 6698
)

// Resolver answers queries. Implementations must be safe for concurrent use.
type Resolver interface {
	// Lookup returns the records of a type at a name, following CNAMEs. The
	// error is an *Error.
	Lookup(ctx context.Context, name string, t Type) (Answer, error)
}

// Answer holds one or more records.
type Answer struct {
	Name    string // the owner of the records, after all CNAMEs
	Records []Record
	TTL     time.Duration // the smallest TTL of the records
	// Authentic is set if a trusted resolver has validated the records
	// (DNSSEC).
	Authentic bool
}

// Record is one record. Its type determines which fields are set.
type Record struct {
	Addr netip.Addr // A, AAAA
	Pref uint16     // MX
	Host string     // MX, PTR, NS; lower case, no final dot; "" is the root
	Text string     // TXT, strings joined
	Data []byte     // TLSA, unparsed
}

// Error is a failed query.
type Error struct {
	Name      string
	Type      Type
	Temporary bool // there was no answer; try again later
	NoDomain  bool // the name itself does not exist (NXDOMAIN)
	Cause     error
	ttl       time.Duration
}

// Error returns the query and the reason.
func (e *Error) Error() string {
	what := ErrNotFound
	if e.Temporary {
		what = ErrTemporary
	}
	s := fmt.Sprintf("look up %s %s: %s", strings.TrimPrefix(e.Type.String(), "Type"), e.Name, what)
	if e.Cause != nil {
		s += ": " + e.Cause.Error()
	}
	return s
}

// Is reports whether target is ErrNotFound or ErrTemporary, as appropriate.
func (e *Error) Is(target error) bool {
	return target == ErrTemporary && e.Temporary || target == ErrNotFound && !e.Temporary
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }

// LookupTXT returns the TXT records of a name.
func LookupTXT(ctx context.Context, r Resolver, name string) ([]string, error) {
	a, err := r.Lookup(ctx, name, TXT)
	return collect(a, func(r Record) string { return r.Text }), err
}

// TXTRecords returns a function that looks up the TXT records of a name. It
// returns no error for a name without records.
func TXTRecords(r Resolver) func(ctx context.Context, name string) ([]string, error) {
	return func(ctx context.Context, name string) ([]string, error) {
		txt, err := LookupTXT(ctx, r, name)
		if errors.Is(err, ErrNotFound) {
			return nil, nil
		}
		return txt, err
	}
}

// LookupHosts returns the addresses of a name, IPv6 first. It fails only if
// there are none, and permanently only if both look-ups failed permanently.
func LookupHosts(ctx context.Context, r Resolver, name string) ([]netip.Addr, error) {
	six, err6 := r.Lookup(ctx, name, AAAA)
	four, err4 := r.Lookup(ctx, name, A)
	addr := func(r Record) netip.Addr { return r.Addr }
	all := append(collect(six, addr), collect(four, addr)...)
	switch {
	case len(all) > 0:
		return all, nil
	case errors.Is(err6, ErrTemporary):
		return nil, err6
	}
	return nil, err4
}

// LookupMX returns the mail servers of a domain, most preferred first. A null
// MX (RFC 7505) has an empty Host.
func LookupMX(ctx context.Context, r Resolver, name string) ([]Record, error) {
	a, err := r.Lookup(ctx, name, MX)
	mx := slices.Clone(a.Records)
	slices.SortStableFunc(mx, func(a, b Record) int { return int(a.Pref) - int(b.Pref) })
	return mx, err
}

// LookupPTR returns the names of an address.
func LookupPTR(ctx context.Context, r Resolver, addr netip.Addr) ([]string, error) {
	a, err := r.Lookup(ctx, ReverseName(addr), PTR)
	return collect(a, func(r Record) string { return r.Host }), err
}

func collect[T any](a Answer, f func(Record) T) []T {
	var out []T
	for _, r := range a.Records {
		out = append(out, f(r))
	}
	return out
}

// Reverse returns an address in the reversed form used by DNS lists and PTR
// names: 1.2.0.192 for 192.0.2.1, and the 32 nibbles in reverse order for IPv6.
func Reverse(addr netip.Addr) string {
	addr = addr.Unmap()
	var b strings.Builder
	octets := addr.AsSlice()
	for i := len(octets) - 1; i >= 0; i-- {
		if b.Len() > 0 {
			b.WriteByte('.')
		}
		if addr.Is4() {
			fmt.Fprintf(&b, "%d", octets[i])
		} else {
			fmt.Fprintf(&b, "%x.%x", octets[i]&15, octets[i]>>4)
		}
	}
	return b.String()
}

// ReverseName returns the name of the PTR records of an address.
func ReverseName(addr netip.Addr) string {
	if addr.Unmap().Is4() {
		return Reverse(addr) + ".in-addr.arpa"
	}
	return Reverse(addr) + ".ip6.arpa"
}

// Canonical returns the form of a name for queries and caches: A-labels, lower
// case, no final dot.
func Canonical(name string) (string, error) {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	for i := range len(name) {
		if name[i] >= 0x80 {
			var err error
			if name, err = idna.Registration.ToASCII(name); err != nil {
				return name, err
			}
			break
		}
	}
	if len(name) > 253 {
		return name, errors.New("name longer than 253 octets")
	}
	for label := range strings.SplitSeq(name, ".") {
		if len(label) > 63 || label == "" && name != "" {
			return name, errors.New("not a domain name")
		}
	}
	return name, nil
}
