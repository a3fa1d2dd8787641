package forward

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"hoplite/mail/tlsrpt"
	"hoplite/relay/forward/mtasts"
)

// sessions reports the results of TLS sessions with the servers of one domain
// (RFC 8460). A nil *sessions reports nothing.
type sessions struct {
	add    func(now time.Time, p tlsrpt.Policy, f *tlsrpt.Failure)
	domain string
	sts    *mtasts.Policy // nil: the domain has none
}

// policy returns the policy that applies to connections that meet need.
func (s *sessions) policy(need requirement) tlsrpt.Policy {
	p := tlsrpt.Policy{Type: tlsrpt.NoPolicy, Domain: s.domain}
	switch {
	case !need.dane.None():
		p.Type, p.MX = tlsrpt.TLSA, tlsrpt.Strings{need.base}
		for _, r := range need.dane.All() {
			p.String = append(p.String, fmt.Sprintf("%s %X", r, r.Data))
		}
	case s.sts != nil:
		return s.stsPolicy()
	}
	return p
}

func (s *sessions) stsPolicy() tlsrpt.Policy {
	p := tlsrpt.Policy{Type: tlsrpt.STS, Domain: s.domain}
	if s.sts == nil {
		return p
	}
	p.String = tlsrpt.Strings{"version: STSv1", "mode: " + string(s.sts.Mode)}
	for _, mx := range s.sts.MX {
		p.String, p.MX = append(p.String, "mx: "+mx), append(p.MX, mx)
	}
	p.String = append(p.String, "max_age: "+strconv.Itoa(int(s.sts.MaxAge.Seconds())))
	return p
}

// opened reports a new connection, or the failure to open one, to a server.
func (s *sessions) opened(pool *pool, c *conn, err error) {
	if s == nil || err == nil && !pool.need.startTLS && c.proof.state == nil {
		return // TLS was not attempted
	}
	p := s.policy(pool.need)
	result, reason, ok := judge(c, err, p.Type != tlsrpt.NoPolicy)
	if !ok {
		return
	}
	if result == "" {
		s.add(time.Now(), p, nil)
		return
	}
	f := tlsrpt.Failure{Result: result, MX: pool.server.host, Reason: reason}
	f.ReceivingIP, _, _ = net.SplitHostPort(pool.server.address)
	if c != nil {
		f.SendingIP, _, _ = net.SplitHostPort(c.nc.LocalAddr().String())
	}
	s.add(time.Now(), p, &f)
}

// judge returns the result of an attempt to open a connection, and the reason
// for a failure. The result is empty for a success. ok is false if the attempt
// did not get as far as TLS. proven is set if the certificate matters.
func judge(c *conn, err error, proven bool) (result tlsrpt.Result, reason string, ok bool) {
	var insecure *insecureError
	var staged *stageError
	switch {
	case errors.As(err, &insecure):
		return resultOf(insecure.err), "", true
	case errors.As(err, &staged) && staged.stage == "TLS":
		return tlsrpt.ValidationFailure, cause(staged.err), true
	case err != nil:
		return "", "", false
	case c.proof.failed != nil:
		return tlsrpt.ValidationFailure, plainError(c.proof.failed), true
	case c.proof.state == nil:
		return tlsrpt.NoSTARTTLS, "", true
	case proven && c.proof.doubt != nil:
		return resultOf(c.proof.doubt), "", true
	}
	return "", "", true
}

// resultOf returns the result type of a connection that does not prove the
// server's identity.
func resultOf(err error) tlsrpt.Result {
	var (
		invalid x509.CertificateInvalidError
		unknown x509.UnknownAuthorityError
		host    x509.HostnameError
	)
	switch {
	case errors.Is(err, errNoTLS):
		return tlsrpt.NoSTARTTLS
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return tlsrpt.Expired
	case errors.As(err, &host):
		return tlsrpt.HostMismatch
	case errors.As(err, &unknown):
		return tlsrpt.NotTrusted
	}
	return tlsrpt.ValidationFailure
}

// refused reports a policy that prevents a connection.
func (s *sessions) refused(p tlsrpt.Policy, result tlsrpt.Result, host string, err error) {
	if s == nil {
		return
	}
	f := tlsrpt.Failure{Result: result, MX: host}
	if err != nil {
		f.Reason = plainError(err)
	}
	s.add(time.Now(), p, &f)
}
