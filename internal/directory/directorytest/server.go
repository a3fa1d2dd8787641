// Package directorytest provides an LDAP server for tests. It holds a few
// entries in memory, checks passwords, and evaluates the filters that package
// directory creates.
package directorytest

import (
	"crypto/tls"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"
)

// Entry is an entry of the server.
type Entry struct {
	DN         string
	Password   string
	Login      uint16 // the result of each login, unless it is 0
	Attributes map[string][]string
}

// Server is an LDAP server.
type Server struct {
	// Address is the server's host and port.
	Address string
	// TLS is used for STARTTLS; nil refuses it.
	TLS *tls.Config

	listener net.Listener
	mu       sync.Mutex
	entries  []Entry
	searches int
	binds    int
	flood    bool
	conns    map[net.Conn]bool
}

// Start starts a server on a loopback port.
func Start(t testing.TB, entries ...Entry) *Server {
	t.Helper()
	s := &Server{entries: entries, Address: "127.0.0.1:0"}
	s.Up(t)
	t.Cleanup(s.Down)
	return s
}

// URL returns the address for a directory block.
func (s *Server) URL() string { return "ldap://" + s.Address }

// Up starts the server again at the same port.
func (s *Server) Up(t testing.TB) {
	t.Helper()
	l, err := net.Listen("tcp", s.Address)
	if err != nil {
		t.Fatal(err)
	}
	s.listener, s.Address, s.conns = l, l.Addr().String(), map[net.Conn]bool{}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.conns[c] = true
			s.mu.Unlock()
			go s.serve(c)
		}
	}()
}

// Down stops the server and closes its connections.
func (s *Server) Down() {
	s.listener.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		c.Close()
	}
}

// Set replaces the entries.
func (s *Server) Set(entries ...Entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.entries = entries
}

// Flood makes the server answer each search with an endless value.
func (s *Server) Flood() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.flood = true
}

// Counts returns the number of searches and of logins so far.
func (s *Server) Counts() (searches, binds int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.searches, s.binds
}

func (s *Server) serve(c net.Conn) {
	defer c.Close()
	for {
		p, err := ber.ReadPacket(c)
		if err != nil || len(p.Children) < 2 {
			return
		}
		op := p.Children[1]
		switch op.Tag {
		case ldap.ApplicationBindRequest:
			s.reply(c, p, ldap.ApplicationBindResponse, s.bind(op))
		case ldap.ApplicationSearchRequest:
			s.search(c, p, op)
		case ldap.ApplicationExtendedRequest:
			if s.TLS == nil {
				s.reply(c, p, ldap.ApplicationExtendedResponse, ldap.LDAPResultProtocolError)
				continue
			}
			s.reply(c, p, ldap.ApplicationExtendedResponse, ldap.LDAPResultSuccess)
			c = tls.Server(c, s.TLS)
		default:
			return
		}
	}
}

func (s *Server) bind(op *ber.Packet) uint16 {
	dn, _ := op.Children[1].Value.(string)
	password := op.Children[2].Data.String()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.binds++
	for _, e := range s.entries {
		if strings.EqualFold(e.DN, dn) && e.Login != 0 {
			return e.Login
		}
		if strings.EqualFold(e.DN, dn) && e.Password != "" && e.Password == password {
			return ldap.LDAPResultSuccess
		}
	}
	return ldap.LDAPResultInvalidCredentials
}

func (s *Server) search(c net.Conn, p, op *ber.Packet) {
	base, _ := op.Children[0].Value.(string)
	scope, _ := op.Children[1].Value.(int64)
	limit, _ := op.Children[3].Value.(int64)
	s.mu.Lock()
	s.searches++
	entries, flood := slices.Clone(s.entries), s.flood
	s.mu.Unlock()
	if flood {
		header := []byte{0x30, 0x84, 0x7f, 0xff, 0xff, 0xff, 0x02, 0x84, 0x7f, 0xff, 0xff, 0xf0}
		for _, err := c.Write(header); err == nil; {
			_, err = c.Write(make([]byte, 1<<16))
		}
		return
	}
	n, result := int64(0), uint16(ldap.LDAPResultNoSuchObject)
	for _, e := range entries {
		under := strings.HasSuffix(strings.ToLower(e.DN), strings.ToLower(base))
		if scope == ldap.ScopeBaseObject && !strings.EqualFold(e.DN, base) || !under {
			continue
		}
		result = ldap.LDAPResultSuccess
		if !matches(e, op.Children[6]) {
			continue
		}
		if n++; limit > 0 && n > limit {
			result = ldap.LDAPResultSizeLimitExceeded
			break
		}
		list := ber.NewSequence("attributes")
		for name, values := range e.Attributes {
			set := ber.Encode(ber.ClassUniversal, ber.TypeConstructed, ber.TagSet, nil, "values")
			for _, v := range values {
				set.AppendChild(text(v))
			}
			one := ber.NewSequence("attribute")
			one.AppendChild(text(name))
			one.AppendChild(set)
			list.AppendChild(one)
		}
		send(c, p, ldap.ApplicationSearchResultEntry, text(e.DN), list)
	}
	s.reply(c, p, ldap.ApplicationSearchResultDone, result)
}

// matches evaluates a filter of equality, presence, and, or, and not.
func matches(e Entry, f *ber.Packet) bool {
	values := func(name string) (all []string) {
		for k, v := range e.Attributes {
			if strings.EqualFold(k, name) {
				all = append(all, v...)
			}
		}
		return all
	}
	switch f.Tag {
	case ldap.FilterAnd:
		return !slices.ContainsFunc(f.Children, func(c *ber.Packet) bool { return !matches(e, c) })
	case ldap.FilterOr:
		return slices.ContainsFunc(f.Children, func(c *ber.Packet) bool { return matches(e, c) })
	case ldap.FilterNot:
		return !matches(e, f.Children[0])
	case ldap.FilterPresent:
		return strings.EqualFold(f.Data.String(), "objectClass") || len(values(f.Data.String())) > 0
	case ldap.FilterEqualityMatch:
		name, _ := f.Children[0].Value.(string)
		want, _ := f.Children[1].Value.(string)
		return slices.ContainsFunc(values(name), func(v string) bool { return strings.EqualFold(v, want) })
	}
	return false
}

func text(s string) *ber.Packet {
	return ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, s, "")
}

// send answers the request p. A packet must be complete before it is appended to
// another one.
func send(c net.Conn, p *ber.Packet, tag ber.Tag, parts ...*ber.Packet) {
	op := ber.Encode(ber.ClassApplication, ber.TypeConstructed, tag, nil, "operation")
	for _, part := range parts {
		op.AppendChild(part)
	}
	out := ber.NewSequence("LDAPMessage")
	out.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagInteger, p.Children[0].Value, "message ID"))
	out.AppendChild(op)
	c.Write(out.Bytes())
}

func (s *Server) reply(c net.Conn, p *ber.Packet, tag ber.Tag, code uint16) {
	result := ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagEnumerated, int64(code), "result")
	send(c, p, tag, result, text(""), text(""))
}
