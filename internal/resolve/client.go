package resolve

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

const (
	tryTime   = 3 * time.Second // for one server, UDP or TCP
	tries     = 2               // for each server in the list
	udpSize   = 1232            // not fragmented on any path
	maxChain  = 10              // CNAMEs
	maxStrays = 100             // datagrams that do not answer the query
)

// Client queries recursive servers over UDP or, for long answers, TCP. Names
// are used as given, without a search list. Queries for localhost and the names
// in /etc/hosts are answered locally.
type Client struct {
	servers []netip.AddrPort
	trusted bool // the AD bit of the servers is trusted
	hosts   *hosts
	dial    net.Dialer
}

// NewClient returns a client of the given servers. Their AD bit is trusted if
// trusted is set or if they run on this machine. Otherwise an attacker on the
// path could set it.
func NewClient(trusted bool, servers ...netip.AddrPort) *Client {
	local := len(servers) > 0
	for _, s := range servers {
		local = local && s.Addr().IsLoopback()
	}
	return &Client{servers: servers, trusted: trusted || local, hosts: &hosts{path: "/etc/hosts"}}
}

// System returns a client of the servers in resolv.conf. If the file lists
// none, the client uses a server on this machine, as the C library does.
func System(path string) (*Client, error) {
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("find name servers: %w", err)
	}
	servers, trusted := parseConf(string(text))
	if len(servers) == 0 {
		servers = []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:53")}
	}
	return NewClient(trusted, servers...), nil
}

// parseConf returns the servers in resolv.conf(5) and whether the option
// trust-ad is set.
func parseConf(text string) (servers []netip.AddrPort, trusted bool) {
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		switch f[0] {
		case "nameserver":
			if a, err := netip.ParseAddr(f[1]); err == nil && len(servers) < 3 {
				servers = append(servers, netip.AddrPortFrom(a, 53))
			}
		case "options":
			for _, o := range f[1:] {
				trusted = trusted || o == "trust-ad"
			}
		}
	}
	return servers, trusted
}

// Lookup sends a query and follows any CNAMEs that the server did not follow.
func (c *Client) Lookup(ctx context.Context, name string, t Type) (Answer, error) {
	asked, err := Canonical(name)
	if err != nil {
		return Answer{}, &Error{Name: name, Type: t, NoDomain: true, Cause: err}
	}
	if a, ok := c.hosts.lookup(asked, t); ok {
		if len(a.Records) == 0 {
			return a, &Error{Name: asked, Type: t}
		}
		return a, nil
	}
	at, authentic := asked, true
	for range maxChain {
		a, err := c.ask(ctx, at, t)
		if err != nil {
			if e := (*Error)(nil); errors.As(err, &e) {
				e.Name = asked
			}
			return Answer{}, err
		}
		authentic = authentic && a.Authentic && c.trusted
		if len(a.Records) > 0 {
			a.Authentic = authentic
			return a, nil
		}
		at = a.Name
	}
	return Answer{}, &Error{Name: asked, Type: t, Cause: errors.New("too many CNAMEs")}
}

// ask sends a query to one server after another until one answers.
func (c *Client) ask(ctx context.Context, name string, t Type) (Answer, error) {
	last := &Error{Name: name, Type: t, Temporary: true, Cause: errors.New("no name servers")}
	for range tries {
		for _, s := range c.servers {
			if ctx.Err() != nil {
				last.Cause = ctx.Err()
				return Answer{}, last
			}
			a, err := c.exchange(ctx, s, name, t)
			if e := (*Error)(nil); err == nil || errors.As(err, &e) && !e.Temporary {
				return a, err
			}
			last.Cause = fmt.Errorf("%s: %w", s, err)
		}
	}
	return Answer{}, last
}

// exchange queries one server, and repeats the query over TCP if the answer was
// truncated.
func (c *Client) exchange(ctx context.Context, server netip.AddrPort, name string, t Type) (Answer, error) {
	query, id, err := newQuery(name, t)
	if err != nil {
		return Answer{}, &Error{Name: name, Type: t, NoDomain: true, Cause: err}
	}
	for _, network := range []string{"udp", "tcp"} {
		a, err := c.try(ctx, network, server, query, id, name, t)
		if err != errTruncated {
			return a, err
		}
	}
	return Answer{}, errTruncated
}

func (c *Client) try(ctx context.Context, network string, server netip.AddrPort, query []byte, id uint16, name string, t Type) (Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, tryTime)
	defer cancel()
	conn, err := c.dial.DialContext(ctx, network, server.String()) // from a new port each time
	if err != nil {
		return Answer{}, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if network == "tcp" {
		return askTCP(conn, query, id, name, t)
	}
	if _, err := conn.Write(query); err != nil {
		return Answer{}, err
	}
	buf := make([]byte, 4096)
	for range maxStrays {
		n, err := conn.Read(buf)
		if err != nil {
			return Answer{}, err
		}
		a, err := parseAnswer(buf[:n], id, name, t)
		if err != errStray {
			return a, err
		}
	}
	return Answer{}, errStray
}

func askTCP(conn net.Conn, query []byte, id uint16, name string, t Type) (Answer, error) {
	framed := append(binary.BigEndian.AppendUint16(nil, uint16(len(query))), query...)
	if _, err := conn.Write(framed); err != nil {
		return Answer{}, err
	}
	var size [2]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		return Answer{}, err
	}
	buf := make([]byte, binary.BigEndian.Uint16(size[:]))
	if _, err := io.ReadFull(conn, buf); err != nil {
		return Answer{}, err
	}
	a, err := parseAnswer(buf, id, name, t)
	if err == errTruncated {
		err = errors.New("answer truncated over TCP")
	}
	return a, err
}

// newQuery returns a query with a random id.
func newQuery(name string, t Type) ([]byte, uint16, error) {
	n, err := dnsmessage.NewName(name + ".")
	if err != nil {
		return nil, 0, err
	}
	var r [2]byte
	rand.Read(r[:])
	id := binary.BigEndian.Uint16(r[:])
	// Setting AD in a query requests AD in the answer (RFC 6840, 5.7).
	b := dnsmessage.NewBuilder(nil, dnsmessage.Header{ID: id, RecursionDesired: true, AuthenticData: true})
	var opt dnsmessage.ResourceHeader
	err = errors.Join(
		b.StartQuestions(), b.Question(dnsmessage.Question{Name: n, Type: t, Class: dnsmessage.ClassINET}),
		b.StartAdditionals(), opt.SetEDNS0(udpSize, dnsmessage.RCodeSuccess, false), b.OPTResource(opt, dnsmessage.OPTResource{}))
	if err != nil {
		return nil, 0, err
	}
	q, err := b.Finish()
	return q, id, err
}
