package forward

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"hoplite/internal/conf"
	"hoplite/internal/resolve"
	"hoplite/mail/tlsrpt"
	"hoplite/relay/forward/mtasts"
	"hoplite/relay/forward/tlsresults"
)

// signedZone answers DNS queries with and without DNSSEC.
type signedZone struct {
	records  map[string][]resolve.Record
	unsigned map[string]bool // by name
	bogus    map[string]bool
}

func (z *signedZone) Lookup(_ context.Context, name string, t resolve.Type) (resolve.Answer, error) {
	if z.bogus[name] {
		return resolve.Answer{}, resolve.ErrTemporary
	}
	records := z.records[name+" "+strings.TrimPrefix(t.String(), "Type")]
	if t == resolve.TLSA {
		records = z.records[name+" TLSA"]
	}
	if len(records) == 0 {
		return resolve.Answer{}, resolve.ErrNotFound
	}
	return resolve.Answer{Name: name, Records: records, Authentic: !z.unsigned[name]}, nil
}

// policyHost serves one MTA-STS policy.
type policyHost string

func (p policyHost) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {"text/plain"}}, Body: io.NopCloser(strings.NewReader(string(p))), Request: r}, nil
}

// Mail for a destination is never sent over a connection that does not provide
// the proof required by DNS and the policy, and never bounces immediately.
func TestDestination(t *testing.T) {
	cert, stranger := makeCertificate(t, false, "192.0.2.1"), makeCertificate(t, false, "192.0.2.1")
	sum := func(c tls.Certificate) []byte {
		s := sha256.Sum256(c.Leaf.RawSubjectPublicKeyInfo)
		return s[:]
	}
	record := func(usage byte, c tls.Certificate) []resolve.Record {
		return []resolve.Record{{Data: append([]byte{usage, 1, 1}, sum(c)...)}}
	}
	const tlsaName = "_25._tcp.192.0.2.1"
	tests := map[string]struct {
		tlsa     []resolve.Record
		unsigned []string
		bogus    []string
		policy   string // MTA-STS mode and server
		trusted  bool   // whether the system's roots trust the certificate
		clear    bool   // the server offers no STARTTLS
		tls      string
		own      *PolicyConfig
		want     string
		proof    string
		logged   bool // the use of a temporary policy is logged
		message  string
	}{
		"nothing":                         {want: "250", proof: "TLS 1.3, certificate not verified"},
		"nothing, clear":                  {clear: true, want: "250", proof: "clear text"},
		"DANE":                            {tlsa: record(3, cert), want: "250", proof: "TLS 1.3, DANE 3 1 1 matched"},
		"DANE, another key":               {tlsa: record(3, stranger), trusted: true, want: "451 4.7.5"},
		"DANE, no STARTTLS":               {tlsa: record(3, cert), clear: true, want: "451 4.7.5"},
		"DANE, MX not signed":             {tlsa: record(3, stranger), unsigned: []string{"example.net"}, want: "250", proof: "TLS 1.3, certificate not verified"},
		"DANE, address not signed":        {tlsa: record(3, stranger), unsigned: []string{"192.0.2.1"}, want: "250", proof: "TLS 1.3, certificate not verified"},
		"DANE, TLSA bogus":                {bogus: []string{tlsaName}, want: "451 4.4.3"},
		"DANE, unusable":                  {tlsa: record(1, cert), want: "250", proof: "TLS 1.3, certificate not verified"},
		"DANE, unusable, clear":           {tlsa: record(1, cert), clear: true, want: "451 4.7.5"},
		"DANE, but TLS is off":            {tlsa: record(3, cert), tls: "off", want: "250", proof: "clear text"},
		"DANE satisfies verify":           {tlsa: record(3, cert), tls: "verify", want: "250", proof: "TLS 1.3, DANE 3 1 1 matched"},
		"STS":                             {policy: "enforce 192.0.2.1", trusted: true, want: "250", proof: "TLS 1.3, verified by MTA-STS"},
		"STS, bad certificate":            {policy: "enforce 192.0.2.1", want: "451 4.7.5"},
		"STS, no STARTTLS":                {policy: "enforce 192.0.2.1", clear: true, want: "451 4.7.5"},
		"STS, other server":               {policy: "enforce mx9.example.net", trusted: true, want: "451 4.7.5"},
		"STS testing, bad certificate":    {policy: "testing 192.0.2.1", want: "250", proof: "TLS 1.3, certificate not verified"},
		"STS testing, other server":       {policy: "testing mx9.example.net", want: "250", proof: "TLS 1.3, certificate not verified"},
		"DANE wins over STS":              {tlsa: record(3, cert), policy: "enforce mx9.example.net", want: "250", proof: "TLS 1.3, DANE 3 1 1 matched"},
		"DANE wins over STS, another key": {tlsa: record(3, stranger), policy: "enforce 192.0.2.1", trusted: true, want: "451 4.7.5"},
		"own policy, bad certificate":     {own: &PolicyConfig{TLS: "verify"}, want: "451 4.7.5"},
		"own policy": {own: &PolicyConfig{TLS: "verify"}, trusted: true, want: "250",
			proof: `TLS 1.3, verified, required by policy "example.net"`},
		"own policy, no STARTTLS": {own: &PolicyConfig{TLS: "require"}, clear: true, want: "451 4.7.5"},
		"own policy, TLS is off":  {own: &PolicyConfig{TLS: "verify"}, tls: "off", want: "451 4.7.5"},
		"own policy and DANE":     {own: &PolicyConfig{TLS: "require"}, tlsa: record(3, cert), want: "250", proof: "TLS 1.3, DANE 3 1 1 matched"},
		"own policy and bad DANE": {own: &PolicyConfig{TLS: "require"}, tlsa: record(3, stranger), want: "451 4.7.5"},
		"temporary policy and bad DANE": {own: &PolicyConfig{TLS: "require", Until: "2999-12-31"}, tlsa: record(3, stranger), want: "250",
			proof: `TLS 1.3, certificate not verified, allowed by policy "example.net" until 2999-12-31`, logged: true},
		"temporary policy and STS": {own: &PolicyConfig{TLS: "may", Until: "2999-12-31"}, policy: "enforce mx9.example.net", clear: true, want: "250",
			proof: `clear text, allowed by policy "example.net" until 2999-12-31`, logged: true},
		"temporary policy without TLS": {own: &PolicyConfig{TLS: "off", Until: "2999-12-31"}, tls: "verify", want: "250",
			proof: `clear text, allowed by policy "example.net" until 2999-12-31`, logged: true},
		"temporary policy that requires":  {own: &PolicyConfig{TLS: "require", Until: "2999-12-31"}, clear: true, want: "451 4.7.5"},
		"temporary policy that has ended": {own: &PolicyConfig{TLS: "off", Until: "2026-01-01"}, tlsa: record(3, stranger), want: "451 4.7.5"},
		"TLS not required, bad DANE":      {tlsa: record(3, stranger), message: "TLS-Required: No\r\n", want: "250", proof: "TLS 1.3, certificate not verified, not required by the message"},
		"TLS not required, own policy":    {own: &PolicyConfig{TLS: "verify"}, tlsa: record(3, stranger), message: "TLS-Required: no\r\n", want: "451 4.7.5"},
		"TLS required, bad DANE":          {tlsa: record(3, stranger), message: "TLS-Required: Yes\r\n", want: "451 4.7.5"},
		"MX bogus":                        {bogus: []string{"example.net"}, want: "451 4.4.3"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			// The server's name is its address, so that one certificate can be
			// used in all cases.
			z := &signedZone{unsigned: map[string]bool{}, bogus: map[string]bool{}, records: map[string][]resolve.Record{
				"example.net MX":           {{Pref: 10, Host: "192.0.2.1"}},
				"192.0.2.1 A":              {{Addr: netip.MustParseAddr("192.0.2.1")}},
				tlsaName + " TLSA":         tt.tlsa,
				"_mta-sts.example.net TXT": {{Text: "v=STSv1; id=1"}},
				"mta-sts.example.net A":    {{Addr: netip.MustParseAddr("192.0.2.80")}},
			}}
			for _, n := range tt.unsigned {
				z.unsigned[n] = true
			}
			for _, n := range tt.bogus {
				z.bogus[n] = true
			}
			p := newPeer(t, map[string]string{"EHLO": withTLS})
			p.set(func() {
				if p.tls = (&tls.Config{Certificates: []tls.Certificate{cert}}); tt.clear {
					p.replies["EHLO"] = "250 old"
				}
			})
			roots := x509.NewCertPool()
			if tt.trusted {
				roots.AddCert(cert.Leaf)
			}
			cfg := Config{}
			conf.Defaults(&cfg)
			cfg.Name, cfg.MX, cfg.TLS = "internet", true, cmp.Or(tt.tls, "may")
			var policies Policies
			if tt.own != nil {
				tt.own.Name = "example.net"
				policies = NewPolicies([]*PolicyConfig{tt.own})
			}
			var log bytes.Buffer
			u, err := New(cfg, Env{Hostname: "relay.example.org", Data: t.TempDir(), Log: zerolog.New(&log), DNS: z, TLS: &tls.Config{RootCAs: roots}, Policies: policies})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(u.Close)
			u.net.dialer.dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
				return (&net.Dialer{}).DialContext(ctx, network, p.l.Addr().String())
			}
			if mode, mx, ok := strings.Cut(tt.policy, " "); ok {
				text := "version: STSv1\nmode: " + mode + "\nmx: " + mx + "\nmax_age: 86400\n"
				u.mx.sts = mtasts.New(z, &http.Client{Transport: policyHost(text)}, "")
			} else {
				u.mx.sts = nil
			}
			path := filepath.Join(t.TempDir(), "results.json")
			if u.mx.results, err = tlsresults.Open(path); err != nil {
				t.Fatal(err)
			}
			out := handOver(t, u, tt.message+"Subject: x\r\n\r\n", "ann@example.net")
			if got := counted(t, u.mx.results, path); got != sessionResults[name] {
				t.Errorf("counted %q, want %q", got, sessionResults[name])
			}
			if got := out[0].Reply.String(); !strings.HasPrefix(got, tt.want) {
				t.Errorf("got %s, want %s", got, tt.want)
			}
			if out[0].Proof != tt.proof {
				t.Errorf("proof %q, want %q", out[0].Proof, tt.proof)
			}
			if logged := strings.Contains(log.String(), "temporary policy used"); logged != tt.logged {
				t.Errorf("logged %v, want %v: %s", logged, tt.logged, &log)
			}
			if sent := len(p.mail()) > 0; sent != (tt.want == "250") {
				t.Errorf("the message was sent: %v", sent)
			}
		})
	}
}

// sessionResults holds what TestDestination counts for reports.
var sessionResults = map[string]string{
	"nothing":                         "no-policy-found ok",
	"nothing, clear":                  "no-policy-found starttls-not-supported",
	"DANE":                            "tlsa ok",
	"DANE, another key":               "tlsa validation-failure",
	"DANE, no STARTTLS":               "tlsa starttls-not-supported",
	"DANE, MX not signed":             "no-policy-found ok",
	"DANE, address not signed":        "no-policy-found ok",
	"DANE, TLSA bogus":                "tlsa dnssec-invalid",
	"DANE, unusable":                  "no-policy-found ok",
	"DANE, unusable, clear":           "no-policy-found starttls-not-supported",
	"DANE satisfies verify":           "tlsa ok",
	"STS":                             "sts ok",
	"STS, bad certificate":            "sts certificate-not-trusted",
	"STS, no STARTTLS":                "sts starttls-not-supported",
	"STS, other server":               "sts validation-failure",
	"STS testing, bad certificate":    "sts certificate-not-trusted",
	"STS testing, other server":       "sts validation-failure, certificate-not-trusted",
	"DANE wins over STS":              "tlsa ok",
	"DANE wins over STS, another key": "tlsa validation-failure",
	"own policy, bad certificate":     "no-policy-found certificate-not-trusted",
	"own policy":                      "no-policy-found ok",
	"own policy, no STARTTLS":         "no-policy-found starttls-not-supported",
	"own policy, TLS is off":          "no-policy-found certificate-not-trusted",
	"own policy and DANE":             "tlsa ok",
	"own policy and bad DANE":         "tlsa validation-failure",
	"temporary policy that has ended": "tlsa validation-failure",
	"TLS not required, own policy":    "",
	"TLS required, bad DANE":          "tlsa validation-failure",
}

// counted returns the policy types and results that were counted.
func counted(t *testing.T, s *tlsresults.Store, path string) string {
	t.Helper()
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	var days map[string]map[string][]tlsrpt.PolicyResult
	if err := json.Unmarshal(b, &days); err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, domains := range days {
		for _, r := range domains["example.net"] {
			var list []string
			if r.Summary.Successful > 0 {
				list = append(list, "ok")
			}
			for _, f := range r.Failures {
				list = append(list, string(f.Result))
			}
			all = append(all, string(r.Policy.Type)+" "+strings.Join(list, ", "))
		}
	}
	return strings.Join(all, "; ")
}

// A policy host that resolves to an address on this machine is not contacted.
func TestPolicyHostOnLoopback(t *testing.T) {
	z := &signedZone{records: map[string][]resolve.Record{"mta-sts.example.net A": {{Addr: netip.MustParseAddr("127.0.0.1")}}}}
	cfg := Config{}
	conf.Defaults(&cfg)
	cfg.Name, cfg.MX = "internet", true
	u, err := New(cfg, Env{Data: t.TempDir(), Log: zerolog.Nop(), DNS: z})
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	if c, err := u.net.dialWeb(t.Context(), "tcp", "mta-sts.example.net:443"); err == nil {
		c.Close()
		t.Error("connected to this machine")
	}
}
