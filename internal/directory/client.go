package directory

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"github.com/go-ldap/ldap/v3"
)

// errPassword means that the server refused a name and password.
var errPassword = errors.New("the directory refused the password")

// errBusy means that all connections are in use. The directory may still
// answer.
var errBusy = errors.New("all connections to the directory are in use")

// Limits on a connection.
const (
	maxReply = 16 << 20 // octets of the replies to one request
	idleFor  = time.Minute
)

// client sends requests to the first server that can be reached.
type client struct {
	servers          []server
	bindDN, password string
	roots            *x509.CertPool // nil: the system's
	insecure         bool
	timeout          time.Duration

	idle   chan *link    // connections that are bound as bindDN
	slots  chan struct{} // limits the searches
	checks chan struct{} // limits the password checks
}

func newClient(c *Config, roots *x509.CertPool) (*client, error) {
	servers, err := c.servers()
	if err != nil {
		return nil, err
	}
	return &client{
		servers: servers, bindDN: c.BindDN, password: string(c.Password), roots: roots, insecure: c.Insecure, timeout: c.Timeout,
		idle: make(chan *link, c.Connections), slots: make(chan struct{}, c.Connections), checks: make(chan struct{}, c.Connections),
	}, nil
}

// close closes the idle connections.
func (c *client) close() {
	for {
		select {
		case l := <-c.idle:
			l.ldap.Close()
		default:
			return
		}
	}
}

// search returns the entries that match a query. A query for a single entry that
// does not exist returns none.
func (c *client) search(ctx context.Context, q query) ([]*ldap.Entry, error) {
	if err := take(ctx, c.slots); err != nil {
		return nil, err
	}
	defer func() { <-c.slots }()
	for {
		l, reused, err := c.connect(ctx)
		if err != nil {
			return nil, err
		}
		stop := l.limit(ctx, c.timeout)
		found, err := l.ldap.Search(ldap.NewSearchRequest(q.base, q.scope, ldap.NeverDerefAliases, q.limit,
			int(c.timeout/time.Second), false, q.filter, q.attributes, nil))
		stop()
		switch {
		case err == nil || found != nil && ldap.IsErrorWithCode(err, ldap.LDAPResultSizeLimitExceeded):
			c.give(l)
			return found.Entries, nil
		case q.scope == ldap.ScopeBaseObject && ldap.IsErrorWithCode(err, ldap.LDAPResultNoSuchObject):
			c.give(l)
			return nil, nil
		}
		l.ldap.Close()
		if !reused || ctx.Err() != nil {
			return nil, l.failed("search", err)
		}
	}
}

// query is a search.
type query struct {
	base       string
	scope      int
	filter     string
	attributes []string
	limit      int
}

// check checks a password by logging in with it on a connection of its own. The
// error is errPassword if the server refuses it.
func (c *client) check(ctx context.Context, dn, password string) error {
	if dn == "" || password == "" {
		return errPassword // a login without one of them would be anonymous, and succeed
	}
	if err := take(ctx, c.checks); err != nil {
		return err
	}
	defer func() { <-c.checks }()
	l, err := c.dial(ctx)
	if err != nil {
		return err
	}
	defer l.ldap.Close()
	defer l.limit(ctx, c.timeout)()
	err = l.ldap.Bind(dn, password)
	switch {
	case err == nil:
		return nil
	case ldap.IsErrorAnyOf(err, ldap.LDAPResultInvalidCredentials, ldap.LDAPResultInappropriateAuthentication, ldap.LDAPResultNoSuchObject),
		// 389 Directory Server: locked after wrong passwords, or disabled
		ldap.IsErrorAnyOf(err, ldap.LDAPResultConstraintViolation, ldap.LDAPResultUnwillingToPerform):
		return errPassword
	}
	return l.failed("check password", err)
}

func take(ctx context.Context, slots chan struct{}) error {
	select {
	case slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return errBusy
	}
}

// connect returns an idle or new connection for searches.
func (c *client) connect(ctx context.Context) (l *link, reused bool, err error) {
	for {
		select {
		case l := <-c.idle:
			if l.ldap.IsClosing() || time.Since(l.used) > idleFor {
				l.ldap.Close()
				continue
			}
			return l, true, nil
		default:
		}
		break
	}
	l, err = c.dial(ctx)
	if err != nil || c.bindDN == "" {
		return l, false, err
	}
	defer l.limit(ctx, c.timeout)()
	if err := l.ldap.Bind(c.bindDN, c.password); err != nil {
		l.ldap.Close()
		return nil, false, l.failed("log in as "+c.bindDN, err)
	}
	return l, false, nil
}

// give puts a connection back.
func (c *client) give(l *link) {
	l.used = time.Now()
	select {
	case c.idle <- l:
	default:
		l.ldap.Close()
	}
}

// dial connects to the first server that can be reached.
func (c *client) dial(ctx context.Context) (*link, error) {
	var errs []error
	for _, s := range c.servers {
		l, err := c.dialServer(ctx, s, false)
		var refused *ldap.Error
		if c.insecure && errors.As(err, &refused) && !s.tls {
			l, err = c.dialServer(ctx, s, true)
		}
		if err == nil {
			return l, nil
		}
		errs = append(errs, fmt.Errorf("%s: %w", s.host, err))
		if ctx.Err() != nil {
			break
		}
	}
	return nil, errors.Join(errs...)
}

// dialServer connects to a server. Unless clear is set, the connection is
// encrypted, and the certificate valid, if the configuration requires it.
func (c *client) dialServer(ctx context.Context, s server, clear bool) (*link, error) {
	limited, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	tcp, err := (&net.Dialer{}).DialContext(limited, "tcp", s.address)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	l := &link{host: s.host, conn: &bounded{Conn: tcp}}
	defer l.limit(limited, c.timeout)()
	settings := &tls.Config{ServerName: s.host, RootCAs: c.roots, InsecureSkipVerify: c.insecure, MinVersion: tls.VersionTLS12}
	if s.tls {
		secure := tls.Client(l.conn, settings)
		if err := secure.HandshakeContext(limited); err != nil {
			tcp.Close()
			return nil, fmt.Errorf("TLS: %w", err)
		}
		l.ldap = ldap.NewConn(secure, true)
		l.ldap.Start()
		return l, nil
	}
	l.ldap = ldap.NewConn(l.conn, false)
	l.ldap.Start()
	if clear || s.isLocal() {
		return l, nil
	}
	if err := l.ldap.StartTLS(settings); err != nil {
		l.ldap.Close()
		return nil, fmt.Errorf("STARTTLS: %w", err)
	}
	return l, nil
}

// link is a connection to a server.
type link struct {
	host string
	conn *bounded
	ldap *ldap.Conn
	used time.Time
}

// limit limits the duration of a request and the size of the replies to it,
// until stop is called.
func (l *link) limit(ctx context.Context, d time.Duration) (stop func()) {
	l.conn.left.Store(maxReply)
	l.conn.SetDeadline(time.Now().Add(d))
	ended := context.AfterFunc(ctx, func() { l.conn.SetDeadline(time.Unix(1, 0)) })
	return func() {
		if ended() {
			l.conn.SetDeadline(time.Time{})
		}
	}
}

// failed returns err with the server and the operation.
func (l *link) failed(doing string, err error) error {
	return fmt.Errorf("%s: %s: %w", l.host, doing, err)
}

// bounded is a connection that ends after a number of octets.
type bounded struct {
	net.Conn
	left atomic.Int64
}

var errReplyTooLarge = errors.New("the reply is too large")

// Read reads at most the octets that are left.
func (b *bounded) Read(p []byte) (int, error) {
	left := b.left.Load()
	if left <= 0 {
		return 0, errReplyTooLarge
	}
	n, err := b.Conn.Read(p[:min(int64(len(p)), left)])
	b.left.Add(-int64(n))
	return n, err
}
