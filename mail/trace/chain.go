package trace

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/publicsuffix"

	"hoplite/mail"
	"hoplite/mail/received"
)

// Options describes this installation.
type Options struct {
	// Trusted lists the networks whose Received lines we trust.
	Trusted []netip.Prefix
	// Ours lists our own hosts; ".example.org" matches all its subdomains.
	Ours []string
	// Mailbox is the provider that hosts the reader's mailbox, one of
	// Mailboxes. If it is empty, the provider is derived from the newest
	// line.
	Mailbox string
	// Known returns the last observed error of a host's clock. It is
	// positive if the clock is fast. Known may be nil.
	Known func(host string) (fast time.Duration, ok bool)
	// Seals lists verified signatures over Received lines.
	Seals []Seal
	// Excerpt is set if the header is a pasted excerpt, in which missing
	// fields mean nothing.
	Excerpt bool
}

// Seal is a verified ARC or DKIM signature that covers the oldest Lines
// Received lines.
type Seal struct {
	Kind   string // "arc" or "dkim"
	Domain string
	Lines  int
}

func (o *Options) trusts(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	for _, p := range o.Trusted {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

func (o *Options) owns(host string) bool {
	for _, n := range o.Ours {
		if strings.HasPrefix(n, ".") && received.Under(host, n[1:]) || sameHost(host, n) {
			return true
		}
	}
	return false
}

// Trust is the degree to which a line is trusted.
type Trust string

// The levels of trust.
const (
	Ours     Trust = "ours"     // written by one of our hosts
	Vouched  Trust = "vouched"  // written by a host that a trusted line vouches for
	Boundary Trust = "boundary" // the oldest trusted line: its address is reliable, its HELO a claim
	Sealed   Trust = "sealed"   // covered by a verified signature
	Claimed  Trust = "claimed"  // possibly forged by the sender
	Suspect  Trust = "suspect"  // claimed, with at least two signs of forgery
)

// LinkKind is the kind of the step to a hop.
type LinkKind string

// The kinds of steps.
const (
	Transport LinkKind = "transport"
	QueueWait LinkKind = "queue"  // a wait of ten minutes or more
	Fetch     LinkKind = "fetch"  // fetched from a mailbox with POP or IMAP
	List      LinkKind = "list"   // forwarded by a mailing list
	Handoff   LinkKind = "local"  // between programs on one host or in one organisation
	Filtering LinkKind = "filter" // through a content filter
)

// Step is one line of the chain, with the conclusions drawn from the whole
// chain.
type Step struct {
	received.Line
	Index int // 1 is the oldest
	Field int // the index of the Received field, counted from the top

	Trust   Trust
	Reasons []string
	Kind    LinkKind
	Class   AddrClass // of From.Addr

	// Time is the corrected time. It is zero if the line has no date.
	Time time.Time
	// Delay is the corrected time since the previous step, between Low and
	// High. RawDelay is the difference between the stamps. They are valid
	// only if HasDelay is set.
	Delay, Low, High, RawDelay time.Duration
	HasDelay                   bool

	signs   sign // of forgery, and their weight
	score   int
	afterUs bool // claimed, and dated a day or more after the boundary line
}

// Trace is the path of a message, reconstructed from its header.
type Trace struct {
	Steps    []Step // oldest first
	Clocks   []Clock
	Origin   *Origin
	Loops    []Loop
	Auth     []AuthClaim
	Scores   []Score
	Findings []Finding

	// Boundary is the index of the oldest trusted line, or 0 if there are no hops.
	Boundary int
	// OursHint is set if older lines were probably written by hosts of the
	// same organisation that are not listed in Options.
	OursHint *OursHint
	// Slowest is the index of the hop with the longest delay, or 0 if there
	// is none.
	Slowest int
	// Total is the time between the oldest and the newest line, ignoring
	// suspect lines.
	Total    time.Duration
	HasTotal bool
	// Ambiguous is set if the stamps have more than one explanation.
	Ambiguous bool
	// Dropped is the number of Received lines beyond MaxHops.
	Dropped int

	MessageID, From, To, Subject, Date string
	DateStamp                          received.Stamp
	DateDefects                        received.Defects

	header header
}

// Origin is the oldest source of the message named by a trusted line.
type Origin struct {
	Addr      netip.Addr
	Name      string // reverse name, if written
	Helo      string
	Hop       int    // the line that names the origin
	VouchedBy string // the host that wrote that line
	Auth      string // the authenticated user
}

// OursHint holds the names and address that would have to be configured as ours
// for the line before the boundary to be trusted.
type OursHint struct {
	Hop   int    // the boundary line
	Names string // for Options.Ours
	Addr  netip.Addr
}

// OursCode is the code of the finding about an OursHint. The caller adds advice
// on how to configure our own hosts.
const OursCode = "same-organisation"

// Finding is a conclusion as text, with advice.
type Finding struct {
	Code     string `json:"code"`
	Severity string `json:"severity"` // note, warning, problem
	Hop      int    `json:"hop,omitempty"`
	Text     string `json:"text"`
	Advice   string `json:"advice,omitempty"`
}

// The severities of findings.
const (
	Note    = "note"
	Warning = "warning"
	Problem = "problem"
)

// BySeverity returns the findings sorted by severity, the most severe first.
func (t *Trace) BySeverity() []Finding {
	order := []string{Problem, Warning, Note}
	return slices.SortedStableFunc(slices.Values(t.Findings), func(a, b Finding) int {
		return slices.Index(order, a.Severity) - slices.Index(order, b.Severity)
	})
}

func (t *Trace) find(code, severity string, hop int, text, advice string) {
	if len(t.Findings) < 200 {
		t.Findings = append(t.Findings, Finding{code, severity, hop, text, advice})
	}
}

// header holds data from other fields that later passes need.
type header struct {
	has         map[string]int // number of fields by lower-case name
	deliveredTo []string
	returnPaths int
	returnPath  string // the first one
	listID      string
	xReceived   int
	bcc         string
	excerpt     bool // fields may be missing
}

// Read analyses a header block, up to the first empty line.
func Read(head []byte, o Options) *Trace {
	t := &Trace{}
	t.header.excerpt = o.Excerpt
	collector{t}.collect(head)
	(&weigher{Trace: t, o: &o, provider: providerNamed(o.Mailbox)}).weigh()
	timing{t}.fitClocks(&o)
	t.kinds()
	t.loops()
	judge{t}.all()
	return t
}

// ReversePath returns the envelope sender without angle brackets, as recorded
// by Return-Path or by the line that names the origin.
func (t *Trace) ReversePath() (path string, known bool) {
	path = t.header.returnPath
	if path == "" && t.Origin != nil {
		path = t.Steps[t.Origin.Hop-1].EnvelopeFrom
	}
	return strings.Trim(path, "<> "), path != ""
}

// collector reads the fields of a header block into a Trace.
type collector struct{ *Trace }

// collect reads the fields of a header block and sorts the Received lines from
// oldest to newest.
func (t collector) collect(head []byte) {
	t.header.has = map[string]int{}
	fields, lines := 0, 0
	for f := range mail.Fields(head) {
		if fields++; fields > 20_000 {
			break
		}
		if f.Name == "" || len(f.Name) > 80 {
			continue
		}
		name := strings.ToLower(f.Name)
		if len(t.header.has) < 1000 || t.header.has[name] > 0 {
			t.header.has[name]++
		}
		if name == "received" {
			if lines++; lines > MaxHops {
				t.Dropped++
				continue
			}
			h := received.Parse(f.Value())
			t.Steps = append(t.Steps, Step{Line: h, Field: lines - 1, Class: Classify(h.From.Addr)})
			continue
		}
		t.field(name, f, t.header.has[name] == 1)
	}
	for i, j := 0, len(t.Steps)-1; i < j; i, j = i+1, j-1 {
		t.Steps[i], t.Steps[j] = t.Steps[j], t.Steps[i]
	}
	for i := range t.Steps {
		t.Steps[i].Index = i + 1
	}
	t.settleDates()
}

// settleDates chooses the order of day and month in dates that leave it open:
// the one that is closer to the newest date that does not.
func (t collector) settleDates() {
	var sure *received.Stamp
	for i := range t.Steps {
		if s := &t.Steps[i]; s.Stamp.OK && s.Defects&received.AmbiguousDate == 0 {
			sure = &s.Stamp
		}
	}
	if sure == nil {
		return
	}
	settle := func(s *received.Stamp) {
		if other := s.DayAsMonth(); abs(other.Unix-sure.Unix) < abs(s.Unix-sure.Unix) {
			*s = other
		}
	}
	for i := range t.Steps {
		if s := &t.Steps[i]; s.Defects&received.AmbiguousDate != 0 {
			settle(&s.Stamp)
		}
	}
	if t.DateDefects&received.AmbiguousDate != 0 {
		settle(&t.DateStamp)
	}
}

// field reads one field other than Received. first is set for the first field
// of that name.
func (t collector) field(name string, f mail.Field, first bool) {
	switch name {
	case "x-received":
		t.header.xReceived++
	case "delivered-to", "x-original-to", "envelope-to":
		if len(t.header.deliveredTo) < 100 {
			t.header.deliveredTo = append(t.header.deliveredTo, strings.Trim(clip(f.Text(), 320), "<>"))
		}
	case "return-path":
		t.header.returnPaths++
		if first {
			t.header.returnPath = clip(f.Text(), 320)
		}
	case "list-id":
		t.header.listID = clip(f.Text(), 200)
	case "to", "cc":
		if t.To == "" {
			t.To = clip(f.Text(), 500)
		}
	case "bcc":
		t.header.bcc = clip(f.Text(), 200)
	case "message-id", "from", "subject", "date":
		if first {
			t.firstOnly(name, f)
		}
	default:
		t.readAuth(name, f)
		t.readScore(name, f)
	}
}

// firstOnly reads a field of which only the first occurrence counts.
func (t collector) firstOnly(name string, f mail.Field) {
	switch name {
	case "message-id":
		t.MessageID = clip(f.Text(), 300)
	case "from":
		t.From = clip(f.Text(), 500)
	case "subject":
		t.Subject = clip(f.Text(), 500)
	case "date":
		t.Date = clip(f.Text(), 100)
		t.DateStamp, t.DateDefects, _ = received.ParseDate(t.Date)
	}
}

func clip(s string, n int) string {
	if len(s) > n {
		s = s[:n]
	}
	return s
}

// AddrClass is the class of an address.
type AddrClass string

// The classes of addresses.
const (
	NoAddress     AddrClass = ""
	Public        AddrClass = "public"
	Private       AddrClass = "private"
	Loopback      AddrClass = "loopback"
	LinkLocal     AddrClass = "link-local"
	CGNAT         AddrClass = "carrier-nat"
	UniqueLocal   AddrClass = "unique-local"
	Documentation AddrClass = "documentation"
	NAT64         AddrClass = "nat64"
	Reserved      AddrClass = "reserved"
)

var special4and6 = []struct {
	net   netip.Prefix
	class AddrClass
}{
	{netip.MustParsePrefix("100.64.0.0/10"), CGNAT},
	{netip.MustParsePrefix("192.0.2.0/24"), Documentation},
	{netip.MustParsePrefix("198.51.100.0/24"), Documentation},
	{netip.MustParsePrefix("203.0.113.0/24"), Documentation},
	{netip.MustParsePrefix("2001:db8::/32"), Documentation},
	{netip.MustParsePrefix("64:ff9b::/96"), NAT64},
	{netip.MustParsePrefix("fc00::/7"), UniqueLocal},
	{netip.MustParsePrefix("0.0.0.0/8"), Reserved},
	{netip.MustParsePrefix("240.0.0.0/4"), Reserved},
}

// Classify returns the class of an address. IPv4-mapped addresses are treated
// as IPv4.
func Classify(a netip.Addr) AddrClass {
	if !a.IsValid() {
		return NoAddress
	}
	a = a.Unmap().WithZone("")
	for _, s := range special4and6 {
		if s.net.Contains(a) {
			return s.class
		}
	}
	switch {
	case a.IsLoopback():
		return Loopback
	case a.IsPrivate():
		return Private
	case a.IsLinkLocalUnicast():
		return LinkLocal
	case a.IsUnspecified(), a.IsMulticast():
		return Reserved
	}
	return Public
}

// Inside reports whether an address can only belong to the same network.
func Inside(a netip.Addr) bool { return Classify(a).inside() }

// inside reports whether an address can only belong to the same network.
func (c AddrClass) inside() bool {
	return c == Loopback || c == Private || c == LinkLocal || c == UniqueLocal
}

// sameHost reports whether two host names are equal, ignoring case and a final
// dot.
func sameHost(a, b string) bool {
	return a != "" && strings.EqualFold(strings.TrimSuffix(a, "."), strings.TrimSuffix(b, "."))
}

// organisation returns the organisation that a host name belongs to: the
// provider if its domain is in a pool, otherwise the registered domain. It is
// empty for names that are not public.
func organisation(host string) string {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if !strings.Contains(host, ".") || insideName(host) {
		return ""
	}
	d, err := publicsuffix.EffectiveTLDPlusOne(host)
	if err != nil {
		return ""
	}
	if p, ok := known.pools[d]; ok {
		return p.organisation
	}
	return d
}

// disciplined reports whether a host belongs to a provider with its own time
// servers, so that its clock can be assumed to be right.
func disciplined(host string) bool {
	d, err := publicsuffix.EffectiveTLDPlusOne(strings.ToLower(strings.TrimSuffix(host, ".")))
	return err == nil && known.pools[d].disciplined
}

// insideName reports whether a name cannot exist in public DNS.
func insideName(host string) bool {
	for _, tld := range [...]string{".local", ".lan", ".internal", ".localdomain", ".corp", ".home", ".intranet", ".private", ".home.arpa", ".localhost"} {
		if len(host) > len(tld) && strings.EqualFold(host[len(host)-len(tld):], tld) {
			return true
		}
	}
	return !strings.Contains(host, ".")
}
