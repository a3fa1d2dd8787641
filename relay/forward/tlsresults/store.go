// Package tlsresults collects the results of the TLS sessions with other
// domains' mail servers and reports them daily to the domains that ask for it
// (SMTP TLS Reporting, RFC 8460).
//
// A Store counts the results and keeps them across restarts. A Reporter looks up
// which domains want reports, and sends them. Package forward judges the
// sessions; the format of reports is in package tlsrpt.
package tlsresults

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"sync"
	"time"

	"hoplite/internal/files"
	"hoplite/mail/tlsrpt"
)

// Limits on the results of one day.
const (
	maxDomains  = 5000
	maxPolicies = 20  // of a domain
	maxFailures = 100 // different ones under a policy
	// saveAfter is the time for which changes are collected before they are
	// written.
	saveAfter = time.Minute
	// keepDays is the number of finished days for which reports are tried.
	keepDays = 2
)

// day is a date in UTC, to which reports apply (RFC 8460, 4.1).
type day string

func dayOf(t time.Time) day { return day(t.UTC().Format(time.DateOnly)) }

// start returns the beginning of the day.
func (d day) start() time.Time {
	t, _ := time.Parse(time.DateOnly, string(d))
	return t
}

// Store counts results. A nil *Store counts nothing.
type Store struct {
	path string

	mu   sync.Mutex
	days map[day]map[string][]tlsrpt.PolicyResult
	save *time.Timer // pending write; nil if nothing has changed
}

// Open reads the results in the file at path, if it exists. A damaged file is
// replaced; the error describes the damage.
func Open(path string) (*Store, error) {
	s := &Store{path: path, days: map[day]map[string][]tlsrpt.PolicyResult{}}
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &s.days)
	}
	if err != nil {
		s.days = map[day]map[string][]tlsrpt.PolicyResult{}
		return s, fmt.Errorf("results of TLS sessions are lost: %w", err)
	}
	return s, nil
}

// Add counts a session under a policy of a domain; failure is nil if it
// succeeded.
func (s *Store) Add(now time.Time, policy tlsrpt.Policy, failure *tlsrpt.Failure) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	domains := s.days[dayOf(now)]
	if domains == nil {
		domains = map[string][]tlsrpt.PolicyResult{}
		s.days[dayOf(now)] = domains
	}
	list, known := domains[policy.Domain]
	if !known && len(domains) >= maxDomains {
		return
	}
	i := slices.IndexFunc(list, func(r tlsrpt.PolicyResult) bool { return same(&r.Policy, &policy) })
	if i < 0 {
		if len(list) >= maxPolicies {
			return
		}
		i, list = len(list), append(list, tlsrpt.PolicyResult{Policy: policy})
		domains[policy.Domain] = list
	}
	count(&list[i], failure)
	if s.save == nil {
		s.save = time.AfterFunc(saveAfter, func() { s.Flush() })
	}
}

// same reports whether two policies of a domain are equal.
func same(a, b *tlsrpt.Policy) bool {
	return a.Type == b.Type && slices.Equal(a.String, b.String) && slices.Equal(a.MX, b.MX)
}

// count adds a session to the results under a policy. Beyond maxFailures, only
// the summary counts a failure of a new kind.
func count(r *tlsrpt.PolicyResult, failure *tlsrpt.Failure) {
	if failure == nil {
		r.Summary.Successful++
		return
	}
	r.Summary.Failed++
	one := *failure
	one.Sessions = 0
	for i := range r.Failures {
		f := r.Failures[i]
		if f.Sessions = 0; f == one {
			r.Failures[i].Sessions++
			return
		}
	}
	if len(r.Failures) < maxFailures {
		one.Sessions = 1
		r.Failures = append(r.Failures, one)
	}
}

// Flush writes the results to disk if they have changed.
func (s *Store) Flush() error {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.save == nil {
		return nil
	}
	s.save.Stop()
	s.save = nil
	return s.write()
}

// write writes the file. The lock must be held.
func (s *Store) write() error {
	b, err := json.Marshal(s.days)
	if err == nil {
		err = files.Write(s.path, b, 0o640)
	}
	if err != nil {
		return fmt.Errorf("save results of TLS sessions: %w", err)
	}
	return nil
}

// due returns the results of a domain on a finished day.
type due struct {
	day     day
	domain  string
	results []tlsrpt.PolicyResult
}

// due returns the finished days' results, and forgets those that are too old to
// report.
func (s *Store) due(now time.Time) (list []due) {
	s.mu.Lock()
	defer s.mu.Unlock()
	today := dayOf(now)
	for d, domains := range s.days {
		switch {
		case d >= today:
		case d.start().AddDate(0, 0, keepDays+1).Before(now):
			delete(s.days, d)
		default:
			for domain, results := range domains {
				list = append(list, due{d, domain, results})
			}
		}
	}
	return list
}

// done forgets a domain's results on a day and saves that, so that a report is
// not sent twice.
func (s *Store) done(d due) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if delete(s.days[d.day], d.domain); len(s.days[d.day]) == 0 {
		delete(s.days, d.day)
	}
	return s.write()
}
