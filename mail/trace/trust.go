package trace

import (
	"fmt"
	"net/netip"
	"strings"

	"hoplite/mail/received"
)

// weigher determines which lines are trusted, and why.
type weigher struct {
	*Trace
	o        *Options
	provider *provider // of the mailbox; nil until it is known
}

// weigh proceeds from the newest line to the oldest. The newest was written by
// the server that hosts the reader's mailbox. Each trusted line vouches for its
// peer if the peer belongs to us or to the mailbox's provider. The first line
// whose peer belongs to neither is the boundary: the peer's address is
// reliable, but everything older may be forged.
func (t *weigher) weigh() {
	n := len(t.Steps)
	if n == 0 {
		return
	}
	i := n - 1
	for ; i > 0; i-- {
		t.Steps[i].Trust = Vouched
		if t.o.owns(t.Steps[i].By.Name) || i == n-1 {
			t.Steps[i].Trust = Ours
		}
		why := t.vouches(i)
		if why == "" {
			break
		}
		t.Steps[i-1].Reasons = append(t.Steps[i-1].Reasons, why)
	}
	b := &t.Steps[i]
	b.Trust = Boundary
	t.Boundary = b.Index
	t.origin(b)
	for j := i - 1; j >= 0; j-- {
		t.Steps[j].Trust = Claimed
	}
	t.seal()
	t.suggest(i)
	for j := i - 1; j >= 0; j-- {
		if t.Steps[j].Trust == Claimed {
			t.suspect(j)
		}
	}
	t.inherit(i)
}

// vouches returns the reason why the trusted line at i vouches for the next older
// one, or "" if it does not.
func (t *weigher) vouches(i int) string {
	s := &t.Steps[i]
	h, older := &s.Line, &t.Steps[i-1].Line
	inside := s.Class.inside() || !h.From.Addr.IsValid()
	switch {
	case h.Proto.Fetch:
		// The older line is the newest one in the fetched mailbox. The
		// mailbox's provider wrote it, so the chain restarts there.
		t.provider = providerOf(older)
		return "newest line of the mailbox that " + host(h) + " fetched the message from"
	case h.From.Addr.IsValid() && t.o.trusts(h.From.Addr):
		return fmt.Sprintf("%s received it from %s, in a trusted network", host(h), h.From.Addr)
	case h.Proto.LMTP():
		return host(h) + " received it by LMTP, which is not spoken between organisations (RFC 2033)"
	case t.o.owns(older.By.Name) && h.From.Addr.IsValid() && (s.Class.inside() || h.From.RDNSState == received.Verified && t.o.owns(h.From.RDNS)):
		return host(h) + " received it from one of our hosts"
	}
	if why := t.withinProvider(h, older); why != "" {
		return why
	}
	switch {
	case inside && h.MTA.Name == "qmail-scanner":
		return "a filter on the same host" // it records the sender instead of the peer
	case inside && h.From.Name == "" && h.MTA.Name == "qmail":
		return "the same qmail queued it" // "(qmail 123 invoked from network)" follows its own SMTP line
	case inside && sameHost(h.By.Name, older.By.Name):
		return host(h) + " passed it to itself"
	case inside && (named(h, older.By.Name) || older.By.Addr.IsValid() && older.By.Addr == h.From.Addr):
		return host(h) + " received it from inside its own network"
	case inside && organisation(older.By.Name) != "" && organisation(older.By.Name) == organisation(h.By.Name):
		return host(h) + " received it from inside its own organisation"
	case h.From.RDNSState == received.Verified && organisation(h.From.RDNS) != "" && !isPool(h.From.RDNS) &&
		organisation(h.From.RDNS) == organisation(h.By.Name) && organisation(older.By.Name) == organisation(h.By.Name):
		return fmt.Sprintf("%s verified its peer as %s, a host of the same organisation", host(h), h.From.RDNS)
	}
	return ""
}

// suggest sets OursHint if the peer of the boundary line at i looks like
// another host in its organisation but nothing vouches for it.
func (t *weigher) suggest(i int) {
	if i == 0 {
		return
	}
	s, older := &t.Steps[i], &t.Steps[i-1].Line
	own := organisation(s.By.Name)
	if own == "" || isPool(s.By.Name) || organisation(older.By.Name) != own || t.provider != nil || !s.From.Addr.IsValid() || s.Class.inside() {
		return
	}
	if organisation(s.Announced()) != own && organisation(s.From.RDNS) != own {
		return
	}
	t.OursHint = &OursHint{Hop: s.Index, Names: "." + own, Addr: s.From.Addr}
}

// withinProvider recognises a step between hosts of the mailbox's provider that
// use non-public names and addresses.
func (t *weigher) withinProvider(h, older *received.Line) string {
	if t.provider == nil {
		t.provider = providerOf(h)
	}
	if t.provider == nil && insideName(h.By.Name) && Classify(h.From.Addr).inside() {
		// A host with a private name, such as one of Fastmail's, whose
		// neighbour in the same network has a name that is known.
		t.provider = providerOf(older)
	}
	p := t.provider
	if p == nil || !p.owns(older) && !insideName(older.By.Name) {
		return ""
	}
	if from := h.From.Addr; from.IsValid() && !p.internalAddr(from) && !Classify(from).inside() {
		return ""
	}
	return p.title + " passed it on internally"
}

// isPool reports whether a host belongs to a provider with many customers.
func isPool(name string) bool {
	h := organisation(name)
	return h != "" && !strings.Contains(h, ".")
}

// named reports whether a line contains this name for its peer.
func named(h *received.Line, name string) bool {
	return sameHost(h.From.Name, name) || sameHost(h.From.Helo, name) || sameHost(h.From.RDNS, name)
}

func host(h *received.Line) string {
	if h.By.Name != "" {
		return h.By.Name
	}
	if h.By.Addr.IsValid() {
		return h.By.Addr.String()
	}
	return "the writer"
}

// origin sets the origin from the boundary line, whose writer saw the address.
// Addresses of the mailbox's own provider are not reported, because blocking
// one would block the provider.
func (t *weigher) origin(b *Step) {
	o := &Origin{Addr: b.From.Addr, Name: b.From.RDNS, Helo: b.Announced(), Hop: b.Index, VouchedBy: host(&b.Line), Auth: b.Auth}
	switch {
	case !b.From.Addr.IsValid():
		if b.Ident == "" && b.From.Name == "" {
			return
		}
		o.Name, o.Helo = b.From.Name, ""
		if o.Name == "" {
			o.Name = "a local program (" + b.Ident + ")"
		}
	case t.provider != nil && t.provider.holds(b.From.Addr):
		o.Addr, o.Name = netip.Addr{}, t.provider.title
	}
	t.Origin = o
}

// seal marks the lines covered by a verified signature.
func (t *weigher) seal() {
	for _, s := range t.o.Seals {
		for j := 0; j < min(s.Lines, len(t.Steps)); j++ {
			if st := &t.Steps[j]; st.Trust == Claimed {
				st.Trust = Sealed
				st.Reasons = append(st.Reasons, fmt.Sprintf("covered by the verified %s signature of %s", s.Kind, s.Domain))
			}
		}
	}
}
