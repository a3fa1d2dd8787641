package trust

import (
	"context"
	"net/netip"
	"strings"

	"hoplite/filters"
	"hoplite/filters/arc"
	"hoplite/filters/dkim"
	"hoplite/filters/dmarc"
	"hoplite/filters/spf"
	"hoplite/internal/resolve"
	"hoplite/mail"
	policies "hoplite/mail/dmarc"
)

// Results holds a judge's results for a case. An empty string means no opinion.
type Results struct {
	SPF   string // for the reverse path, or for the HELO name if that is empty
	DKIM  string // the best of all signatures
	ARC   string
	DMARC string

	// From is the only domain in the From field, or "" if there is not exactly
	// one.
	From string
	// Auth holds our results in full. Judges that evaluate only DMARC use them
	// as input.
	Auth []mail.AuthResult
}

// judge returns the results of this program's filters.
func judge(ctx context.Context, c *Case, dns resolve.Resolver) (Results, error) {
	m, err := mail.NewMessage(mail.Bytes(c.Text))
	if err != nil {
		return Results{}, err
	}
	client := mail.Client{Addr: netip.AddrPortFrom(netip.MustParseAddr(c.IP), 25), Helo: c.Helo}
	tx := mail.NewTransaction(client, mail.Address(c.From))
	env := filters.Env{DNS: dns}
	chain := make([]filters.Filter, 4)
	for i, open := range []func() (filters.Filter, error){
		func() (filters.Filter, error) { return spf.New(spf.Config{}, env) },
		func() (filters.Filter, error) { return dkim.New(dkim.Config{}, env) },
		func() (filters.Filter, error) { return arc.New(arc.Config{}, env) },
		func() (filters.Filter, error) { return dmarc.New(dmarc.Config{Mode: "observe"}, env) },
	} {
		if chain[i], err = open(); err != nil {
			return Results{}, err
		}
		v, err := judgeWith(ctx, chain[i], tx, m)
		if err != nil {
			return Results{}, err
		}
		tx.Trail.Auth = append(tx.Trail.Auth, v.Auth...)
	}
	r := Results{Auth: tx.Trail.Auth, DMARC: "none"}
	for _, a := range tx.Trail.Auth {
		switch a.Method {
		case "spf":
			r.SPF = a.Value // the result for the reverse path is the last one
		case "dkim":
			r.DKIM = better(r.DKIM, a.Value)
		case "arc":
			r.ARC = a.Value
		case "dmarc":
			r.DMARC = a.Value
		}
	}
	if domains, problem := policies.FromDomains(m.Head); problem == "" && len(domains) == 1 {
		r.From = domains[0]
	}
	return r, nil
}

func judgeWith(ctx context.Context, f filters.Filter, tx *mail.Transaction, m *mail.Message) (filters.Verdict, error) {
	if s, ok := f.(*spf.Filter); ok {
		return s.AtMail(ctx, tx)
	}
	return f.(filters.Dataer).AtData(ctx, tx, m)
}

// better returns the better of two DKIM results, using only values that all
// judges have in common: every kind of failure is "fail".
func better(a, b string) string {
	switch b {
	case "pass", "temperror", "none", "":
	default:
		b = "fail"
	}
	order := "pass temperror fail none"
	if a == "" || b != "" && strings.Index(order, b) < strings.Index(order, a) {
		return b
	}
	return a
}
