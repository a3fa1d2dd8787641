package server

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"

	"hoplite/cmd/hoplite/internal/dryrun"
	"hoplite/internal/conf"
	"hoplite/internal/history"
	"hoplite/internal/users"
	"hoplite/internal/users/login"
	"hoplite/mail/trace"
	"hoplite/web"
)

// addWeb adds the server of a web block.
func (s *serving) addWeb(c *web.Config) error {
	reader := history.NewReader(s.Config.Under("history"))
	challenge := func(next http.Handler) http.Handler { return next }
	if s.issuer != nil {
		challenge = s.issuer.manager.Handler
	}
	w, err := web.New(*c, web.Env{
		Challenge: challenge,
		Hostname:  s.Config.Hostname,
		Log:       s.Log.With().Str("listener", c.Name).Logger(),
		Options: func() trace.Options {
			o := trace.Options{Trusted: s.Config.Trusted, Known: s.runtime.clocks.Known}
			if s.Config.Hostname != "localhost" {
				o.Ours = []string{s.Config.Hostname}
			}
			return o
		},
		Login:   s.webLogin,
		Account: s.webAccount,
		Find: func(ctx context.Context, q history.Query) ([]history.Record, error) {
			return reader.Find(ctx, q)
		},
		Explain: s.webExplain,
		Links:   s.Config.Under("state/links"),
	})
	if err != nil {
		return fmt.Errorf("web %q: %w", c.Name, err)
	}
	s.services = append(s.services, service{name: c.Name, title: fmt.Sprintf("web %q", c.Name), cfg: &c.Config, http: true, refuse: web.Refuse, handle: w.Handle, drain: w.Drain, close: w.Close})
	return nil
}

func (s *serving) webLogin(ctx context.Context, client netip.Addr, name, password string) (web.Account, error) {
	a, err := s.Logins.Check(ctx, login.Client{Addr: client}, name, password)
	switch {
	case errors.Is(err, users.ErrBadLogin):
		return web.Account{}, web.ErrLogin
	case errors.Is(err, users.ErrThrottled):
		return web.Account{}, web.ErrBusy
	case err != nil:
		s.Log.Error().Err(err).Msg("web login")
		return web.Account{}, errors.New("accounts cannot be read")
	}
	return web.Account{Name: a.Name, Admin: a.Is(users.Admin)}, nil
}

// webAccount returns the current state of an account. The stamp is a hash of
// its main password's keys.
func (s *serving) webAccount(name string) (a web.Account, stamp string, ok bool) {
	acc, ok := s.Accounts.Account(name)
	switch {
	case !ok && s.Accounts.MayExist(name): // only its authority knows the password
		return web.Account{Name: name}, "", true
	case !ok:
		return web.Account{}, "", false
	}
	h := sha256.New()
	for _, c := range acc.Credentials {
		if c.Name != "" {
			continue // an app password
		}
		io.WriteString(h, c.Legacy)
		if c.Keys != nil {
			fmt.Fprintf(h, "%v", *c.Keys)
		}
	}
	return web.Account{Name: acc.Name, Admin: acc.Is(users.Admin)}, string(h.Sum(nil)), true
}

// webExplain is like hoplite explain, but does not contact upstreams.
func (s *serving) webExplain(ctx context.Context, q web.Question) ([]string, error) {
	ip, err := netip.ParseAddr(q.IP)
	if err != nil {
		return nil, err
	}
	x, err := dryrun.Run(ctx, s.Config, &conf.Diagnostics{}, dryrun.Question{IP: ip, Helo: q.Helo, From: q.From, To: []string{q.To}, Offers: s.offers().Upstreams, Temp: s.Config.Under("spool")})
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	x.Print(&b)
	return strings.Split(strings.TrimRight(b.String(), "\n"), "\n"), nil
}
