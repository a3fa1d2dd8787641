package authority

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

// maxReplies limits the octets of all replies in one dialogue.
const maxReplies = 64 << 10

// remote checks passwords by logging in to a server.
type remote struct {
	server
	roots   *x509.CertPool // nil: the system's
	helo    string
	timeout time.Duration
	local   bool // the user name is the local part
}

// check logs in and out again. password is not part of any error.
func (r *remote) check(ctx context.Context, name, password string) (account string, err error) {
	user := name
	if r.local {
		user = name[:strings.LastIndexByte(name, '@')]
	}
	if password == "" || strings.ContainsAny(user+password, "\r\n\x00") {
		return "", errRefused
	}
	err = r.talk(ctx, func(d dialogue) error { return d.login(user, password) })
	if err == nil || errors.Is(err, errRefused) {
		return name, err
	}
	text := err.Error()
	for _, secret := range []string{base64.StdEncoding.EncodeToString([]byte("\x00" + user + "\x00" + password)),
		base64.StdEncoding.EncodeToString([]byte(password)), password} {
		text = strings.ReplaceAll(text, secret, "(password)")
	}
	if _, ok := errors.AsType[*replyError](err); ok {
		return "", &replyError{r.host + ": " + text}
	}
	return "", fmt.Errorf("%s: %s", r.host, text)
}

// probe connects without logging in.
func (r *remote) probe(ctx context.Context) error {
	if err := r.talk(ctx, func(dialogue) error { return nil }); err != nil {
		return fmt.Errorf("%s: %w", r.host, err)
	}
	return nil
}

// dialogue is a connection to a server that may receive a password.
type dialogue interface {
	login(user, password string) error
	quit()
}

// talk connects, and calls f once the connection may carry a password.
func (r *remote) talk(ctx context.Context, f func(dialogue) error) error {
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	tcp, err := (&net.Dialer{}).DialContext(ctx, "tcp", r.address)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer tcp.Close()
	deadline, _ := ctx.Deadline()
	tcp.SetDeadline(deadline)
	defer context.AfterFunc(ctx, func() { tcp.SetDeadline(time.Unix(1, 0)) })()
	l := &line{remote: r}
	l.use(tcp)
	if r.tls {
		if err := l.encrypt(ctx); err != nil {
			return err
		}
	}
	open := openIMAP
	if r.smtp {
		open = openSMTP
	}
	d, err := open(ctx, l)
	if err != nil {
		return err
	}
	err = f(d)
	d.quit()
	return err
}

// line is a connection with lines of limited size.
type line struct {
	*remote
	conn   net.Conn
	in     *bufio.Reader
	secure bool
}

func (l *line) use(c net.Conn) {
	l.conn, l.in = c, bufio.NewReader(io.LimitReader(c, maxReplies))
}

// encrypt starts TLS and verifies the server's certificate.
func (l *line) encrypt(ctx context.Context) error {
	if l.in.Buffered() > 0 {
		return errors.New("the server sent more after its reply to STARTTLS")
	}
	c := tls.Client(l.conn, &tls.Config{ServerName: l.host, RootCAs: l.roots, MinVersion: tls.VersionTLS12})
	if err := c.HandshakeContext(ctx); err != nil {
		return fmt.Errorf("TLS: %w", err)
	}
	l.use(c)
	l.secure = true
	return nil
}

// mayLogin returns an error unless a password may be sent.
func (l *line) mayLogin() error {
	if l.secure || l.isLocal() {
		return nil
	}
	return errors.New("the password would be sent in clear text: the server does not offer STARTTLS")
}

func (l *line) write(text string) error {
	_, err := io.WriteString(l.conn, text+"\r\n")
	return err
}

func (l *line) read() (string, error) {
	text, err := l.in.ReadString('\n')
	if errors.Is(err, io.EOF) {
		err = errors.New("the server closed the connection, or sent too much")
	}
	return strings.TrimRight(text, "\r\n"), err
}
