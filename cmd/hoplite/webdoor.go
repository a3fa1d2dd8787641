package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"hoplite/internal/conf"
	"hoplite/internal/history"
	"hoplite/internal/users"
	"hoplite/internal/users/login"
	"hoplite/mail"
	"hoplite/mail/smime"
	"hoplite/mail/trace"
	"hoplite/web"
)

// addWeb makes the door of a web block.
func (h *house) addWeb(c *web.Config) error {
	reader := history.NewReader(h.cfg.under("history"))
	s, err := web.New(*c, web.Env{
		Hostname: h.cfg.Hostname,
		Log:      h.log.With().Str("listener", c.Name).Logger(),
		Options: func() trace.Options {
			o := trace.Options{Trusted: h.cfg.Trusted, Known: h.clocks.Known}
			if h.cfg.Hostname != "localhost" {
				o.Ours = []string{h.cfg.Hostname}
			}
			return o
		},
		Login: h.webLogin,
		Find: func(ctx context.Context, q history.Query) ([]history.Record, error) {
			return reader.Find(ctx, q)
		},
		Explain: h.webExplain,
		SMIME:   webSMIME,
		Links:   h.cfg.under("state/links"),
	})
	if err != nil {
		return fmt.Errorf("web %q: %w", c.Name, err)
	}
	h.doors = append(h.doors, door{name: c.Name, cfg: &c.Config, refuse: web.Refuse, handle: s.Handle, drain: s.Drain, close: s.Close})
	return nil
}

func (h *house) webLogin(ctx context.Context, client netip.Addr, name, password string) (web.Account, error) {
	a, err := h.logins.Check(ctx, login.Client{Addr: client}, name, password)
	switch {
	case errors.Is(err, users.ErrBadLogin):
		return web.Account{}, web.ErrLogin
	case errors.Is(err, users.ErrThrottled):
		return web.Account{}, web.ErrBusy
	case err != nil:
		h.log.Error().Err(err).Msg("web login")
		return web.Account{}, errors.New("accounts cannot be read")
	}
	return web.Account{Name: a.Name, Admin: a.Is(users.Admin)}, nil
}

// webExplain is the dry run of hoplite explain, without asking upstreams.
func (h *house) webExplain(ctx context.Context, q web.Question) ([]string, error) {
	ip, err := netip.ParseAddr(q.IP)
	if err != nil {
		return nil, err
	}
	x, err := explain(ctx, h.cfg, &conf.Diagnostics{}, question{IP: ip, Helo: q.Helo, From: q.From, To: []string{q.To}, Temp: h.cfg.under("spool")})
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	x.print(&b)
	return strings.Split(strings.TrimRight(b.String(), "\n"), "\n"), nil
}

// webSMIME judges a pasted message's signatures, not the chain above them.
func webSMIME(ctx context.Context, message []byte) []string {
	if !smime.IsMessage(message) {
		return nil
	}
	checker := &smime.Checker{AnyRoot: true}
	rep, err := checker.Message(ctx, mail.Bytes(message), int64(len(message)))
	if err != nil || rep.Verdict == smime.VerdictNone {
		return nil
	}
	var b bytes.Buffer
	rep.Print(&b)
	return strings.Split(strings.TrimRight(b.String(), "\n"), "\n")
}
