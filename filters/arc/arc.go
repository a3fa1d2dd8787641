// Package arc validates the Authenticated Received Chain of a message, and, as
// the last stage of a route, adds a set of our own (RFC 8617): for whoever
// forwards mail and changes it, so that the next server can see what was right
// when it came in.
package arc

import (
	"context"
	"crypto"
	"fmt"
	"strconv"
	"strings"
	"time"

	"hoplite/filters"
	"hoplite/filters/dkim"
	"hoplite/filters/sign"
	"hoplite/internal/conf"
	"hoplite/internal/resolve"
	"hoplite/mail"
	"hoplite/mail/authres"
	mdkim "hoplite/mail/dkim"
)

// Config is the block filter "arc" { ... }: in a chain it validates, in a route
// it seals.
type Config struct {
	conf.Pos
	// Domain is the domain to seal with. Only a route needs it.
	Domain string `hcl:"domain,optional" example:"example.org"`
	// Selector names the key, as for the filter "sign".
	Selector string `hcl:"selector,optional" example:"s2026"`
	// Key is the file with the private key; without it
	// "dkim/DOMAIN/SELECTOR.pem" under the data folder.
	Key string `hcl:"key,optional"`
}

// Check wants both halves of a key's name.
func (c *Config) Check() error {
	if (c.Domain == "") != (c.Selector == "") {
		return conf.Fieldf("domain", "domain and selector go together")
	}
	if strings.ContainsAny(c.Domain+c.Selector, "/\\ ;") {
		return conf.Fieldf("selector", "a selector is one DNS label")
	}
	return nil
}

// Filter validates, or seals by a Config.
type Filter struct {
	cfg  Config
	host string
	data string
	dns  resolve.Resolver
	keys sign.Keys
}

// New makes the filter and reads its key.
func New(cfg Config, env filters.Env) (filters.Filter, error) {
	f := &Filter{cfg: cfg, data: env.Data, host: env.Hostname, dns: env.DNS}
	if cfg.Domain == "" {
		return f, nil
	}
	_, err := f.key()
	return f, conf.At(cfg.Attr("selector"), err)
}

func (f *Filter) key() (crypto.Signer, error) {
	return f.keys.Of(f.data, f.cfg.Domain, f.cfg.Selector, f.cfg.Key)
}

// AtData validates the chain of what comes in. It never refuses anything: a
// broken chain is worth as much as none.
func (f *Filter) AtData(ctx context.Context, tx *mail.Transaction, m *mail.Message) (filters.Verdict, error) {
	c, err := Validate(ctx, m, dkim.Lookup(f.dns))
	if err != nil {
		return filters.Verdict{}, err
	}
	v := filters.Verdict{Auth: []mail.AuthResult{c.AuthResult()}}
	for i, s := range c.Sets {
		v.Facts = append(v.Facts, mail.Fact{Key: fmt.Sprintf("seal %d", i+1), Value: s.Sealer})
	}
	return v, nil
}

// AtSend adds our set: what we saw, a signature of the message as it leaves, and
// the seal over the chain.
func (f *Filter) AtSend(ctx context.Context, tx *mail.Transaction, m *mail.Message) ([]byte, error) {
	if f.cfg.Domain == "" {
		return nil, fmt.Errorf("arc: the route has no domain to seal with")
	}
	key, err := f.key()
	if err != nil {
		return nil, fmt.Errorf("ARC key: %w", err)
	}
	c, err := Validate(ctx, m, dkim.Lookup(f.dns))
	if err != nil {
		return nil, err
	}
	cv := f.seen(tx, c)
	// A chain that somebody found broken ends there; one that we cannot judge now
	// is left as it is (RFC 8617, 5.1.2).
	if cv == "temperror" || highest(m) >= maxSets || cv == "fail" && broken(m) {
		return nil, nil
	}
	s := mdkim.Signer{Domain: strings.ToLower(f.cfg.Domain), Selector: f.cfg.Selector, Key: key}
	return f.seal(&s, tx, m, c, cv)
}

// seen is the chain's state when the message came in: our own edits since then
// must not count against it.
func (f *Filter) seen(tx *mail.Transaction, c *Chain) string {
	for i := range tx.Trail.Auth {
		if a := &tx.Trail.Auth[i]; a.Method == "arc" {
			return a.Value
		}
	}
	return c.CV
}

// broken says whether the last seal of a message says cv=fail.
func broken(m *mail.Message) bool {
	top, fail := 0, false
	for _, f := range mdkim.NewHeader(m.Head).Fields("ARC-Seal") {
		tags, err := mdkim.ParseTags(string(f.Value()))
		if i := instance(f); err == nil && i > top {
			top, fail = i, strings.EqualFold(tags["cv"], "fail")
		}
	}
	return fail
}

func (f *Filter) seal(s *mdkim.Signer, tx *mail.Transaction, m *mail.Message, c *Chain, cv string) ([]byte, error) {
	n := 1 + highest(m)
	i := strconv.Itoa(n)
	now := time.Now().Unix()
	aar := append(authres.ARCField(i, f.host, tx.Trail.Auth), '\r', '\n')

	h := mdkim.NewHeader(m.Header())
	names := mdkim.SignedHeaders(h)
	for range min(len(h.Fields("DKIM-Signature")), 5) {
		names = append(names, "DKIM-Signature")
	}
	sum, err := mdkim.HashBody(m, mdkim.Relaxed)
	if err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	tags := []string{"i=" + i, "a=" + s.Algorithm(), "c=relaxed/relaxed", "d=" + s.Domain, "s=" + s.Selector, fmt.Sprintf("t=%d", now)}
	ams, err := s.Field("ARC-Message-Signature", tags, names, sum, h)
	if err != nil {
		return nil, err
	}
	as := []byte(fmt.Sprintf("ARC-Seal: i=%s; a=%s; t=%d; cv=%s;\r\n\td=%s; s=%s; b=\r\n", i, s.Algorithm(), now, cv, s.Domain, s.Selector))
	var raws [][]byte
	if cv == "pass" { // a seal over a broken chain covers only its own set
		for k := range c.Sets {
			raws = append(raws, c.Sets[k].aar.Raw, c.Sets[k].ams.Raw, c.Sets[k].as.Raw)
		}
	}
	raws = append(raws, aar, ams, as)
	if as, err = s.Finish(as, mdkim.SumFields(raws...)); err != nil {
		return nil, err
	}
	return append(append(as, ams...), aar...), nil
}

// highest is the largest instance that any ARC field of a message has.
func highest(m *mail.Message) int {
	top := 0
	h := mdkim.NewHeader(m.Head)
	for _, name := range []string{"ARC-Authentication-Results", "ARC-Message-Signature", "ARC-Seal"} {
		for _, f := range h.Fields(name) {
			top = max(top, min(instance(f), maxSets))
		}
	}
	return top
}
