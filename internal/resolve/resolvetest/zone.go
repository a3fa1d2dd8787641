// Package resolvetest provides DNS for tests. A [Zone] is a resolver whose
// records are given in the test; [Zone.Serve] serves it over UDP and TCP.
package resolvetest

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"hoplite/internal/resolve"
)

// record is a record in a zone.
type record struct {
	typ resolve.Type
	resolve.Record
}

// ttl is the TTL of all records.
const ttl = 5 * time.Minute

// maxChain is the maximum number of CNAMEs to follow.
const maxChain = 10

// Zone is a resolver that answers from records parsed by ParseZone.
type Zone struct {
	// Authentic marks all answers as validated by DNSSEC.
	Authentic bool

	mu     sync.Mutex
	names  map[string][]record
	fails  map[string]bool
	slow   map[string]time.Duration
	asked  map[string]int
	askedN int
}

// ParseZone parses a zone with one record per line: name, type, value. Look-ups
// of a name of type SERVFAIL fail; those of type SLOW are delayed:
//
//	example.org      TXT  "v=spf1 mx -all"
//	example.org      MX   10 mail.example.org
//	mail.example.org A    192.0.2.1
//	www.example.org  CNAME mail.example.org
//	192.0.2.1        PTR  mail.example.org
//	dead.example     SERVFAIL
//	slow.example     SLOW 60s
func ParseZone(text string) (*Zone, error) {
	z := &Zone{names: map[string][]record{}, fails: map[string]bool{}, slow: map[string]time.Duration{}, asked: map[string]int{}}
	n := 0
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		if err := z.add(line); err != nil {
			return nil, fmt.Errorf("zone line %d: %w", n, err)
		}
	}
	return z, nil
}

// MustZone is like ParseZone but panics on a mistake.
func MustZone(text string) *Zone {
	z, err := ParseZone(text)
	if err != nil {
		panic(err)
	}
	return z
}

func (z *Zone) add(line string) (err error) {
	name, rest, _ := strings.Cut(line, " ")
	kind, value, _ := strings.Cut(strings.TrimSpace(rest), " ")
	value = strings.TrimSpace(value)
	if ip, e := netip.ParseAddr(name); e == nil {
		name = resolve.ReverseName(ip)
	}
	name = plainHost(name)
	var o record
	switch strings.ToUpper(kind) {
	case "A", "AAAA":
		o.typ = resolve.AAAA
		if o.Addr, err = netip.ParseAddr(value); err == nil && o.Addr.Is4() {
			o.typ = resolve.A
		}
	case "MX":
		pref, h, ok := strings.Cut(value, " ")
		p, e := strconv.ParseUint(pref, 10, 16)
		if !ok || e != nil {
			return fmt.Errorf("MX %q: want a number and a host", value)
		}
		o.typ, o.Pref, o.Host = resolve.MX, uint16(p), plainHost(h)
	case "PTR":
		o.typ, o.Host = resolve.PTR, plainHost(value)
	case "NS":
		o.typ, o.Host = resolve.NS, plainHost(value)
	case "CNAME":
		o.typ, o.Host = dnsmessage.TypeCNAME, plainHost(value)
	case "TXT":
		o.typ, o.Text = resolve.TXT, strings.Trim(value, `"`)
	case "SERVFAIL":
		z.fails[name] = true
		return nil
	case "SLOW":
		z.slow[name], err = time.ParseDuration(value)
		return err
	default:
		return fmt.Errorf("unknown type %q", kind)
	}
	z.names[name] = append(z.names[name], o)
	return err
}

func plainHost(s string) string {
	return strings.ToLower(strings.TrimSuffix(strings.TrimSpace(s), "."))
}

// Set replaces all records of a type at a name with those in text.
func (z *Zone) Set(name string, t resolve.Type, lines ...string) error {
	z.mu.Lock()
	defer z.mu.Unlock()
	name = plainHost(name)
	var rest []record
	for _, o := range z.names[name] {
		if o.typ != t {
			rest = append(rest, o)
		}
	}
	z.names[name] = rest
	for _, l := range lines {
		if err := z.add(name + " " + strings.TrimPrefix(t.String(), "Type") + " " + l); err != nil {
			return err
		}
	}
	return nil
}

// Asked returns the number of queries for one name, or for all names.
func (z *Zone) Asked(name ...string) int {
	z.mu.Lock()
	defer z.mu.Unlock()
	if len(name) == 0 {
		return z.askedN
	}
	return z.asked[plainHost(name[0])]
}

// Lookup answers from the zone.
func (z *Zone) Lookup(ctx context.Context, name string, t resolve.Type) (resolve.Answer, error) {
	key, err := resolve.Canonical(name)
	if err != nil {
		return resolve.Answer{}, &resolve.Error{Name: name, Type: t, NoDomain: true, Cause: err}
	}
	z.mu.Lock()
	z.askedN++
	z.asked[key]++
	wait, fails := z.slow[key], z.fails[key]
	z.mu.Unlock()
	if wait > 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return resolve.Answer{}, &resolve.Error{Name: name, Type: t, Temporary: true, Cause: ctx.Err()}
		}
	}
	if fails {
		return resolve.Answer{}, &resolve.Error{Name: name, Type: t, Temporary: true, Cause: errors.New("server says ServerFailure")}
	}
	z.mu.Lock()
	defer z.mu.Unlock()
	at := key
	for range maxChain {
		a := resolve.Answer{Name: at, TTL: ttl, Authentic: z.Authentic}
		next := at
		for _, r := range z.names[at] {
			switch r.typ {
			case t:
				a.Records = append(a.Records, r.Record)
			case dnsmessage.TypeCNAME:
				next = r.Host
			}
		}
		if len(a.Records) > 0 {
			return a, nil
		}
		if next == at {
			break
		}
		at = next
	}
	return resolve.Answer{}, &resolve.Error{Name: name, Type: t, NoDomain: len(z.names[at]) == 0 && !z.hasBelow(at)}
}

// hasBelow reports whether a name exists because other names exist below it.
func (z *Zone) hasBelow(name string) bool {
	for n := range z.names {
		if strings.HasSuffix(n, "."+name) {
			return true
		}
	}
	return false
}
