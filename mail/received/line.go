package received

import (
	"net/netip"
	"time"
)

// Line is one Received field: who handed the message to whom, as the receiving
// side wrote it down.
type Line struct {
	// Raw is the field's value with its folding, cut at MaxField.
	Raw string

	From Party // the sending side
	By   Party // the side that wrote the line

	Via  string // the via clause, or Exchange's "Frontend Transport"
	With string // the with clause as written
	// Proto is the protocol that With (or Via) stands for.
	Proto Proto

	ID           string // the writer's name for this transfer
	IDIsVersion  bool   // Exchange writes its product version where the id belongs
	For          string // the recipient, without angle brackets
	EnvelopeFrom string // the reverse path, if written; "<>" is the null one
	Ident        string // the name that an ident server or the operating system gave
	Auth         string // who logged in, or how, if only that is written

	TLS   TLS
	Stamp Stamp
	MTA   MTA

	Comments []Span
	Defects  Defects

	spans [numParts]Span
}

// Party is one end of a hop.
type Party struct {
	// Name is the name right after the keyword, as written.
	Name string
	// Helo is what the client called itself, if written apart from Name.
	Helo string
	// RDNS is the name that the writer found for the address.
	RDNS      string
	RDNSState RDNSState
	// Addr is the address as written: ::ffff:192.0.2.1 stays mapped.
	Addr netip.Addr
	Port uint16
}

// Announced is what the client called itself in HELO or EHLO, wherever that was
// written; "" if the line does not say, or if no such greeting was spoken.
func (h *Line) Announced() string {
	p := &h.From
	switch {
	case h.spans[PartHelo] != Span{} || p.Helo != "":
		return p.Helo
	case h.Proto.HTTP, h.Proto.Fetch:
		return ""
	case p.Name != "" && p.Name[0] != '[' && p.Addr.IsValid() && h.spans[PartFromAddr] == h.spans[PartFrom]:
		return "" // a bare address is the writer's word for the peer
	}
	return p.Name
}

// RDNSState says what the writer did about the client's name.
type RDNSState uint8

// The states of a looked-up name.
const (
	NotLooked   RDNSState = iota // this kind of server writes no looked-up name here
	Verified                     // name and address agree both ways, says the writer
	Unverified                   // a name, which the writer did not confirm
	Missing                      // looked for and not found
	MayBeForged                  // sendmail: the name does not lead back to the address
)

var rdnsWords = [...]string{"not looked up", "verified", "unverified", "missing", "may be forged"}

func (s RDNSState) String() string { return rdnsWords[s] }

// TLS is what a hop says about its encryption.
type TLS struct {
	Version string // as written: TLSv1.3, TLS1_2, TLS-1.0
	Cipher  string
	Bits    uint16
	Verify  string // sendmail's verify= word, or "certificate" words of Postfix
}

// MTA names the software that wrote a line, as far as the line shows it.
type MTA struct {
	Name    string
	Version string
}

func (m MTA) String() string {
	if m.Version == "" {
		return m.Name
	}
	return m.Name + " " + m.Version
}

// Stamp is the time in a line. It is kept as numbers so that reading a line
// allocates nothing for it.
type Stamp struct {
	Unix   int64
	Nanos  int32
	Offset int32 // seconds east of UTC
	Zone   ZoneKind
	Coarse bool // written without seconds
	OK     bool
}

// ZoneKind says how a stamp names its zone.
type ZoneKind uint8

// The kinds of zone.
const (
	NoZone      ZoneKind = iota // none written, or an unknown name; taken as UTC
	NumericZone                 // +0200
	UnknownZone                 // -0000: UTC, and the local zone is not told (RFC 5322, 3.3)
	NamedZone                   // EDT, CEST
)

// Time is the stamp in its own zone; the zero time if there is none.
func (s Stamp) Time() time.Time {
	if !s.OK {
		return time.Time{}
	}
	t := time.Unix(s.Unix, int64(s.Nanos))
	if s.Offset == 0 {
		return t.UTC()
	}
	return t.In(time.FixedZone("", int(s.Offset)))
}

// RFC3339 returns the stamp with its zone, or without one if the zone is not
// known; -00:00 is UTC with an unknown local zone.
func (s Stamp) RFC3339() string {
	if !s.OK {
		return ""
	}
	return string(s.AppendRFC3339(nil))
}

// Span is a range of bytes in Line.Raw.
type Span struct{ Start, End int }

// Part names a part of a Received field whose place in the text is known.
type Part uint8

// The parts of a Received field.
const (
	PartFrom Part = iota
	PartFromAddr
	PartRDNS
	PartHelo
	PartIdent
	PartBy
	PartByAddr
	PartVia
	PartWith
	PartID
	PartFor
	PartEnvelopeFrom
	PartAuth
	PartTLSVersion
	PartTLSCipher
	PartDate
	PartMTA
	numParts
)

var partNames = [numParts]string{"from", "from_ip", "from_rdns", "helo", "ident", "by", "by_ip", "via",
	"with", "id", "for", "envelope_from", "auth", "tls_version", "tls_cipher", "date", "mta"}

// String is the name of the field in our JSON.
func (f Part) String() string { return partNames[f] }

// Fields lists every field in the order of our JSON.
func Parts() []Part {
	all := make([]Part, numParts)
	for i := range all {
		all[i] = Part(i)
	}
	return all
}

// Span tells where in Raw a field stands; ok is false if the line has none.
func (h *Line) Span(f Part) (s Span, ok bool) {
	s = h.spans[f]
	return s, s.End > s.Start
}
