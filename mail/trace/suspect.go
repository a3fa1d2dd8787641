package trace

import (
	"fmt"
	"strings"
	"time"

	"golang.org/x/net/publicsuffix"

	"hoplite/mail/received"
)

// suspectAt is the total weight at which a claimed line becomes suspect, if
// there are at least two independent signs. A single sign is never enough,
// because genuine servers may have several names, wrong clocks and unusual ids.
const suspectAt = 3

// sign is a kind of evidence against a line. Several findings of the same kind
// count as one sign.
type sign uint8

const (
	ownNameSign sign = 1 << iota // it carries one of our names
	peerSign                     // the next line was received from another host
	poolSign                     // the peer is a dial-up address
	timeSign                     // its date is impossible
	idSign                       // its id belongs to other software, another time or another line
	addressSign                  // its address cannot exist
)

// addSign records a sign, its weight, and the reason as text.
func (s *Step) addSign(kind sign, weight int, format string, args ...any) {
	s.signs |= kind
	s.score += weight
	s.Reasons = append(s.Reasons, fmt.Sprintf(format, args...))
}

// isSuspect reports whether a line has enough weight and at least two signs.
func (s *Step) isSuspect() bool { return s.score >= suspectAt && s.signs&(s.signs-1) != 0 }

// suspect looks for signs that the claimed line at j is forged. The next newer
// line, j+1, records the host that actually connected.
func (t *weigher) suspect(j int) {
	s, next := &t.Steps[j], &t.Steps[j+1]
	if !t.ownName(s, next) {
		t.neighbours(s, next) // does the same for names that are not ours
	}
	t.future(s, next)
	idStyle(s)
	for k := j + 1; k < len(t.Steps); k++ {
		if other := &t.Steps[k]; s.ID != "" && !s.IDIsVersion && s.ID == other.ID && len(s.ID) > 5 && !sameHost(s.By.Name, other.By.Name) &&
			organisation(s.By.Name) != organisation(other.By.Name) && !handedToItself(other) {
			s.addSign(idSign, 2, "line %d, of another organisation, has the same id %s", other.Index, s.ID)
			break
		}
	}
	if s.From.Addr.IsValid() && s.Class == Reserved {
		s.addSign(addressSign, 1, "%s is not an address that a host can have", s.From.Addr)
	}
	if s.isSuspect() {
		s.Trust = Suspect
	}
}

// handedToItself reports whether a host received the message from its own
// organisation. The writer of the previous line is then the same organisation
// under another name, which may well keep the id.
func handedToItself(s *Step) bool {
	own := organisation(s.By.Name)
	return own != "" && (organisation(s.From.RDNS) == own || s.From.RDNS == "" && organisation(s.Announced()) == own)
}

// ownName handles a line below the boundary that contains the name of one of
// our hosts. Forwarding and mailing lists return our own mail to us, so the
// name alone is not a sign; it becomes one only if the next line contradicts
// it. Only our history could prove that we did not write the line. ownName
// reports whether the next line contradicts the name.
func (t *weigher) ownName(s, next *Step) bool {
	if insideName(s.By.Name) {
		return false // names such as localhost are not unique
	}
	ours := t.o.owns(s.By.Name)
	for k := len(t.Steps) - 1; k >= t.Boundary-1 && !ours; k-- {
		ours = sameHost(t.Steps[k].By.Name, s.By.Name)
	}
	if !ours {
		return false
	}
	if t.fromUs(s, next) {
		s.Reasons = append(s.Reasons, "it says that we handled the message before, which our history can confirm")
		return false
	}
	announced := sameHost(next.Announced(), s.By.Name)
	if announced && next.From.RDNS == "" { // one of our hosts behind NAT, or a forgery
		s.addSign(ownNameSign, 2, "it carries our own name %s, which %s announced in line %d: we did not write it, unless that address is ours, too",
			s.By.Name, peer(&next.Line), next.Index)
	} else {
		s.addSign(ownNameSign, 3, "it carries our own name %s, but line %d received the message from %s: we did not write it, unless that host is ours, too",
			s.By.Name, next.Index, peer(&next.Line))
	}
	missing := next.From.RDNSState == received.Missing
	if own := organisation(s.By.Name); own != "" && organisation(next.Announced()) == own && !sameHost(next.Announced(), next.By.Name) {
		return true // perhaps another server of ours, whose address has no reverse name
	}
	switch {
	case sameHost(next.Announced(), next.By.Name) && (missing || next.From.RDNS != ""):
		s.addSign(peerSign, 1, "that peer announced the name of the server which it connected to")
	case missing && !announced:
		s.addSign(peerSign, 1, "the address of that peer has no reverse name")
	}
	return true
}

// fromUs reports whether the server that wrote next may have received the
// message from one of our hosts, judging by all the names it recorded for its
// peer.
func (t *weigher) fromUs(s, next *Step) bool {
	from := &next.From
	if from.Name == "" && !from.Addr.IsValid() {
		return true // without a from clause, there is no contradiction
	}
	if from.Addr.IsValid() && t.o.trusts(from.Addr) || next.Class.inside() {
		return true
	}
	own := organisation(s.By.Name)
	if from.RDNS != "" || next.Trust == Boundary {
		// In a line that we wrote, the name in HELO proves nothing.
		return from.RDNS != "" && (t.o.owns(from.RDNS) || own != "" && organisation(from.RDNS) == own)
	}
	name := next.Announced()
	return t.o.owns(name) || sameHost(name, s.By.Name) || own != "" && organisation(name) == own
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
	return "an unnamed peer"
}

// neighbours compares the writer of a line with the host that connected to the
// next one.
func (t *weigher) neighbours(s, next *Step) {
	h, by := &next.Line, s.By.Name
	if by == "" || h.From.Name == "" && !h.From.Addr.IsValid() {
		return
	}
	if s.By.Addr.IsValid() && h.From.Addr.IsValid() && s.By.Addr.Unmap() == h.From.Addr.Unmap() {
		return
	}
	own := organisation(by)
	helo, rdns := organisation(h.Announced()), organisation(h.From.RDNS)
	if h.From.Helo == "" && helo == "" {
		helo = organisation(h.From.Name)
	}
	if own == "" || h.Proto.Local || h.Proto.Fetch || next.Class.inside() || h.Auth != "" || strings.Contains(h.From.Name, "@") {
		return // internal names, local handoffs and authenticated customers are not evidence
	}
	if sameHost(by, h.From.RDNS) || own == rdns {
		return
	}
	// Genuine hosts with a provider's generic reverse name rarely relay
	// mail for others.
	relay := s.From.Addr.IsValid() && !s.Class.inside() && s.Auth == ""
	switch {
	case own == helo && rdns != "" && relay:
		s.addSign(peerSign, 2, "the peer of line %d announced itself as %s, but its reverse name %s belongs to another organisation", next.Index, h.Announced(), h.From.RDNS)
		if dialUp(h.From.RDNS) && !dynamicDNS(by) {
			s.addSign(poolSign, 1, "%s is the name of a dial-up address, and those rarely relay", h.From.RDNS)
		}
	case own == helo && rdns != "":
		s.addSign(peerSign, 1, "the peer of line %d announced itself as %s, but its reverse name is %s", next.Index, h.Announced(), h.From.RDNS)
	case own == helo:
		if h.From.RDNSState == received.Missing && s.From.Addr.IsValid() && !s.Class.inside() {
			s.addSign(peerSign, 1, "the peer of line %d announced this name, and its address has no reverse name", next.Index)
		}
	case rdns == "" && helo == "":
		s.addSign(peerSign, 1, "line %d does not say that it came from %s", next.Index, by)
	case t.header.listID != "" || t.header.returnPaths > 1:
		s.addSign(peerSign, 1, "%s passed on by a list or a forwarder as %s", by, peer(h))
	case helo == rdns:
		// A genuine server may have a different internal name, such as
		// an Exchange server in its own AD domain, or a provider with
		// two names.
		s.addSign(peerSign, 1, "written by %s, which line %d knows as %s", by, next.Index, peer(h))
	default:
		s.addSign(peerSign, 2, "written by %s, but line %d received the message from %s", by, next.Index, peer(h))
	}
}

// dynamicDNS reports whether a name belongs to a service such as dyndns.org that
// gives names to hosts at dial-up addresses: a suffix of the public suffix list
// that is privately owned.
func dynamicDNS(name string) bool {
	suffix, icann := publicsuffix.PublicSuffix(strings.ToLower(strings.TrimSuffix(name, ".")))
	return !icann && strings.Contains(suffix, ".")
}

// dialUp reports whether a reverse name belongs to a dynamic address. Numbered
// names at hosting companies are excluded, because customers' servers may
// relay.
func dialUp(name string) bool {
	dynamic := false
	for part := range strings.FieldsFuncSeq(strings.ToLower(name), func(r rune) bool { return r < 'a' || r > 'z' }) {
		switch part {
		case "static", "vps", "server", "servers", "hosting", "cloud", "dedicated", "colo":
			return false
		case "dyn", "dynamic", "dynip", "pool", "pools", "dhcp", "dsl", "adsl", "vdsl", "xdsl", "cable", "dial", "dialup", "dip", "ppp", "pppoe", "broadband", "mobile":
			dynamic = true
		}
	}
	return dynamic
}

// future finds stamps that are too far off to be explained by a clock error. It
// is no sign against a line if another organisation's host, which received the
// message from it, wrote the same time, or if the message was written shortly
// before: then our own clock may be wrong. Nor is a line suspect because it is
// dated before the Date field if our own line is, too: then that field is wrong.
func (t *weigher) future(s, next *Step) {
	b := &t.Steps[t.Boundary-1]
	if !s.Stamp.OK {
		return
	}
	late := func(s *Step) bool { return s.Stamp.OK && b.Stamp.OK && s.Stamp.Unix-b.Stamp.Unix > 86400-3600 }
	s.afterUs = late(s)
	agrees := late(next) && next.Stamp.Unix >= s.Stamp.Unix-60 && organisation(next.By.Name) != "" && organisation(next.By.Name) != organisation(s.By.Name)
	if d := s.Stamp.Unix - t.DateStamp.Unix; t.DateStamp.OK && d >= 0 && d <= 3600 {
		agrees = true
	}
	if s.afterUs && !agrees {
		s.addSign(timeSign, 4, "dated %s after our own line", Words(time.Duration(s.Stamp.Unix-b.Stamp.Unix)*time.Second))
	}
	if t.DateStamp.OK && t.DateStamp.Unix-s.Stamp.Unix > 86400 && b.Stamp.OK && t.DateStamp.Unix-b.Stamp.Unix < 3600 {
		s.addSign(timeSign, 1, "dated %s before the message was written", Words(time.Duration(t.DateStamp.Unix-s.Stamp.Unix)*time.Second))
	}
}

// idStyle checks the format of the id and the time that many servers encode in
// it.
func idStyle(s *Step) {
	if s.ID == "" || s.IDIsVersion || s.MTA.Name == "" {
		return
	}
	switch c := checkID(s.MTA.Name, s.ID, s.Stamp); c.verdict {
	case idOtherTime:
		s.addSign(idSign, 3, "its id %s holds the time %s, which is not that of the line", s.ID, c.holds)
	case idOtherStyle:
		s.addSign(idSign, 3, "its id %s has the style of %s, not of %s", s.ID, c.style, s.MTA.Name)
	case idOdd:
		s.addSign(idSign, 1, "%s does not write ids like %s", s.MTA.Name, s.ID)
	}
}

// inherit marks the lines below a suspect line as suspect, because the same
// sender could have written them as well.
func (t *weigher) inherit(boundary int) {
	bad := 0
	for j := boundary - 1; j >= 0; j-- {
		s := &t.Steps[j]
		switch {
		case s.Trust == Suspect:
			bad = s.Index
		case s.Trust == Claimed && bad > 0:
			s.Trust = Suspect
			s.Reasons = append(s.Reasons, fmt.Sprintf("stands below line %d, whose author could have written this one, too", bad))
		}
	}
}
