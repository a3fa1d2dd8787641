// Package dkim is the filter that verifies DKIM signatures (RFC 6376).
//
// Its results are used in Authentication-Results and by a subsequent dmarc
// filter. Unless configured otherwise, a broken signature is treated like no
// signature, because mailing lists break valid ones. Package mail/dkim verifies
// the signatures.
package dkim

import (
	"context"
	"fmt"
	"strings"

	"hoplite/filters"
	"hoplite/internal/resolve"
	"hoplite/mail"
	"hoplite/mail/dkim"
)

// Config is the filter "dkim" { ... } block of a chain. The first five
// signatures of a message are verified.
type Config struct {
	// Fail is the action for mail whose signatures are all invalid.
	Fail string `hcl:"fail,optional" enum:"pass|tag|quarantine|reject" default:"pass"`
	// Require lists domains whose mail must carry a valid signature of the
	// domain, such as partners that are known to sign everything; otherwise
	// require_fail applies.
	Require []string `hcl:"require,optional" example:"bank.example"`
	// RequireFail is the action for mail from these domains without a valid
	// signature.
	RequireFail string `hcl:"require_fail,optional" enum:"tag|quarantine|reject" default:"reject"`
}

// Filter verifies according to a Config.
type Filter struct {
	cfg Config
	dns resolve.Resolver
}

// New returns the filter.
func New(cfg Config, env filters.Env) (filters.Filter, error) { return &Filter{cfg, env.DNS}, nil }

// AtData verifies the message as the sender sent it.
func (f *Filter) AtData(ctx context.Context, tx *mail.Transaction, m *mail.Message) (filters.Verdict, error) {
	if tx.Client.MayRelay || tx.Client.User != "" { // submitted mail is not signed yet
		return filters.Verdict{}, nil
	}
	results, n, err := dkim.Verify(ctx, m, resolve.TXTRecords(f.dns))
	if err != nil {
		return filters.Verdict{}, err
	}
	var v filters.Verdict
	passed, unsure := "", false
	reason := ""
	for i := range results {
		r := &results[i]
		v.Auth = append(v.Auth, r.AuthResult())
		v.Facts = append(v.Facts, mail.Fact{Key: r.Domain + "/" + r.Selector, Value: strings.TrimSpace(r.Value + " " + r.Reason)})
		switch r.Value {
		case "pass":
			passed += r.Domain + " "
		case "temperror":
			unsure = true
		default:
			reason = r.Reason
		}
	}
	if n > len(results) {
		v.Facts = append(v.Facts, mail.Fact{Key: "not verified", Value: fmt.Sprintf("%d of %d signatures", n-len(results), n)})
	}
	if n == 0 {
		v.Auth = append(v.Auth, mail.AuthResult{Method: "dkim", Value: "none"})
	}
	w := f.act(tx, passed, unsure, n, reason)
	w.Auth, w.Facts = v.Auth, v.Facts
	return w, nil
}

// act returns the verdict. Mail is never rejected because a key look-up failed.
func (f *Filter) act(tx *mail.Transaction, passed string, unsure bool, n int, reason string) filters.Verdict {
	from := tx.Envelope.From.ASCIIDomain()
	for _, d := range f.cfg.Require {
		if d = strings.ToLower(d); from == d && !unsure && !strings.Contains(" "+passed, " "+d+" ") {
			return filters.Acted(filters.Action(f.cfg.RequireFail), 550, "5.7.20", "Mail from %s must carry a valid DKIM signature of that domain", d)
		}
	}
	if n > 0 && passed == "" && !unsure && f.cfg.Fail != "" && f.cfg.Fail != "pass" {
		return filters.Acted(filters.Action(f.cfg.Fail), 550, "5.7.20", "No valid DKIM signature: %s", reason)
	}
	return filters.Verdict{}
}
