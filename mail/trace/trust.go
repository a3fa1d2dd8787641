package trace

import (
	"fmt"
	"strings"
	"time"

	"hoplite/mail/received"
)

// suspectAt is the score from which a claimed line is called suspect. Each
// rule below says what it weighs and why.
const suspectAt = 3

// weigh walks from the newest line to the oldest. The newest was written by
// the server that the reader holds the message from; each believed line then
// vouches for the host it took the message from, as long as that host is ours.
// Where it is not, trust ends: the address in that line is a fact, everything
// older is hearsay.
func (t *Trace) weigh(o *Options) {
	n := len(t.Steps)
	if n == 0 {
		return
	}
	i := n - 1
	for ; i > 0; i-- {
		t.Steps[i].Trust = Vouched
		if o.owns(t.Steps[i].By.Name) || i == n-1 {
			t.Steps[i].Trust = Ours
		}
		if why := t.believes(i, o); why != "" {
			t.Steps[i-1].Reasons = append(t.Steps[i-1].Reasons, why)
			continue
		}
		break
	}
	b := &t.Steps[i]
	b.Trust = Boundary
	t.Boundary = b.Index
	t.origin(b)
	for j := i - 1; j >= 0; j-- {
		t.Steps[j].Trust = Claimed
	}
	t.seal(o)
	for j := i - 1; j >= 0; j-- {
		if t.Steps[j].Trust == Claimed {
			t.suspect(j, o)
		}
	}
	t.inherit(i)
}

// believes tells why the believed line at i vouches for the line before it;
// "" if it does not.
func (t *Trace) believes(i int, o *Options) string {
	h, older := &t.Steps[i].Line, &t.Steps[i-1].Line
	if h.Proto.Fetch {
		// A program fetched the message: the older line was written by the
		// mailbox's provider, whom we chose but do not run.
		if o.trusts(h.From.Addr) || o.owns(older.By.Name) {
			return "fetched from a mailbox of ours"
		}
		return ""
	}
	if h.From.Addr.IsValid() && o.trusts(h.From.Addr) {
		return fmt.Sprintf("%s took it from %s, which is in a trusted net", host(h), h.From.Addr)
	}
	if o.owns(older.By.Name) && h.From.Addr.IsValid() && t.Steps[i].Class.inside() {
		return host(h) + " took it from a host of ours"
	}
	inside := t.Steps[i].Class.inside() || !h.From.Addr.IsValid()
	switch {
	case inside && h.MTA.Name == "qmail-scanner":
		return "a filter on the same host" // it writes the sender where the peer belongs
	case inside && h.From.Name == "" && h.MTA.Name == "qmail":
		return "the same qmail queued it" // "(qmail 123 invoked from network)" follows its own SMTP line
	case inside && sameHost(h.By.Name, older.By.Name):
		return host(h) + " handed it to itself"
	case inside && (named(h, older.By.Name) || older.By.Addr.IsValid() && older.By.Addr == h.From.Addr):
		return host(h) + " took it from inside"
	case inside && house(older.By.Name) != "" && house(older.By.Name) == house(h.By.Name):
		return host(h) + " took it from inside its own house"
	case h.From.RDNSState == received.Verified && house(h.From.RDNS) != "" && !isPool(h.From.RDNS) &&
		house(h.From.RDNS) == house(h.By.Name) && house(older.By.Name) == house(h.By.Name):
		return fmt.Sprintf("%s looked its peer up as %s, a host of the same house", host(h), h.From.RDNS)
	}
	return ""
}

// isPool tells whether a host belongs to a provider that many strangers use.
func isPool(name string) bool {
	h := house(name)
	return h != "" && !strings.Contains(h, ".")
}

// named tells whether a hop calls its peer by this name.
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

// origin is what the boundary line says: its writer saw that address.
func (t *Trace) origin(b *Step) {
	if !b.From.Addr.IsValid() {
		if b.Ident == "" && b.From.Name == "" {
			return
		}
		t.Origin = &Origin{Name: b.From.Name, Hop: b.Index, VouchedBy: host(&b.Line), Auth: b.Auth}
		return
	}
	t.Origin = &Origin{Addr: b.From.Addr, Name: b.From.RDNS, Helo: b.Announced(), Hop: b.Index, VouchedBy: host(&b.Line), Auth: b.Auth}
}

// seal marks the lines that a verified signature covers.
func (t *Trace) seal(o *Options) {
	for _, s := range o.Seals {
		for j := 0; j < min(s.Lines, len(t.Steps)); j++ {
			if st := &t.Steps[j]; st.Trust == Claimed {
				st.Trust = Sealed
				st.Reasons = append(st.Reasons, fmt.Sprintf("covered by the verified %s signature of %s", s.Kind, s.Domain))
			}
		}
	}
}

func (s *Step) blame(points int, format string, args ...any) {
	s.score += points
	s.Reasons = append(s.Reasons, fmt.Sprintf(format, args...))
}

// suspect looks for what speaks against the claimed line at j. Its neighbour
// above, j+1, says who really connected there.
func (t *Trace) suspect(j int, o *Options) {
	s, next := &t.Steps[j], &t.Steps[j+1]
	t.ownName(s, next, o)
	t.neighbours(s, next)
	t.future(s)
	t.idStyle(s)
	for k := j + 1; k < len(t.Steps); k++ {
		if other := &t.Steps[k]; s.ID != "" && !s.IDIsVersion && s.ID == other.ID && len(s.ID) > 5 && !sameHost(s.By.Name, other.By.Name) &&
			house(s.By.Name) != house(other.By.Name) {
			s.blame(2, "the id %s is also that of line %d, of another house", s.ID, other.Index)
			break
		}
	}
	if s.From.Addr.IsValid() && s.Class == Reserved {
		s.blame(1, "%s is no address that a host can have", s.From.Addr)
	}
	if s.score >= suspectAt {
		s.Trust = Suspect
	}
}

// ownName: a line with our own name, below the boundary, that the line above
// it contradicts. We know what we wrote, and this is not it.
func (t *Trace) ownName(s, next *Step, o *Options) {
	if insideName(s.By.Name) {
		return // everybody is called localhost
	}
	ours := o.owns(s.By.Name)
	for k := len(t.Steps) - 1; k >= t.Boundary-1 && !ours; k-- {
		ours = sameHost(t.Steps[k].By.Name, s.By.Name)
	}
	if !ours {
		return
	}
	fits := named(&next.Line, s.By.Name)
	if next.Trust == Boundary { // our own line: what a client says in HELO is no proof of anything
		fits = next.From.RDNS != "" && house(next.From.RDNS) == house(s.By.Name)
	}
	if fits || next.From.Addr.IsValid() && o.trusts(next.From.Addr) || next.Class.inside() {
		s.Reasons = append(s.Reasons, "it says that we had the message before: our history can tell")
		return
	}
	if next.From.RDNS == "" && sameHost(next.Announced(), s.By.Name) { // we, by way of a NAT, or a liar
		s.blame(10, "it carries our own name %s, as which %s announced itself in line %d: it was invented, unless that address is ours, too",
			s.By.Name, peer(&next.Line), next.Index)
		return
	}
	s.blame(10, "it carries our own name %s, but line %d took the message from %s: this proves that it was invented", s.By.Name, next.Index, peer(&next.Line))
}

func peer(h *received.Line) string {
	switch {
	case h.From.RDNS != "" && h.From.Addr.IsValid():
		return fmt.Sprintf("%s [%s]", h.From.RDNS, h.From.Addr)
	case h.From.Addr.IsValid():
		return "[" + h.From.Addr.String() + "]"
	case h.From.Name != "":
		return h.From.Name
	}
	return "somebody unnamed"
}

// neighbours: the writer of a line must be who connected to the next one.
func (t *Trace) neighbours(s, next *Step) {
	by := s.By.Name
	if by == "" || next.From.Name == "" && !next.From.Addr.IsValid() {
		return
	}
	h := &next.Line
	if s.By.Addr.IsValid() && h.From.Addr.IsValid() && s.By.Addr.Unmap() == h.From.Addr.Unmap() {
		return
	}
	own := house(by)
	helo, rdns := house(h.Announced()), house(h.From.RDNS)
	if h.From.Helo == "" && helo == "" {
		helo = house(h.From.Name)
	}
	if own == "" || h.Proto.Local || h.Proto.Fetch || next.Class.inside() || h.Auth != "" || strings.Contains(h.From.Name, "@") {
		return // inside names, local handoffs and customers who logged in say nothing
	}
	if sameHost(by, h.From.RDNS) || own == rdns {
		return
	}
	heloFits := own == helo
	switch {
	case rdns != "" && heloFits:
		// Who connected called itself like the writer of this line, but DNS
		// knows the address as somebody else's. Many honest servers have their
		// provider's reverse name, but few of those also relay for strangers.
		relay := s.From.Addr.IsValid() && !s.Class.inside() && s.Auth == ""
		switch {
		case relay && genericName(h.From.RDNS, h):
			s.blame(3, "line %d was announced as %s, but its address belongs to a pool of %s", next.Index, h.Announced(), rdns)
		case relay:
			s.blame(2, "line %d was announced as %s, but reverse DNS says %s, of another house", next.Index, h.Announced(), h.From.RDNS)
		default:
			s.blame(1, "line %d was announced as %s, but reverse DNS says %s", next.Index, h.Announced(), h.From.RDNS)
		}
	case heloFits:
		if h.From.RDNSState == received.Missing && s.From.Addr.IsValid() && !s.Class.inside() {
			s.blame(1, "only the announced name of line %d leads here; its address has no name", next.Index)
		}
	case rdns == "" && helo == "":
		s.blame(1, "line %d does not say that it came from %s", next.Index, by)
	case t.header.listID != "" || t.header.returnPaths > 1:
		s.blame(1, "%s handed on by a list or a forwarder as %s", by, peer(h))
	default:
		s.blame(3, "written by %s, but line %d took the message from %s", by, next.Index, peer(h))
	}
}

// genericName tells whether a reverse name is a provider's number for a
// customer: it holds parts of the address, or words for dial-up pools.
func genericName(name string, h *received.Line) bool {
	low := strings.ToLower(name)
	for part := range strings.FieldsFuncSeq(low, func(r rune) bool { return r < 'a' || r > 'z' }) {
		switch part {
		case "dyn", "dynamic", "dynip", "pool", "pools", "dhcp", "dsl", "adsl", "vdsl", "sdsl", "xdsl", "cable", "dial", "dialup", "dip", "ppp", "pppoe", "broadband",
			"client", "clients", "customer", "customers", "cust", "static", "vps", "unassigned", "unallocated", "rev", "reverse", "res", "nat", "user", "users", "home":
			return true
		}
	}
	if a := h.From.Addr.Unmap(); a.Is4() {
		b := a.As4()
		n := 0
		for _, part := range strings.FieldsFunc(low, func(r rune) bool { return r < '0' || r > '9' }) {
			for _, octet := range b {
				if strings.TrimLeft(part, "0") == fmt.Sprint(octet) {
					n++
					break
				}
			}
		}
		return n >= 3
	}
	return false
}

// future: no clock error explains a stamp days after our own.
func (t *Trace) future(s *Step) {
	b := &t.Steps[t.Boundary-1]
	if !s.Stamp.OK {
		return
	}
	if b.Stamp.OK && s.Stamp.Unix-b.Stamp.Unix > 86400-3600 {
		s.blame(4, "dated %s after our own line", Words(time.Duration(s.Stamp.Unix-b.Stamp.Unix)*time.Second))
	}
	if t.DateStamp.OK && t.DateStamp.Unix-s.Stamp.Unix > 86400 {
		s.blame(1, "dated %s before the message was written", Words(time.Duration(t.DateStamp.Unix-s.Stamp.Unix)*time.Second))
	}
}

// idStyle: many servers put the time into their ids, and all have a style.
func (t *Trace) idStyle(s *Step) {
	if s.ID == "" || s.IDIsVersion || s.MTA.Name == "" {
		return
	}
	switch c := checkID(s.MTA.Name, s.ID, s.Stamp); c.verdict {
	case idOtherTime:
		s.blame(3, "its id %s holds the time %s, not that of the line", s.ID, c.holds)
	case idOtherStyle:
		s.blame(3, "its id %s has the style of %s, not of %s", s.ID, c.style, s.MTA.Name)
	case idOdd:
		s.blame(1, "%s does not write ids like %s", s.MTA.Name, s.ID)
	}
}

// inherit: who invented a line also had every line below it in his hands.
func (t *Trace) inherit(boundary int) {
	bad := 0
	for j := boundary - 1; j >= 0; j-- {
		s := &t.Steps[j]
		switch {
		case s.Trust == Suspect:
			bad = s.Index
		case s.Trust == Claimed && bad > 0:
			s.Trust = Suspect
			s.Reasons = append(s.Reasons, fmt.Sprintf("stands below line %d, whose inventor could write this one too", bad))
		}
	}
}
