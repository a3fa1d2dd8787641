package listen

import (
	"crypto/tls"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// Profile holds the TLS versions and cipher suites that a listener accepts. The
// zero value accepts TLS 1.2 and later with SafeSuites.
type Profile struct {
	Min    uint16    // lowest version, 0 for TLS 1.2
	Suites []uint16  // suites for TLS 1.2 and older; nil for the safe ones
	Until  time.Time // when the zero profile takes effect; zero: never
}

// ParseProfile parses a profile: min is 1.0 to 1.3, suites are IANA names,
// until is the last day (2027-06-30). Empty arguments mean the safe defaults. A
// weaker profile needs a last day, so that it is not forgotten.
func ParseProfile(min string, suites []string, until string) (Profile, error) {
	var p Profile
	versions := map[string]uint16{"": 0, "1.0": tls.VersionTLS10, "1.1": tls.VersionTLS11, "1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13}
	v, ok := versions[min]
	if !ok {
		return p, fmt.Errorf("unknown TLS version %q; use 1.0, 1.1, 1.2 or 1.3", min)
	}
	p.Min = v
	weak := v != 0 && v < tls.VersionTLS12
	for _, name := range suites {
		id, insecure, ok := suite(name)
		if !ok {
			return p, fmt.Errorf("unknown TLS suite %q", name)
		}
		p.Suites = append(p.Suites, id)
		weak = weak || insecure
	}
	if until != "" {
		day, err := time.ParseInLocation(time.DateOnly, until, time.Local)
		if err != nil {
			return p, fmt.Errorf("%q is not a day such as 2027-06-30", until)
		}
		p.Until = day.AddDate(0, 0, 1)
	}
	if weak && p.Until.IsZero() {
		return p, fmt.Errorf("TLS below the safe default needs a last day: set tls_legacy_until")
	}
	return p, nil
}

// SafeSuites returns the default suites for TLS 1.2: forward secrecy and
// authenticated encryption. Go also permits CBC, which allows padding oracle
// attacks (Lucky Thirteen).
func SafeSuites() []uint16 {
	var ids []uint16
	for _, s := range tls.CipherSuites() {
		if slices.Contains(s.SupportedVersions, tls.VersionTLS12) && !strings.Contains(s.Name, "_CBC_") {
			ids = append(ids, s.ID)
		}
	}
	return ids
}

func suite(name string) (id uint16, insecure, ok bool) {
	for _, s := range tls.CipherSuites() {
		if strings.EqualFold(s.Name, name) {
			return s.ID, strings.Contains(s.Name, "_CBC_"), true
		}
	}
	for _, s := range tls.InsecureCipherSuites() {
		if strings.EqualFold(s.Name, name) {
			return s.ID, true, true
		}
	}
	return 0, false, false
}

// TLS is the TLS configuration of a listener.
type TLS struct {
	// Used counts handshakes that only the legacy profile permitted.
	Used atomic.Int64

	safe, profile *tls.Config
	until         time.Time
}

// NewTLS returns the TLS configuration of a listener. Session tickets are off:
// Outlook resumes sessions in a way that crypto/tls refuses (golang/go#70232),
// and a saved round trip does not justify a key that can decrypt recorded
// sessions.
func NewTLS(certs *Certs, p Profile) *TLS {
	safe := &tls.Config{
		GetCertificate:         certs.Certificate,
		MinVersion:             tls.VersionTLS12,
		CipherSuites:           SafeSuites(),
		SessionTicketsDisabled: true,
	}
	if certs.issuer != nil {
		safe.GetConfigForClient = certs.challenge
	}
	t := &TLS{safe: safe, profile: safe, until: p.Until}
	if p.Min != 0 || p.Suites != nil {
		t.profile = safe.Clone()
		if p.Min != 0 {
			t.profile.MinVersion = p.Min
		}
		switch {
		case p.Suites != nil:
			t.profile.CipherSuites = p.Suites
		case p.Min < tls.VersionTLS12:
			t.profile.CipherSuites = allSuites()
		}
	}
	return t
}

// challenge returns the configuration for an authority's handshake, or nil for
// any other handshake.
func (c *Certs) challenge(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	if !c.isChallenge(hello) {
		return nil, nil
	}
	return &tls.Config{
		GetCertificate: c.Certificate, NextProtos: hello.SupportedProtos,
		MinVersion: tls.VersionTLS12, SessionTicketsDisabled: true,
	}, nil
}

// allSuites returns the suites for a listener with an old minimum version and
// no configured suites. Old clients support little more than RSA key exchange
// with AES or 3DES.
func allSuites() []uint16 {
	var ids []uint16
	for _, s := range tls.CipherSuites() {
		ids = append(ids, s.ID)
	}
	for _, s := range tls.InsecureCipherSuites() {
		if !strings.Contains(s.Name, "RC4") {
			ids = append(ids, s.ID)
		}
	}
	return ids
}

// server returns the configuration for a handshake at time now.
func (t *TLS) server(now time.Time) *tls.Config {
	if !t.until.IsZero() && !now.Before(t.until) {
		return t.safe
	}
	return t.profile
}

// legacy reports whether the safe defaults would have refused a connection.
func legacy(s tls.ConnectionState) bool {
	if s.Version < tls.VersionTLS12 {
		return true
	}
	return s.Version == tls.VersionTLS12 && !slices.Contains(SafeSuites(), s.CipherSuite)
}

func (t *TLS) usedLegacy(o Options, peer fmt.Stringer, s tls.ConnectionState) {
	t.Used.Add(1)
	o.Log.Warn().Str("listener", o.Name).Stringer("peer", peer).
		Str("version", tls.VersionName(s.Version)).Str("suite", tls.CipherSuiteName(s.CipherSuite)).
		Time("until", t.until).Msg("legacy tls used")
}
