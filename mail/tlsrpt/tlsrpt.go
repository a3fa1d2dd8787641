// Package tlsrpt reads and writes reports about TLS connections between mail
// servers (SMTP TLS Reporting, RFC 8460), and reads the DNS record with which a
// domain asks for them.
//
// Collecting results and delivering reports is left to the caller. Text in a
// received report is foreign: show it through mail/safe only.
package tlsrpt

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"
)

// Limits on received reports.
const (
	maxCompressed = 5 << 20
	maxReport     = 10 << 20 // octets of JSON
	maxPolicies   = 1000
	maxFailures   = 10000 // in one report
	maxAddresses  = 10    // in a DNS record
)

// Report is a report about one domain (RFC 8460, 4.4).
type Report struct {
	Organization string         `json:"organization-name"`
	Range        Range          `json:"date-range"`
	Contact      string         `json:"contact-info"`
	ID           string         `json:"report-id"`
	Policies     []PolicyResult `json:"policies"`
}

// Range is the period that a report covers.
type Range struct {
	Start time.Time `json:"start-datetime"`
	End   time.Time `json:"end-datetime"`
}

// PolicyResult holds the results of the sessions under one policy.
type PolicyResult struct {
	Policy   Policy    `json:"policy"`
	Summary  Summary   `json:"summary"`
	Failures []Failure `json:"failure-details,omitempty"`
}

// PolicyType is the kind of a policy.
type PolicyType string

// The policy types of RFC 8460, 4.2.
const (
	TLSA     PolicyType = "tlsa"
	STS      PolicyType = "sts"
	NoPolicy PolicyType = "no-policy-found"
)

// Policy is the policy that was applied.
type Policy struct {
	Type   PolicyType `json:"policy-type"`
	String Strings    `json:"policy-string,omitempty"`
	Domain string     `json:"policy-domain"`
	MX     Strings    `json:"mx-host,omitempty"`
}

// Strings is a list of strings. Some senders write a single one without a list.
type Strings []string

// UnmarshalJSON accepts a list, a string or null.
func (s *Strings) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '"' {
		var one string
		err := json.Unmarshal(b, &one)
		*s = Strings{one}
		return err
	}
	return json.Unmarshal(b, (*[]string)(s))
}

// Summary counts the sessions.
type Summary struct {
	Successful int64 `json:"total-successful-session-count"`
	Failed     int64 `json:"total-failure-session-count"`
}

// Result is the reason why a session failed.
type Result string

// The result types of RFC 8460, 4.3.
const (
	NoSTARTTLS        Result = "starttls-not-supported"
	HostMismatch      Result = "certificate-host-mismatch"
	Expired           Result = "certificate-expired"
	NotTrusted        Result = "certificate-not-trusted"
	ValidationFailure Result = "validation-failure"
	TLSAInvalid       Result = "tlsa-invalid"
	DNSSECInvalid     Result = "dnssec-invalid"
	DANERequired      Result = "dane-required"
	STSFetchError     Result = "sts-policy-fetch-error"
	STSPolicyInvalid  Result = "sts-policy-invalid"
	STSWebPKIInvalid  Result = "sts-webpki-invalid"
)

// Failure counts the sessions that failed for one reason.
type Failure struct {
	Result      Result `json:"result-type"`
	SendingIP   string `json:"sending-mta-ip,omitempty"`
	MX          string `json:"receiving-mx-hostname,omitempty"`
	Helo        string `json:"receiving-mx-helo,omitempty"`
	ReceivingIP string `json:"receiving-ip,omitempty"`
	Sessions    int64  `json:"failed-session-count"`
	Additional  string `json:"additional-information,omitempty"`
	Reason      string `json:"failure-reason-code,omitempty"`
}

// Parse reads a report, compressed with gzip or not. At most 5 MiB are read and
// at most 10 MiB of JSON are accepted.
func Parse(r io.Reader) (*Report, error) {
	b, err := readAll(r, maxCompressed)
	if err != nil {
		return nil, err
	}
	if bytes.HasPrefix(b, []byte("\x1f\x8b")) {
		z, err := gzip.NewReader(bytes.NewReader(b))
		if err != nil {
			return nil, fmt.Errorf("report: %w", err)
		}
		if b, err = readAll(z, maxReport); err != nil {
			return nil, err
		}
	}
	var report Report
	if err := json.Unmarshal(b, &report); err != nil {
		return nil, fmt.Errorf("report: %w", err)
	}
	return &report, report.check()
}

// readAll reads up to most octets; more are an error.
func readAll(r io.Reader, most int64) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, most+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("report: %w", err)
	case int64(len(b)) > most:
		return nil, fmt.Errorf("report: larger than %d octets", most)
	}
	return b, nil
}

// check returns an error if a report lacks required values or is too large.
func (r *Report) check() error {
	switch {
	case r.ID == "":
		return errors.New("report: no report-id")
	case r.Range.Start.IsZero() || r.Range.End.Before(r.Range.Start):
		return errors.New("report: no valid date-range")
	case len(r.Policies) == 0:
		return errors.New("report: no policies")
	case len(r.Policies) > maxPolicies:
		return fmt.Errorf("report: more than %d policies", maxPolicies)
	}
	failures := 0
	for i := range r.Policies {
		p := &r.Policies[i]
		if p.Policy.Domain == "" || p.Policy.Type == "" {
			return errors.New("report: a policy without type or domain")
		}
		if p.Summary.Successful < 0 || p.Summary.Failed < 0 {
			return errors.New("report: a negative number of sessions")
		}
		if failures += len(p.Failures); failures > maxFailures {
			return fmt.Errorf("report: more than %d failures", maxFailures)
		}
		for _, f := range p.Failures {
			if f.Result == "" || f.Sessions < 0 {
				return errors.New("report: a failure without a result type, or with a negative number of sessions")
			}
		}
	}
	return nil
}

// Compress returns the report as JSON compressed with gzip.
func (r *Report) Compress() ([]byte, error) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if err := json.NewEncoder(z).Encode(r); err != nil {
		return nil, fmt.Errorf("report: %w", err)
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// Domain returns the domain that the report is about.
func (r *Report) Domain() string {
	if len(r.Policies) == 0 {
		return ""
	}
	return r.Policies[0].Policy.Domain
}

// ErrNoRecord means that a domain does not ask for reports.
var ErrNoRecord = errors.New("no TLSRPT record")

// ParseRecord returns the addresses (mailto and https) to which reports are to be
// sent. texts are the TXT records at _smtp._tls.DOMAIN. If several of them are
// TLSRPT records, there are no reports (RFC 8460, 3).
func ParseRecord(texts []string) ([]*url.URL, error) {
	var found []string
	for _, t := range texts {
		if version, _, ok := strings.Cut(t, ";"); ok && strings.TrimSpace(version) == "v=TLSRPTv1" {
			found = append(found, t)
		}
	}
	switch len(found) {
	case 0:
		return nil, ErrNoRecord
	case 1:
	default:
		return nil, errors.New("several TLSRPT records")
	}
	var list []*url.URL
	for _, field := range strings.Split(found[0], ";")[1:] {
		key, value, _ := strings.Cut(field, "=")
		if strings.TrimSpace(key) != "rua" {
			continue
		}
		for text := range strings.SplitSeq(value, ",") {
			u, err := url.Parse(strings.TrimSpace(text))
			usable := err == nil && (u.Scheme == "mailto" && u.Opaque != "" || u.Scheme == "https" && u.Host != "")
			if usable && len(list) < maxAddresses {
				list = append(list, u)
			}
		}
	}
	if len(list) == 0 {
		return nil, errors.New("the TLSRPT record has no usable address")
	}
	return list, nil
}
