package forward

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"hoplite/internal/listen"
	"hoplite/mail"
)

// dialer opens connections to an upstream's servers and prepares them until
// MAIL can be sent.
type dialer struct {
	helo  string
	tls   listen.Profile
	roots *x509.CertPool // nil: the system's
	// certificate returns the certificate for servers that ask for one; nil: none.
	certificate func(*tls.CertificateRequestInfo) (*tls.Certificate, error)
	auth        *authenticator
	tellClient  string // no, xclient, xforward, proxy
	times       timeouts
	source      []netip.Addr // local addresses to connect from
	family      string       // any, ipv4, ipv6
	disable     []string     // extensions that are not used
	dial        func(ctx context.Context, network, address string) (net.Conn, error)
	weakTLS     func(server string, state tls.ConnectionState)
}

// timeouts holds the time limits of a conversation (RFC 5321, 4.5.3.2): connect
// applies to the TCP connection and the TLS handshake, command to each reply
// before the message, and data to each part of the message and the final reply.
type timeouts struct{ connect, command, data time.Duration }

// usesFamily reports whether connections to addresses of a's family are
// allowed.
func (d *dialer) usesFamily(a netip.Addr) bool {
	switch d.family {
	case "ipv4":
		return a.Unmap().Is4()
	case "ipv6":
		return !a.Unmap().Is4()
	}
	return true
}

// dialNet connects to an address, from the configured source address of its
// family.
func (d *dialer) dialNet(ctx context.Context, network, address string) (net.Conn, error) {
	dialer := net.Dialer{}
	if ap, err := netip.ParseAddrPort(address); err == nil {
		for _, s := range d.source {
			if s.Is4() == ap.Addr().Unmap().Is4() {
				dialer.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(s, 0))
				break
			}
		}
	}
	return dialer.DialContext(ctx, network, address)
}

// opening holds the parameters for opening a connection.
type opening struct {
	need requirement
	from mail.Client
	// heloOnly skips EHLO, for a server that hung up after it.
	heloOnly bool
	// failed is the error of the TLS handshake that caused the fallback to
	// clear text.
	failed error
}

// errNoEHLO means that the server closes the connection at EHLO.
var errNoEHLO = errors.New("the server closed the connection at EHLO")

// errHandshake marks a failed TLS handshake in cases where clear text is also
// allowed.
var errHandshake = errors.New("TLS handshake failed")

// open connects to a server. An error is a *mail.Reply from the server, or a
// *stageError.
//
// If a server hangs up at EHLO, open connects again and sends HELO. If the TLS
// handshake fails, it connects again in clear text, provided that the
// requirement allows it. If the server refuses an access token, it connects
// once more with another token.
func (d *dialer) open(ctx context.Context, s *server, need requirement, from mail.Client) (*conn, error) {
	o := opening{need: need, from: from}
	c, err := d.connect(ctx, s, o)
	if errors.Is(err, errNoEHLO) {
		o.heloOnly = true
		c, err = d.connect(ctx, s, o)
	}
	if refused := (*tokenRefused)(nil); errors.As(err, &refused) {
		c, err = d.connect(ctx, s, o)
	}
	if errors.Is(err, errHandshake) {
		o.need.startTLS, o.failed = false, err
		c, err = d.connect(ctx, s, o)
	}
	return c, err
}

func (d *dialer) connect(ctx context.Context, s *server, o opening) (*conn, error) {
	limited, cancel := context.WithTimeout(ctx, d.times.connect)
	nc, err := d.dial(limited, s.network, s.address)
	cancel()
	if err != nil {
		return nil, &stageError{stage: "connect", host: s.name(), addr: s.address, err: err}
	}
	c := newConn(nc, s, &d.times)
	c.proof.failed, c.proof.policy = o.failed, o.need.policy
	defer c.watch(ctx)()
	if err := d.greet(ctx, c, o); err != nil {
		nc.Close()
		return nil, err
	}
	return c, nil
}

// greet performs PROXY, TLS, greeting, EHLO, STARTTLS, AUTH and XCLIENT on a
// new connection, as configured.
func (d *dialer) greet(ctx context.Context, c *conn, o opening) error {
	if d.tellClient == "proxy" {
		if err := writeProxy(c.nc, o.from); err != nil {
			return c.failed("PROXY", err)
		}
	}
	if c.server.tls {
		if err := d.handshake(ctx, c, o.need); err != nil {
			return err
		}
	}
	greeting, err := c.wait(d.times.command)
	if err != nil {
		return c.failed("greeting", err)
	}
	if greeting.Code != 220 {
		return greeting
	}
	if err := d.hello(c, o.heloOnly); err != nil {
		return err
	}
	if err := d.startTLS(ctx, c, o); err != nil {
		return err
	}
	if d.auth != nil {
		if err := d.auth.login(ctx, c); err != nil {
			return err
		}
	}
	return d.introduce(c, o.from)
}

// hello sends EHLO, or HELO to servers that do not support EHLO (RFC 5321,
// 4.1.4).
func (d *dialer) hello(c *conn, heloOnly bool) error {
	verb := "EHLO"
	if c.server.lmtp {
		verb = "LHLO"
	}
	if !heloOnly {
		reply, err := c.ask(verb+" "+d.helo, d.times.command)
		switch {
		case err != nil && !c.server.lmtp && c.proof.state == nil && isClosed(err):
			return c.failed(verb, fmt.Errorf("%w: %w", errNoEHLO, err))
		case err != nil:
			return c.failed(verb, err)
		case reply.Code == 250:
			c.caps = parseCaps(reply.Text, d.disable)
			return nil
		case c.server.lmtp || reply.Code == 421:
			return reply
		}
	}
	reply, err := c.ask("HELO "+d.helo, d.times.command)
	if err != nil {
		return c.failed("HELO", err)
	}
	if reply.Code != 250 {
		return reply
	}
	c.caps = caps{}
	return nil
}

// startTLS starts TLS if the requirement calls for it. It returns an error if
// the connection does not meet the requirement.
func (d *dialer) startTLS(ctx context.Context, c *conn, o opening) error {
	if c.proof.state == nil && o.need.startTLS && c.caps.startTLS {
		reply, err := c.ask("STARTTLS", d.times.command)
		if err != nil {
			return c.failed("STARTTLS", err)
		}
		if reply.Code == 220 {
			if err := d.handshake(ctx, c, o.need); err != nil {
				if o.need.least > clearText {
					return err
				}
				return fmt.Errorf("%w: %w", errHandshake, err)
			}
			return d.hello(c, o.heloOnly)
		}
		if o.need.least > clearText {
			return reply
		}
		c.proof.failed = fmt.Errorf("STARTTLS was refused: %s", reply)
	}
	if err := o.need.meets(c.proof); err != nil {
		return c.failed("STARTTLS", &insecureError{err})
	}
	return nil
}

// handshake performs the TLS handshake. The certificate is always checked, so
// that the outcome can report the result. The requirement determines whether an
// invalid certificate is an error.
func (d *dialer) handshake(ctx context.Context, c *conn, need requirement) error {
	legacy := d.tls.Min != 0 && d.tls.Min < tls.VersionTLS12 || len(d.tls.Suites) > 0
	cfg := &tls.Config{ServerName: need.name(c.server), MinVersion: d.tls.Min, CipherSuites: d.tls.Suites}
	if legacy && !d.tls.Until.IsZero() && time.Now().After(d.tls.Until) {
		cfg.MinVersion, cfg.CipherSuites, legacy = 0, nil, false
	}
	if cfg.MinVersion == 0 && cfg.CipherSuites == nil && need.least > clearText {
		// If clear text is allowed, any cipher suite is an improvement.
		cfg.CipherSuites = listen.SafeSuites()
	}
	sent := false
	if d.certificate != nil {
		cfg.GetClientCertificate = func(r *tls.CertificateRequestInfo) (*tls.Certificate, error) {
			sent = true
			return d.certificate(r)
		}
	}
	var p proof
	cfg.InsecureSkipVerify = true // VerifyConnection verifies instead
	cfg.VerifyConnection = func(state tls.ConnectionState) error {
		p = need.check(state, c.server, d.roots)
		if err := need.meets(p); err != nil {
			return &insecureError{err}
		}
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, d.times.connect)
	defer cancel()
	secure := tls.Client(c.nc, cfg)
	if err := secure.HandshakeContext(ctx); err != nil {
		return c.failed("TLS", err)
	}
	state := secure.ConnectionState()
	c.setTransport(secure)
	p.state, p.certificate = &state, sent
	c.proof = p
	if legacy && d.weakTLS != nil && (state.Version < tls.VersionTLS12 || weakSuite(state.CipherSuite)) {
		d.weakTLS(c.server.name(), state)
	}
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
