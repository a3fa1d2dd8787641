package resolve

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
)

// Zone is a resolver for tests: everything that the DNS knows.
type Zone struct {
	// Authentic is what its answers say of themselves.
	Authentic bool

	mu     sync.Mutex
	names  map[string][]owned
	fails  map[string]bool
	slow   map[string]time.Duration
	asked  map[string]int
	askedN int
}

// ParseZone reads a zone, a record a line: name, type, value. The name alone of
// SERVFAIL does not answer; SLOW waits before it does:
//
//	example.org      TXT  "v=spf1 mx -all"
//	example.org      MX   10 mail.example.org
//	mail.example.org A    192.0.2.1
//	www.example.org  CNAME mail.example.org
//	192.0.2.1        PTR  mail.example.org
//	dead.example     SERVFAIL
//	slow.example     SLOW 60s
func ParseZone(text string) (*Zone, error) {
	z := &Zone{names: map[string][]owned{}, fails: map[string]bool{}, slow: map[string]time.Duration{}, asked: map[string]int{}}
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

// MustZone is ParseZone for text that is part of a test.
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
		name = Reverse(ip) + arpa(ip)
	}
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	o := owned{owner: name, ttl: 5 * time.Minute}
	switch strings.ToUpper(kind) {
	case "A", "AAAA":
		o.typ = AAAA
		if o.Addr, err = netip.ParseAddr(value); err == nil && o.Addr.Is4() {
			o.typ = A
		}
	case "MX":
		pref, h, ok := strings.Cut(value, " ")
		p, e := strconv.ParseUint(pref, 10, 16)
		if !ok || e != nil {
			return fmt.Errorf("MX %q: want a number and a host", value)
		}
		o.typ, o.Pref, o.Host = MX, uint16(p), plainHost(h)
	case "PTR":
		o.typ, o.Host = PTR, plainHost(value)
	case "NS":
		o.typ, o.Host = NS, plainHost(value)
	case "CNAME":
		o.typ, o.Host = dnsmessage.TypeCNAME, plainHost(value)
	case "TXT":
		o.typ, o.Text = TXT, strings.Trim(value, `"`)
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

// Set replaces all records of a type at a name by those in text.
func (z *Zone) Set(name string, t Type, lines ...string) error {
	z.mu.Lock()
	defer z.mu.Unlock()
	name = plainHost(name)
	var rest []owned
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

// Asked says how many questions there were, in all or for one name.
func (z *Zone) Asked(name ...string) int {
	z.mu.Lock()
	defer z.mu.Unlock()
	if len(name) == 0 {
		return z.askedN
	}
	return z.asked[plainHost(name[0])]
}

// Lookup answers from the zone.
func (z *Zone) Lookup(ctx context.Context, name string, t Type) (Answer, error) {
	key, err := canonical(name)
	if err != nil {
		return Answer{}, &Error{Name: name, Type: t, NoDomain: true, Cause: err}
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
			return Answer{}, &Error{Name: name, Type: t, Temporary: true, Cause: ctx.Err()}
		}
	}
	if fails {
		return Answer{}, &Error{Name: name, Type: t, Temporary: true, Cause: errors.New("server says ServerFailure")}
	}
	z.mu.Lock()
	defer z.mu.Unlock()
	at := key
	for range maxChain {
		a := follow(z.names[at], at, t)
		if len(a.Records) > 0 {
			a.Authentic = z.Authentic
			return a, nil
		}
		if a.Name == at {
			break
		}
		at = a.Name
	}
	return Answer{}, &Error{Name: name, Type: t, NoDomain: len(z.names[at]) == 0 && !z.hasBelow(at)}
}

// hasBelow says whether a name exists because there are names below it.
func (z *Zone) hasBelow(name string) bool {
	for n := range z.names {
		if strings.HasSuffix(n, "."+name) {
			return true
		}
	}
	return false
}
