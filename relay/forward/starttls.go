package forward

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"time"
)

// errNoTLS is a server that can't do what the configuration asks for.
var errNoTLS = errors.New("the server offers no STARTTLS, and the configuration wants it")

// errTLSFailed tells open's caller that the handshake failed where TLS was only
// wished for: it may try again in clear text.
var errTLSFailed = errors.New("TLS handshake")

// secure switches TLS on as the policy says.
func (d *dialer) secure(ctx context.Context, c *conn) error {
	must := d.policy == "require" || d.policy == "verify"
	if c.tls != nil || d.policy == "off" || c.server.network == "unix" && !must {
		return nil
	}
	if !c.caps.startTLS {
		if must {
			return &step{"STARTTLS", errNoTLS}
		}
		return nil
	}
	reply, err := c.ask("STARTTLS", d.times.command)
	if err != nil {
		return &step{"STARTTLS", err}
	}
	if reply.Code != 220 {
		if must {
			return refusedBy(c, reply)
		}
		return nil
	}
	if err := d.startTLS(ctx, c); err != nil {
		if must {
			return err
		}
		return fmt.Errorf("%w: %w", errTLSFailed, err)
	}
	return d.hello(c)
}

// startTLS does the handshake. What the server sent in clear text behind its
// go-ahead is dropped with the old buffers (RFC 3207, 5).
func (d *dialer) startTLS(ctx context.Context, c *conn) error {
	cfg := &tls.Config{
		ServerName:         c.server.host,
		InsecureSkipVerify: d.policy != "verify",
		MinVersion:         d.tls.Min,
		CipherSuites:       d.tls.Suites,
	}
	if d.roots != nil {
		cfg.RootCAs = d.roots.RootCAs
	}
	legacy := d.tls.Min != 0 && d.tls.Min < tls.VersionTLS12 || len(d.tls.Suites) > 0
	if legacy && !d.tls.Until.IsZero() && time.Now().After(d.tls.Until) {
		cfg.MinVersion, cfg.CipherSuites, legacy = 0, nil, false
	}
	secure := tls.Client(c.nc, cfg)
	if err := secure.HandshakeContext(ctx); err != nil {
		return &step{"TLS", err}
	}
	state := secure.ConnectionState()
	c.nc, c.tls = secure, &state
	if legacy && d.weakTLS != nil && (state.Version < tls.VersionTLS12 || weakSuite(state.CipherSuite)) {
		d.weakTLS(c.server.name(), state)
	}
	c.buffers()
	return nil
}

func weakSuite(id uint16) bool {
	for _, s := range tls.InsecureCipherSuites() {
		if s.ID == id {
			return true
		}
	}
	return false
}

// tlsName is the protection in use, for outcomes.
func (c *conn) tlsName() string {
	if c.tls == nil {
		return ""
	}
	return strings.Replace(tls.VersionName(c.tls.Version), "TLS ", "TLSv", 1) + " " + tls.CipherSuiteName(c.tls.CipherSuite)
}
