package tlsresults

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"hoplite/internal/resolve"
	"hoplite/mail"
	"hoplite/mail/tlsrpt"
)

var monday = time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)

func policy(domain string) tlsrpt.Policy {
	return tlsrpt.Policy{Type: tlsrpt.STS, Domain: domain, String: tlsrpt.Strings{"version: STSv1"}}
}

// Results are counted by policy and kind of failure, and survive a restart.
func TestStore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "results.json")
	s, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	failure := &tlsrpt.Failure{Result: tlsrpt.Expired, MX: "mx.example.net"}
	s.Add(monday, policy("example.net"), nil)
	s.Add(monday, policy("example.net"), failure)
	s.Add(monday, policy("example.net"), failure)
	s.Add(monday, policy("example.net"), &tlsrpt.Failure{Result: tlsrpt.Expired, MX: "mx2.example.net"})
	s.Add(monday, tlsrpt.Policy{Type: tlsrpt.NoPolicy, Domain: "example.net"}, nil)
	s.Add(monday.Add(12*time.Hour), policy("example.net"), nil) // Tuesday
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	if s, err = Open(path); err != nil {
		t.Fatal(err)
	}
	if list := s.due(monday.Add(time.Hour)); len(list) != 0 {
		t.Errorf("due on the same day: %+v", list)
	}
	list := s.due(monday.Add(13 * time.Hour))
	if len(list) != 1 || list[0].domain != "example.net" || list[0].day != "2026-11-30" || len(list[0].results) != 2 {
		t.Fatalf("due: %+v", list)
	}
	r := list[0].results[0]
	if r.Summary != (tlsrpt.Summary{Successful: 1, Failed: 3}) || len(r.Failures) != 2 || r.Failures[0].Sessions != 2 || r.Failures[1].Sessions != 1 {
		t.Errorf("results %+v", r)
	}
	if err := s.done(list[0]); err != nil {
		t.Fatal(err)
	}
	if s, err = Open(path); err != nil || len(s.due(monday.Add(13*time.Hour))) != 0 {
		t.Errorf("due again after done: %v", err)
	}
	if list := s.due(monday.AddDate(0, 0, 10)); len(list) != 0 || len(s.days) != 0 {
		t.Errorf("results of last week are kept: %+v", s.days)
	}
}

func TestStoreIsBounded(t *testing.T) {
	s, err := Open(filepath.Join(t.TempDir(), "results.json"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range maxDomains + 10 {
		s.Add(monday, policy(fmt.Sprintf("d%d.example", i)), nil)
	}
	for i := range maxFailures + 10 {
		s.Add(monday, policy("d1.example"), &tlsrpt.Failure{Result: tlsrpt.Expired, MX: fmt.Sprint(i)})
	}
	for i := range maxPolicies + 10 {
		s.Add(monday, tlsrpt.Policy{Type: tlsrpt.TLSA, Domain: "d1.example", String: tlsrpt.Strings{fmt.Sprint(i)}}, nil)
	}
	domains := s.days["2026-11-30"]
	if len(domains) != maxDomains || len(domains["d1.example"]) != maxPolicies {
		t.Errorf("%d domains, %d policies", len(domains), len(domains["d1.example"]))
	}
	if r := domains["d1.example"][0]; len(r.Failures) != maxFailures || r.Summary.Failed != maxFailures+10 {
		t.Errorf("%d failures, %d failed sessions", len(r.Failures), r.Summary.Failed)
	}
}

func TestStoreDamaged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "results.json")
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := Open(path)
	if err == nil || s == nil {
		t.Fatalf("%v, %v", s, err)
	}
	s.Add(monday, policy("example.net"), nil)
	if err := s.Flush(); err != nil {
		t.Error(err)
	}
	if _, err := Open(path); err != nil {
		t.Error(err)
	}
	var none *Store
	none.Add(monday, policy("example.net"), nil)
	if err := none.Flush(); err != nil {
		t.Error(err)
	}
}

// records answers TXT queries; an empty record means that DNS fails.
type records map[string]string

func (r records) Lookup(_ context.Context, name string, _ resolve.Type) (resolve.Answer, error) {
	text, ok := r[name]
	switch {
	case !ok:
		return resolve.Answer{}, resolve.ErrNotFound
	case text == "":
		return resolve.Answer{}, resolve.ErrTemporary
	}
	return resolve.Answer{Name: name, Records: []resolve.Record{{Text: text}}}, nil
}

type poster func(*http.Request) (*http.Response, error)

func (p poster) RoundTrip(r *http.Request) (*http.Response, error) { return p(r) }

// Reports go to the addresses in the domain's record, once. A report that
// cannot be delivered is tried again.
func TestReporter(t *testing.T) {
	s, err := Open(filepath.Join(t.TempDir(), "results.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, domain := range []string{"mail.example", "web.example", "none.example", "bad.example", "down.example", "full.example", "refused.example"} {
		s.Add(monday, policy(domain), nil)
	}
	dns := records{
		"_smtp._tls.mail.example":    "v=TLSRPTv1; rua=mailto:tls%2Bx@mail.example",
		"_smtp._tls.web.example":     "v=TLSRPTv1; rua=https://web.example/report",
		"_smtp._tls.bad.example":     "v=TLSRPTv1; rua=ftp://x",
		"_smtp._tls.down.example":    "",
		"_smtp._tls.full.example":    "v=TLSRPTv1; rua=https://full.example/report,mailto:tls@full.example",
		"_smtp._tls.refused.example": "v=TLSRPTv1; rua=mailto:refused@refused.example",
	}
	var got []string
	post := poster(func(r *http.Request) (*http.Response, error) {
		report, err := tlsrpt.Parse(r.Body)
		if err != nil || r.Header.Get("Content-Type") != "application/tlsrpt+gzip" || r.Method != http.MethodPost {
			t.Errorf("%s %s: %v", r.Method, r.URL, err)
			return nil, err
		}
		got = append(got, "post "+report.Domain()+" "+r.URL.String())
		status := 201
		if r.URL.Host == "full.example" {
			status = 507
		}
		return &http.Response{StatusCode: status, Status: fmt.Sprint(status), Body: io.NopCloser(strings.NewReader("")), Request: r}, nil
	})
	r := NewReporter(Config{From: "postmaster@example.org"}, s, Env{
		Hostname: "mail.example.org", DNS: dns, HTTP: &http.Client{Transport: post}, Log: zerolog.Nop(),
		Send: func(_ context.Context, id string, to mail.Address, m *mail.Message) error {
			if !strings.Contains(string(m.Head), "From: <postmaster@example.org>\r\n") || id == "" {
				t.Errorf("%s: %s", to, m.Head)
			}
			if to.Domain() == "refused.example" {
				return errors.New("no route")
			}
			got = append(got, "mail "+string(to))
			return nil
		},
	})
	sent := func(now time.Time) string {
		got = nil
		r.SendDue(t.Context(), now)
		list := map[string]bool{}
		for _, g := range got {
			list[g] = true
		}
		if len(list) != len(got) {
			t.Errorf("sent twice: %q", got)
		}
		var want []string
		for _, g := range []string{"mail tls+x@mail.example", "post web.example https://web.example/report", "post full.example https://full.example/report", "mail tls@full.example"} {
			if list[g] {
				want = append(want, g)
			}
		}
		return strings.Join(want, ", ")
	}
	if text := sent(monday); text != "" {
		t.Errorf("on the same day: %s", text)
	}
	if text := sent(monday.AddDate(0, 0, 1)); strings.Count(text, ",") != 3 {
		t.Errorf("sent %s", text)
	}
	if left := s.due(monday.AddDate(0, 0, 1)); len(left) != 2 {
		t.Errorf("left %+v, want down.example and refused.example", left)
	}
	if text := sent(monday.AddDate(0, 0, 1)); text != "" {
		t.Errorf("sent again: %s", text)
	}
}

func TestConfigCheck(t *testing.T) {
	for from, good := range map[string]bool{"postmaster@example.org": true, "": false, "postmaster": false} {
		if err := (&Config{From: from}).Check(); (err == nil) != good {
			t.Errorf("%q: %v", from, err)
		}
	}
}
