package dkim

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"hoplite/mail"
)

// maxSkew is how far in the future a signature's time may be, because clocks
// differ.
const maxSkew = time.Hour

// Result is the outcome of one signature.
type Result struct {
	*Signature
	Value   string // as in RFC 8601, 2.7.1: pass, fail, policy, neutral, temperror, permerror
	Reason  string
	KeyBits int
	Testing bool // the domain is testing DKIM (t=y); Value is then never pass
}

// Verify verifies the first MaxSignatures signatures of a message in the form
// in which its sender sent it. It also returns the total number of signatures.
func Verify(ctx context.Context, m *mail.Message, lookup Lookup) ([]Result, int, error) {
	h := NewHeader(m.Head)
	var results []Result
	n := 0
	for _, f := range h.fields {
		if !f.Is("DKIM-Signature") {
			continue
		}
		if n++; n > MaxSignatures {
			continue
		}
		s, err := Parse(f, false)
		r := Result{Signature: s}
		if err != nil {
			r.Value, r.Reason = "neutral", err.Error()
		}
		results = append(results, r)
	}
	return results, n, Check(ctx, m, h, results, lookup)
}

// Check completes the results that have no Value yet. It works for DKIM
// signatures and ARC message signatures.
func Check(ctx context.Context, m *mail.Message, h *Header, results []Result, lookup Lookup) error {
	now := time.Now()
	var ways []bodyKey
	var wait sync.WaitGroup
	keys := make([]*Key, len(results))
	errs := make([]error, len(results))
	for i := range results {
		r := &results[i]
		if r.Value != "" || r.judge(now) {
			continue
		}
		ways = append(ways, bodyKey{r.BodyCan, r.Length})
		wait.Go(func() { keys[i], errs[i] = FetchKey(ctx, lookup, r.Domain, r.Selector) })
	}
	var sums map[bodyKey]bodySum
	var err error
	if len(ways) > 0 {
		sums, err = hashBody(m.Body(), ways)
	}
	wait.Wait()
	if err != nil {
		return fmt.Errorf("hash body: %w", err)
	}
	for i := range results {
		if r := &results[i]; r.Value == "" {
			r.finish(h, keys[i], errs[i], sums[bodyKey{r.BodyCan, r.Length}])
		}
	}
	return nil
}

// judge detects errors that can be found without the key.
func (r *Result) judge(now time.Time) bool {
	switch s := r.Signature; {
	case s.Algorithm == "rsa-sha1":
		r.Value, r.Reason = "policy", "rsa-sha1 is broken (RFC 8301)"
	case s.Algorithm != "rsa-sha256" && s.Algorithm != "ed25519-sha256":
		r.Value, r.Reason = "neutral", fmt.Sprintf("algorithm %.20q is unknown", s.Algorithm)
	case !s.covers("From"):
		r.Value, r.Reason = "permerror", "From is not signed"
	case s.Identity != "" && !within(s.Identity, s.Domain, false):
		r.Value, r.Reason = "permerror", "the domain of i= is not within d="
	case !s.Expires.IsZero() && now.After(s.Expires):
		r.Value, r.Reason = "fail", "signature expired at "+s.Expires.UTC().Format(time.RFC3339)
	case !s.Expires.IsZero() && s.Expires.Before(s.Signed):
		r.Value, r.Reason = "permerror", "signature expires before it was made"
	case s.Signed.After(now.Add(maxSkew)):
		r.Value, r.Reason = "fail", "signature is from the future: "+s.Signed.UTC().Format(time.RFC3339)
	case strings.Count(s.Domain, ".") < 1 || len(s.Domain)+len(s.Selector) > 230:
		r.Value, r.Reason = "permerror", "d= is not a valid mail domain"
	}
	return r.Value != ""
}

// within reports whether an identity's domain is the signing domain or, unless
// the key is strict, a subdomain of it.
func within(identity, domain string, strict bool) bool {
	at := strings.LastIndexByte(identity, '@') // the local part may be quoted
	d := strings.ToLower(identity[at+1:])
	return at >= 0 && (d == domain || !strict && strings.HasSuffix(d, "."+domain))
}

// finish verifies the signature with the key and the body hash.
func (r *Result) finish(h *Header, k *Key, err error, body bodySum) {
	s := r.Signature
	switch t := (temporary{}); {
	case errors.As(err, &t):
		r.Value, r.Reason = "temperror", "key not available: "+t.Error()
		return
	case err != nil:
		r.Value, r.Reason = "permerror", err.Error()
		return
	}
	r.KeyBits, r.Testing = k.Bits, k.Testing
	kind, _, _ := strings.Cut(s.Algorithm, "-")
	switch {
	case k.Kind != kind:
		r.Value, r.Reason = "permerror", fmt.Sprintf("key is for %s, signature by %s", k.Kind, kind)
	case k.hashes != nil && !slices.Contains(k.hashes, "sha256"):
		r.Value, r.Reason = "permerror", "key is not for sha256"
	case k.Strict && s.Identity != "" && !within(s.Identity, s.Domain, true):
		r.Value, r.Reason = "permerror", "key is not valid for subdomains (t=s)"
	case k.Kind == "rsa" && k.Bits < 1024:
		r.Value, r.Reason = "policy", fmt.Sprintf("RSA key of %d bits is too weak (RFC 8301)", k.Bits)
	case !bytes.Equal(body.sum, s.BodyHash):
		r.Value, r.Reason = "fail", "body hash does not match"
	case !k.Verifies(h.Sum(s.Headers, s.HeaderCan, s.field.Raw), s.Value):
		r.Value, r.Reason = "fail", "signature does not match: signed header fields were changed, or the key is different"
	case s.Length >= 0 && s.Length < body.total:
		r.Value, r.Reason = "policy", fmt.Sprintf("only %d of %d octets of the body are signed", s.Length, body.total)
	case k.Testing:
		r.Value, r.Reason = "neutral", "signature is valid, but the domain is testing (t=y)"
	default:
		r.Value = "pass"
	}
}

// AuthResult returns the result for Authentication-Results.
func (r *Result) AuthResult() mail.AuthResult {
	a := mail.AuthResult{Method: "dkim", Value: r.Value, Reason: r.Reason}
	if r.KeyBits > 0 {
		a.Comment = fmt.Sprintf("%d-bit key", r.KeyBits)
	}
	identity := r.Identity
	if identity == "" && r.Domain != "" {
		identity = "@" + r.Domain
	}
	for _, p := range []mail.AuthProp{
		{Name: "d", Value: r.Domain}, {Name: "i", Value: identity}, {Name: "s", Value: r.Selector},
		{Name: "a", Value: r.Algorithm}, {Name: "b", Value: r.B[:min(len(r.B), 12)]},
	} {
		if p.Value != "" {
			p.Type = "header"
			a.Props = append(a.Props, p)
		}
	}
	return a
}

// Header is a header block whose fields can be looked up by name, from the
// bottom up, as required for signatures.
type Header struct {
	fields []mail.Field
	byName map[string][]int // keyed by lower-case name; from the top
}

// NewHeader indexes a header block.
func NewHeader(head []byte) *Header {
	h := &Header{byName: map[string][]int{}}
	for f := range mail.Fields(head) {
		if f.Name != "" {
			name := strings.ToLower(f.Name)
			h.byName[name] = append(h.byName[name], len(h.fields))
		}
		h.fields = append(h.fields, f)
	}
	return h
}

// Fields returns the fields with the given name, from the top.
func (h *Header) Fields(name string) []mail.Field {
	var fs []mail.Field
	for _, i := range h.byName[strings.ToLower(name)] {
		fs = append(fs, h.fields[i])
	}
	return fs
}

// Sum hashes the named fields, followed by the signature field without the
// value of its b= (RFC 6376, 3.7). A name may be listed more often than its
// field occurs, which prevents such fields from being added later.
func (h *Header) Sum(names []string, c Canon, signature []byte) []byte {
	hash := sha256.New()
	taken := map[string]int{}
	var buf []byte
	for _, name := range names {
		name = strings.ToLower(name)
		at := h.byName[name]
		n := len(at) - 1 - taken[name]
		if n < 0 {
			continue
		}
		taken[name]++
		buf = AppendHeader(buf[:0], h.fields[at[n]].Raw, c)
		hash.Write(buf)
	}
	buf = AppendHeader(buf[:0], WithoutB(signature), c)
	hash.Write(bytes.TrimSuffix(buf, crlf))
	return hash.Sum(nil)
}

// WithoutB returns a raw field without the value of its b= tag.
func WithoutB(raw []byte) []byte {
	start := bytes.IndexByte(raw, ':') + 1
	for start < len(raw) {
		end := len(raw)
		if i := bytes.IndexByte(raw[start:], ';'); i >= 0 {
			end = start + i
		}
		name, _, ok := bytes.Cut(raw[start:end], []byte("="))
		if ok && string(bytes.TrimSpace(name)) == "b" {
			from := start + len(name) + 1
			if end == len(raw) { // keep the line ending
				end = len(bytes.TrimRight(raw, "\r\n"))
			}
			return append(append(make([]byte, 0, len(raw)), raw[:from]...), raw[max(end, from):]...)
		}
		start = end + 1
	}
	return raw
}
