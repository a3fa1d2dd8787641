package received

import (
	"net/netip"
	"time"
)

// Line is one Received field: the record of a transfer, written by the
// receiving server.
type Line struct {
	// Raw is the field's value with its folding, truncated to MaxField.
	Raw string

	From Party // the client
	By   Party // the server that wrote the line

	Via  string // the via clause, or Exchange's "Frontend Transport"
	With string // the with clause as written
	// Proto is the protocol named by With (or Via).
	Proto Proto

	ID           string // the writer's id for this transfer
	IDIsVersion  bool   // ID is a product version, as written by Exchange
	For          string // the recipient, without angle brackets
	EnvelopeFrom string // the reverse path; "<>" is the null one
	Ident        string // the user name from an ident server or the operating system
	Auth         string // the authenticated user, or only the method

	TLS   TLS
	Stamp Stamp
	MTA   MTA

	Comments []Span
	Defects  Defects

	spans [numParts]Span
}

// Party is one side of the connection.
type Party struct {
	// Name is the name that immediately follows the keyword, as written.
	Name string
	// Helo is the name in HELO or EHLO, if written separately from Name.
	Helo string
	// RDNS is the name that the writer's reverse lookup returned for the
	// address.
	RDNS      string
	RDNSState RDNSState
	// Addr is the address as written; ::ffff:192.0.2.1 remains an
	// IPv4-mapped address.
	Addr netip.Addr
	Port uint16
}

// Announced returns the name that the client sent in HELO or EHLO, wherever it
// is written. It is empty if the line does not contain it or there was no such
// greeting.
func (h *Line) Announced() string {
	p := &h.From
	switch {
	case h.spans[PartHelo] != Span{} || p.Helo != "":
		return p.Helo
	case h.Proto.HTTP, h.Proto.Fetch:
		return ""
	case p.Name != "" && p.Name[0] != '[' && p.Addr.IsValid() && h.spans[PartFromAddr] == h.spans[PartFrom]:
		return "" // the writer identifies its peer only by address
	}
	return p.Name
}

// RDNSState is the result of the writer's reverse lookup.
type RDNSState uint8

// The results of a reverse lookup.
const (
	NotLooked   RDNSState = iota // not recorded by this kind of server
	Verified                     // name and address match in both directions
	Unverified                   // the name was not confirmed
	Missing                      // there is no reverse name
	MayBeForged                  // sendmail: the name does not resolve to the address
)

var rdnsWords = [...]string{"not looked up", "verified", "unverified", "missing", "may be forged"}

func (s RDNSState) String() string { return rdnsWords[s] }

// TLS describes the encryption of the connection.
type TLS struct {
	Version string // as written: TLSv1.3, TLS1_2, TLS-1.0
	Cipher  string
	Bits    uint16
	Verify  string // sendmail's verify= value, or its equivalent in Postfix
}

// MTA is the software that wrote the line, if it was recognised.
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

// Stamp is the time recorded in a line. It holds numbers instead of a
// time.Time, so that parsing a line does not allocate a zone.
type Stamp struct {
	Unix   int64
	Nanos  int32
	Offset int32 // seconds east of UTC
	Zone   ZoneKind
	Coarse bool // written without seconds
	OK     bool
}

// ZoneKind is the notation of a time zone.
type ZoneKind uint8

// The notations of a time zone.
const (
	NoZone      ZoneKind = iota // missing or an unknown name; treated as UTC
	NumericZone                 // +0200
	UnknownZone                 // -0000: UTC, with an unknown local zone (RFC 5322, 3.3)
	NamedZone                   // EDT, CEST
)

// DayAsMonth returns the stamp with the numbers of day and month exchanged, both
// of which must be at most 12.
func (s Stamp) DayAsMonth() Stamp {
	t := s.Time()
	s.Unix += (daysFromCivil(t.Year(), t.Day(), int(t.Month())) - daysFromCivil(t.Year(), int(t.Month()), t.Day())) * 86400
	return s
}

// Time returns the stamp in its own zone, or the zero time if there is none.
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

// RFC3339 returns the stamp with its zone, or without one if the zone is
// unknown. -00:00 means UTC with an unknown local zone.
func (s Stamp) RFC3339() string {
	if !s.OK {
		return ""
	}
	return string(s.AppendRFC3339(nil))
}

// Span is a range of bytes in Line.Raw.
type Span struct{ Start, End int }

// Part identifies a part of a Received field whose position in the text is
// recorded.
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

// String returns the part's name in JSON.
func (f Part) String() string { return partNames[f] }

// Parts returns all parts in the order of the JSON keys.
func Parts() []Part {
	all := make([]Part, numParts)
	for i := range all {
		all[i] = Part(i)
	}
	return all
}

// Span returns the position of a part in Raw. ok is false if the line lacks the
// part.
func (h *Line) Span(f Part) (s Span, ok bool) {
	s = h.spans[f]
	return s, s.End > s.Start
}
