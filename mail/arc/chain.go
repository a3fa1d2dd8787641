// Package arc validates the Authenticated Received Chain of a message and adds
// sets to it (RFC 8617). [Validate] validates a chain; a [Sealer] extends one.
// The signatures are those of package dkim with different field names.
//
// go-msgauth is not used, because its signer always writes a DKIM-Signature
// field and does not support seals.
package arc

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"hoplite/mail"
	"hoplite/mail/authres"
	"hoplite/mail/dkim"
)

// maxSets is the maximum length of a chain (RFC 8617, 4.2.1).
const maxSets = 50

// Set holds the three fields added by one server.
type Set struct {
	Results authres.Header // the server's authentication results
	Sealer  string         // d= of the seal
	CV      string         // the server's verdict on the preceding chain

	aar, ams, as mail.Field
	seal         dkim.Tags
	n            [3]int // number of occurrences of each field
}

// Chain is the result of validating a message's ARC sets.
type Chain struct {
	CV     string // none, pass, fail; temperror if a key could not be looked up
	Reason string
	Sets   []Set // oldest first; all are complete if CV is pass

	signed []string // fields that the last set's signature covers
}

// Validate validates a message's chain (RFC 8617, 5.2).
func Validate(ctx context.Context, m *mail.Message, lookup dkim.Lookup) (*Chain, error) {
	c := &Chain{}
	h := dkim.NewHeader(m.Head)
	if c.Reason = c.collect(h); c.Reason != "" || len(c.Sets) == 0 {
		c.CV = "fail"
		if c.Reason == "" {
			c.CV = "none"
		}
		return c, nil
	}
	last := &c.Sets[len(c.Sets)-1]
	sig, err := dkim.Parse(last.ams, true)
	c.signed = sig.Headers
	results := []dkim.Result{{Signature: sig}}
	if err != nil {
		results[0].Value, results[0].Reason = "neutral", err.Error()
	} else if slices.ContainsFunc(sig.Headers, func(h string) bool { return strings.EqualFold(h, "ARC-Seal") }) {
		results[0].Value, results[0].Reason = "permerror", "it signs a seal"
	}
	if err := dkim.Check(ctx, m, h, results, lookup); err != nil {
		return nil, err
	}
	switch r := results[0]; {
	case r.Value == "pass", r.Testing && r.Value == "neutral": // ARC has no test mode
	case r.Value == "temperror":
		c.CV, c.Reason = "temperror", r.Reason
		return c, nil
	default:
		c.CV, c.Reason = "fail", fmt.Sprintf("signature %d: %s", len(c.Sets), r.Reason)
		return c, nil
	}
	c.CV, c.Reason = c.seals(ctx, lookup)
	return c, nil
}

// collect sorts the fields into sets and checks that they form a chain.
func (c *Chain) collect(h *dkim.Header) (problem string) {
	sets := map[int]*Set{}
	names := []string{"ARC-Authentication-Results", "ARC-Message-Signature", "ARC-Seal"}
	top := 0
	for kind, name := range names {
		fields := h.Fields(name)
		if len(fields) > maxSets {
			return fmt.Sprintf("more than %d sets", maxSets)
		}
		for _, f := range fields {
			i := instance(f)
			if i < 1 || i > maxSets {
				return "a set without a valid instance"
			}
			s := sets[i]
			if s == nil {
				s = &Set{}
				sets[i] = s
			}
			s.n[kind]++
			*[]*mail.Field{&s.aar, &s.ams, &s.as}[kind] = f
			top = max(top, i)
		}
	}
	for i := 1; i <= top; i++ {
		s := sets[i]
		if s == nil || s.n != [3]int{1, 1, 1} {
			return fmt.Sprintf("set %d is incomplete", i)
		}
		if problem := s.read(i); problem != "" {
			return fmt.Sprintf("set %d: %s", i, problem)
		}
		c.Sets = append(c.Sets, *s)
	}
	return ""
}

// instance returns the i= tag of an ARC field of any of the three types.
func instance(f mail.Field) int {
	for part := range strings.SplitSeq(f.Text(), ";") {
		if name, value, ok := strings.Cut(part, "="); ok && strings.TrimSpace(name) == "i" {
			value = strings.TrimSpace(value)
			n, err := strconv.Atoi(value)
			if err != nil || value[0] < '0' || value[0] > '9' {
				return 0
			}
			return n
		}
		if f.Is("ARC-Authentication-Results") {
			break // i= must be the first tag
		}
	}
	return 0
}

// read parses the fields of a set.
func (s *Set) read(i int) (problem string) {
	var err error
	if s.seal, err = dkim.ParseTagsStrictly(string(s.as.Value())); err != nil {
		return "seal: " + err.Error()
	}
	s.Sealer = strings.ToLower(s.seal["d"])
	s.CV = strings.ToLower(s.seal["cv"])
	if strings.Trim(s.seal["t"], "0123456789") != "" {
		return fmt.Sprintf("its seal says t=%.20s", s.seal["t"])
	}
	if _, ok := s.seal["h"]; ok {
		return "a seal has no h="
	}
	if want := map[bool]string{true: "none", false: "pass"}[i == 1]; s.CV != want {
		return fmt.Sprintf("its seal says cv=%.10s", s.CV)
	}
	_, rest, _ := bytes.Cut(s.aar.Value(), []byte(";"))
	s.Results, _ = authres.Parse(rest) // invalid results are ignored
	return ""
}

// seals verifies every seal, looking up the keys concurrently.
func (c *Chain) seals(ctx context.Context, lookup dkim.Lookup) (cv, reason string) {
	type outcome struct {
		key *dkim.Key
		err error
	}
	keys := map[string]*outcome{}
	var wait sync.WaitGroup
	for _, s := range c.Sets {
		domain, selector := s.Sealer, s.seal["s"]
		id := selector + "\x00" + domain
		if keys[id] != nil {
			continue
		}
		o := &outcome{}
		keys[id] = o
		wait.Go(func() { o.key, o.err = dkim.FetchKey(ctx, lookup, domain, selector) })
	}
	wait.Wait()
	for i := len(c.Sets); i >= 1; i-- {
		s := &c.Sets[i-1]
		o := keys[s.seal["s"]+"\x00"+s.Sealer]
		switch {
		case dkim.IsTemporary(o.err):
			return "temperror", fmt.Sprintf("seal %d: %v", i, o.err)
		case o.err != nil:
			return "fail", fmt.Sprintf("seal %d: %v", i, o.err)
		case o.key.Kind == "rsa" && o.key.Bits < 1024:
			return "fail", fmt.Sprintf("seal %d: RSA key of %d bits", i, o.key.Bits)
		}
		sig, err := s.seal.Base64("b")
		if err != nil || !strings.EqualFold(s.seal["a"], o.key.Kind+"-sha256") || !o.key.Verifies(sumFields(c.sealed(i)...), sig) {
			return "fail", fmt.Sprintf("seal %d does not match", i)
		}
	}
	return "pass", ""
}

// sealed returns the fields covered by the seal with the given instance (RFC
// 8617, 5.1.1).
func (c *Chain) sealed(instance int) [][]byte {
	var raws [][]byte
	for i := range c.Sets[:instance] {
		s := &c.Sets[i]
		raws = append(raws, s.aar.Raw, s.ams.Raw, s.as.Raw)
	}
	raws[len(raws)-1] = dkim.WithoutB(raws[len(raws)-1])
	return raws
}

// dmarcSeen returns the first sealer that reports that DMARC passed, and all
// later sealers. It returns nil if no sealer does.
func (c *Chain) dmarcSeen() []string {
	for i := range c.Sets {
		if !dmarcPassed(c.Sets[i].Results.Results) {
			continue
		}
		var sealers []string
		for _, s := range c.Sets[i:] {
			if !slices.Contains(sealers, s.Sealer) {
				sealers = append(sealers, s.Sealer)
			}
		}
		return sealers
	}
	return nil
}

// dmarcPassed reports whether DMARC passed for every From domain.
func dmarcPassed(results []mail.AuthResult) bool {
	passed := false
	for i := range results {
		if r := &results[i]; r.Method == "dmarc" {
			if r.Value != "pass" {
				return false
			}
			passed = true
		}
	}
	return passed
}

// AuthResult returns the result for Authentication-Results.
func (c *Chain) AuthResult() mail.AuthResult {
	a := mail.AuthResult{Method: "arc", Value: c.CV, Reason: c.Reason}
	if len(c.Sets) == 0 {
		return a
	}
	a.Comment = fmt.Sprintf("i=%d", len(c.Sets))
	a.Props = []mail.AuthProp{{Type: "header", Name: "d", Value: c.Sets[len(c.Sets)-1].Sealer}}
	if who := c.dmarcSeen(); who != nil && c.CV == "pass" {
		a.Props = append(a.Props, mail.AuthProp{Type: "policy", Name: "sealer", Value: strings.Join(who, ",")},
			mail.AuthProp{Type: "policy", Name: "dmarc", Value: "pass"})
	}
	return a
}

// Signed returns the number of fields with the given name that are covered by
// the last set's signature.
func (c *Chain) Signed(name string) int {
	n := 0
	for _, h := range c.signed {
		if strings.EqualFold(h, name) {
			n++
		}
	}
	return n
}

// Sealer returns the domain of the last seal, or "" if there is none.
func (c *Chain) Sealer() string {
	if len(c.Sets) == 0 {
		return ""
	}
	return c.Sets[len(c.Sets)-1].Sealer
}
