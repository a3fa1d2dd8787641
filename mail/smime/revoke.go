package smime

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ocsp"

	"hoplite/mail/cms"
)

// The modes of revocation checking.
const (
	RevokeOff    = "off"    // no check
	RevokeCached = "cached" // data from the message or the cache
	RevokeSoft   = "soft"   // queries in the background, for later messages
	RevokeHard   = "hard"   // queries before the verdict; the message waits
)

// Limits on downloads.
const (
	maxStapled     = 4
	maxStapledSize = 8 << 10

	maxList   = 10 << 20 // octets of one CRL
	maxFiles  = 1000     // files in the cache
	fetchTime = 20 * time.Second
	hardTime  = 2 * time.Second
)

// Revocation checks whether certificates have been revoked, using OCSP (RFC
// 6960) and CRLs (RFC 5280). It queries only trusted authorities and caches
// their answers on disk.
type Revocation struct {
	mode   string
	dir    string
	wait   time.Duration // time limit for one message in hard mode
	client *http.Client
	mu     sync.Mutex
	busy   map[string]chan struct{} // queries in progress
}

// NewRevocation returns a Revocation that caches answers in dir, which is
// created on first use.
func NewRevocation(mode, dir string) *Revocation {
	return &Revocation{mode: mode, dir: dir, wait: hardTime, busy: map[string]chan struct{}{},
		client: &http.Client{Timeout: fetchTime}}
}

type status int

const (
	statusUnknown status = iota
	statusGood
	statusRevoked
)

func (s status) String() string { return [...]string{"unknown", "good", "revoked"}[s] }

// check returns the status of one certificate in a verified chain.
func (v *Revocation) check(ctx context.Context, cert, issuer *x509.Certificate, s *cms.Signed, at time.Time) (status, time.Time) {
	for _, der := range s.OCSP[:min(len(s.OCSP), maxStapled)] {
		if len(der) > maxStapledSize {
			continue // the responder's key may have any length
		}
		if st, when := readOCSP(der, cert, issuer, at); st != statusUnknown {
			return st, when
		}
	}
	for _, der := range s.CRLs {
		if st, when := readCRL(der, cert, issuer, at); st != statusUnknown {
			return st, when
		}
	}
	var wanted []source
	for _, url := range cert.OCSPServer {
		wanted = append(wanted, source{url: url, cert: cert, issuer: issuer})
	}
	for _, url := range cert.CRLDistributionPoints {
		wanted = append(wanted, source{url: url, list: true, cert: cert, issuer: issuer})
	}
	for _, w := range wanted[:min(len(wanted), 4)] {
		if !strings.HasPrefix(w.url, "http://") && !strings.HasPrefix(w.url, "https://") {
			continue
		}
		if st, when := v.ask(ctx, w, at); st != statusUnknown {
			return st, when
		}
	}
	return statusUnknown, time.Time{}
}

// source is a server to query.
type source struct {
	url          string
	list         bool
	cert, issuer *x509.Certificate
}

// file returns the name of the cache file for the source's answer.
func (w source) file() string {
	h := sha256.New()
	io.WriteString(h, w.url)
	if !w.list {
		h.Write(w.issuer.RawSubjectPublicKeyInfo)
		h.Write(w.cert.SerialNumber.Bytes())
	}
	ext := ".ocsp"
	if w.list {
		ext = ".crl"
	}
	return hex.EncodeToString(h.Sum(nil)[:16]) + ext
}

func (w source) read(der []byte, at time.Time) (status, time.Time) {
	if w.list {
		return readCRL(der, w.cert, w.issuer, at)
	}
	return readOCSP(der, w.cert, w.issuer, at)
}

// ask looks in the cache, and queries the source if the mode allows it.
func (v *Revocation) ask(ctx context.Context, w source, at time.Time) (status, time.Time) {
	path := filepath.Join(v.dir, w.file())
	if der, err := os.ReadFile(path); err == nil {
		if st, when := w.read(der, at); st != statusUnknown {
			return st, when
		}
	}
	if v.mode == RevokeCached {
		return statusUnknown, time.Time{}
	}
	done := v.start(w, path)
	if v.mode != RevokeHard {
		return statusUnknown, time.Time{}
	}
	select {
	case <-done:
	case <-ctx.Done():
		return statusUnknown, time.Time{}
	}
	der, err := os.ReadFile(path)
	if err != nil {
		return statusUnknown, time.Time{}
	}
	return w.read(der, at)
}

// start starts a query in the background, at most one at a time for each
// source. The returned channel is closed when the query ends, with or without
// an answer.
func (v *Revocation) start(w source, path string) <-chan struct{} {
	v.mu.Lock()
	defer v.mu.Unlock()
	if done, ok := v.busy[path]; ok {
		return done
	}
	done := make(chan struct{})
	if len(v.busy) >= 16 {
		close(done)
		return done
	}
	v.busy[path] = done
	go func() {
		defer func() {
			v.mu.Lock()
			delete(v.busy, path)
			v.mu.Unlock()
			close(done)
		}()
		if der, err := v.fetch(w); err == nil {
			v.keep(path, der)
		}
	}()
	return done
}

func (v *Revocation) fetch(w source) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), fetchTime)
	defer cancel()
	method, body := http.MethodGet, io.Reader(nil)
	if !w.list {
		req, err := ocsp.CreateRequest(w.cert, w.issuer, nil)
		if err != nil {
			return nil, fmt.Errorf("ask %s: %w", w.url, err)
		}
		method, body = http.MethodPost, bytes.NewReader(req)
	}
	req, err := http.NewRequestWithContext(ctx, method, w.url, body)
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", w.url, err)
	}
	if !w.list {
		req.Header.Set("Content-Type", "application/ocsp-request")
	}
	resp, err := v.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", w.url, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("ask %s: %s", w.url, resp.Status)
	}
	der, err := io.ReadAll(io.LimitReader(resp.Body, maxList+1))
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", w.url, err)
	}
	if len(der) > maxList {
		return nil, fmt.Errorf("ask %s: more than %d octets", w.url, maxList)
	}
	return der, nil
}

// keep writes an answer to the cache and removes the oldest answers if there
// are too many. Errors are ignored, because the cache only saves time.
func (v *Revocation) keep(path string, der []byte) {
	if os.MkdirAll(v.dir, 0o750) != nil {
		return
	}
	tmp, err := os.CreateTemp(v.dir, "new-*")
	if err != nil {
		return
	}
	_, err = tmp.Write(der)
	if err = errors.Join(err, tmp.Close()); err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		os.Remove(tmp.Name())
		return
	}
	entries, err := os.ReadDir(v.dir)
	if err != nil || len(entries) <= maxFiles {
		return
	}
	oldest, when := "", time.Now()
	for _, e := range entries {
		if i, err := e.Info(); err == nil && i.ModTime().Before(when) {
			oldest, when = e.Name(), i.ModTime()
		}
	}
	os.Remove(filepath.Join(v.dir, oldest))
}

// slack is the tolerated difference between two clocks.
const slack = 5 * time.Minute

func current(from, to, at time.Time) bool {
	return !at.Before(from.Add(-slack)) && (to.IsZero() || at.Before(to.Add(slack)))
}

func readOCSP(der []byte, cert, issuer *x509.Certificate, at time.Time) (status, time.Time) {
	resp, err := ocsp.ParseResponseForCert(der, cert, issuer)
	if err != nil {
		return statusUnknown, time.Time{}
	}
	switch resp.Status {
	case ocsp.Revoked:
		if resp.RevokedAt.After(at) {
			return statusGood, time.Time{}
		}
		return statusRevoked, resp.RevokedAt // revocation is final, even according to an old answer
	case ocsp.Good:
		if current(resp.ThisUpdate, resp.NextUpdate, at) {
			return statusGood, time.Time{}
		}
	}
	return statusUnknown, time.Time{}
}

func readCRL(der []byte, cert, issuer *x509.Certificate, at time.Time) (status, time.Time) {
	list, err := x509.ParseRevocationList(der)
	if err != nil || !bytes.Equal(list.RawIssuer, issuer.RawSubject) || list.CheckSignatureFrom(issuer) != nil {
		return statusUnknown, time.Time{}
	}
	for _, e := range list.RevokedCertificateEntries {
		if e.SerialNumber.Cmp(cert.SerialNumber) == 0 && e.ReasonCode != 8 && !e.RevocationTime.After(at) { // 8: removeFromCRL
			return statusRevoked, e.RevocationTime
		}
	}
	if current(list.ThisUpdate, list.NextUpdate, at) {
		return statusGood, time.Time{}
	}
	return statusUnknown, time.Time{}
}
