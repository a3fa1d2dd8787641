package arc

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"hoplite/mail"
	"hoplite/mail/authres"
	"hoplite/mail/dkim"
)

// broken reports whether the last seal of a message has cv=fail.
func broken(m *mail.Message) bool {
	top, fail := 0, false
	for _, f := range dkim.NewHeader(m.Head).Fields("ARC-Seal") {
		tags, err := dkim.ParseTags(string(f.Value()))
		if i := instance(f); err == nil && i > top {
			top, fail = i, strings.EqualFold(tags["cv"], "fail")
		}
	}
	return fail
}

// Sealer adds a set to the chain of a message.
type Sealer struct {
	dkim.Signer
	Host string // the authserv-id of the results
}

// Seal returns the three fields of a new set, to be added at the top of the
// message: the results of the local checks, a signature of the outgoing
// message, and the seal. c is the message's chain and cv its state when the
// message arrived. A chain is not extended if it cannot be validated now, has
// reached its maximum length, or was sealed as broken by an earlier server (RFC
// 8617, 5.1.2).
func (s *Sealer) Seal(m *mail.Message, c *Chain, cv string, results []mail.AuthResult) ([]byte, error) {
	if cv == "temperror" || highest(m) >= maxSets || cv == "fail" && broken(m) {
		return nil, nil
	}
	n := 1 + highest(m)
	i := strconv.Itoa(n)
	now := time.Now().Unix()
	aar := append(authres.ARCField(i, s.Host, results), '\r', '\n')

	h := dkim.NewHeader(m.Header())
	names := dkim.SignedHeaders(h)
	for range min(len(h.Fields("DKIM-Signature")), 5) {
		names = append(names, "DKIM-Signature")
	}
	sum, err := dkim.HashBody(m, dkim.Relaxed)
	if err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	tags := []string{"i=" + i, "a=" + s.algorithm(), "c=relaxed/relaxed", "d=" + s.Domain, "s=" + s.Selector, fmt.Sprintf("t=%d", now)}
	ams, err := s.field("ARC-Message-Signature", tags, names, sum, h)
	if err != nil {
		return nil, err
	}
	as := []byte(fmt.Sprintf("ARC-Seal: i=%s; a=%s; t=%d; cv=%s;\r\n\td=%s; s=%s; b=\r\n", i, s.algorithm(), now, cv, s.Domain, s.Selector))
	var raws [][]byte
	if cv == "pass" { // a seal over a broken chain covers only its own set
		for k := range c.Sets {
			raws = append(raws, c.Sets[k].aar.Raw, c.Sets[k].ams.Raw, c.Sets[k].as.Raw)
		}
	}
	raws = append(raws, aar, ams, as)
	if as, err = s.finish(as, sumFields(raws...)); err != nil {
		return nil, err
	}
	return append(append(as, ams...), aar...), nil
}

// highest returns the largest instance of any ARC field of a message.
func highest(m *mail.Message) int {
	top := 0
	h := dkim.NewHeader(m.Head)
	for _, name := range []string{"ARC-Authentication-Results", "ARC-Message-Signature", "ARC-Seal"} {
		for _, f := range h.Fields(name) {
			top = max(top, min(instance(f), maxSets))
		}
	}
	return top
}
