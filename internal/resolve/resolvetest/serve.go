package resolvetest

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"hoplite/internal/resolve"
)

// Serve answers over UDP and TCP on a port of 127.0.0.1 until ctx is done, so
// that whole servers can be tested against a zone. Answers longer than 512
// octets are truncated over UDP.
func (z *Zone) Serve(ctx context.Context) (netip.AddrPort, error) {
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return netip.AddrPort{}, err
	}
	at := tcp.Addr().(*net.TCPAddr).AddrPort()
	udp, err := net.ListenPacket("udp", at.String())
	if err != nil {
		return netip.AddrPort{}, errors.Join(err, tcp.Close())
	}
	context.AfterFunc(ctx, func() {
		tcp.Close()
		udp.Close()
	})
	go z.serveUDP(ctx, udp)
	go z.serveTCP(ctx, tcp)
	return at, nil
}

func (z *Zone) serveUDP(ctx context.Context, conn net.PacketConn) {
	buf := make([]byte, 1500)
	for {
		n, from, err := conn.ReadFrom(buf)
		if err != nil {
			return
		}
		query := append([]byte(nil), buf[:n]...)
		go func() {
			if out := z.Answer(ctx, query, 512); out != nil {
				conn.WriteTo(out, from)
			}
		}()
	}
}

func (z *Zone) serveTCP(ctx context.Context, l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			conn.SetDeadline(time.Now().Add(10 * time.Second))
			var size [2]byte
			if _, err := io.ReadFull(conn, size[:]); err != nil {
				return
			}
			query := make([]byte, binary.BigEndian.Uint16(size[:]))
			if _, err := io.ReadFull(conn, query); err != nil {
				return
			}
			if out := z.Answer(ctx, query, 65535); out != nil {
				conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(out))), out...))
			}
		}()
	}
}

// Answer returns the reply to a query, or nil if the message is not a query.
func (z *Zone) Answer(ctx context.Context, query []byte, limit int) []byte {
	var m dnsmessage.Message
	if m.Unpack(query) != nil || len(m.Questions) != 1 {
		return nil
	}
	q := m.Questions[0]
	reply := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: m.ID, Response: true, RecursionAvailable: true, AuthenticData: z.Authentic},
		Questions: m.Questions,
	}
	a, err := z.Lookup(ctx, plainHost(q.Name.String()), q.Type)
	if e := (*resolve.Error)(nil); errors.As(err, &e) {
		switch {
		case e.Temporary:
			reply.RCode = dnsmessage.RCodeServerFailure
		case e.NoDomain:
			reply.RCode = dnsmessage.RCodeNameError
		}
	}
	owner := q.Name
	if err == nil && a.Name != plainHost(q.Name.String()) {
		if n, e := dnsmessage.NewName(a.Name + "."); e == nil {
			reply.Answers = append(reply.Answers, dnsmessage.Resource{
				Header: dnsmessage.ResourceHeader{Name: owner, Class: dnsmessage.ClassINET, TTL: 300},
				Body:   &dnsmessage.CNAMEResource{CNAME: n},
			})
			owner = n
		}
	}
	for _, r := range a.Records {
		reply.Answers = append(reply.Answers, dnsmessage.Resource{
			Header: dnsmessage.ResourceHeader{Name: owner, Class: dnsmessage.ClassINET, TTL: uint32(a.TTL / time.Second)},
			Body:   body(r, q.Type),
		})
	}
	out, err := reply.Pack()
	if err != nil {
		return nil
	}
	if len(out) > limit {
		reply.Truncated, reply.Answers = true, nil
		out, _ = reply.Pack()
	}
	return out
}

// body converts a record.
func body(r resolve.Record, t resolve.Type) dnsmessage.ResourceBody {
	name, _ := dnsmessage.NewName(r.Host + ".") // packing fails if the name is invalid
	switch t {
	case resolve.A:
		return &dnsmessage.AResource{A: r.Addr.As4()}
	case resolve.AAAA:
		return &dnsmessage.AAAAResource{AAAA: r.Addr.As16()}
	case resolve.MX:
		return &dnsmessage.MXResource{Pref: r.Pref, MX: name}
	case resolve.PTR:
		return &dnsmessage.PTRResource{PTR: name}
	case resolve.NS:
		return &dnsmessage.NSResource{NS: name}
	case resolve.TXT:
		txt := &dnsmessage.TXTResource{}
		for s := r.Text; s != "" || txt.TXT == nil; {
			n := min(len(s), 255)
			txt.TXT, s = append(txt.TXT, s[:n]), s[n:]
		}
		return txt
	}
	return &dnsmessage.UnknownResource{Type: t, Data: r.Data}
}
