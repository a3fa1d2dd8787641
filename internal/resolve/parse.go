package resolve

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// maxRecords is the maximum number of records read from an answer.
const maxRecords = 500

var (
	errStray     = errors.New("datagram answers another query")
	errTruncated = errors.New("answer truncated")
)

// parseAnswer parses the answer to a query. In an Answer without records, Name
// is the target of a CNAME that the server did not follow.
func parseAnswer(msg []byte, id uint16, name string, t Type) (Answer, error) {
	var p dnsmessage.Parser
	h, err := p.Start(msg)
	if err != nil || h.ID != id || !h.Response {
		return Answer{}, errStray
	}
	q, err := p.Question()
	if err != nil || q.Type != t || q.Class != dnsmessage.ClassINET || host(q.Name) != name {
		return Answer{}, errStray
	}
	if err := p.SkipAllQuestions(); err != nil {
		return Answer{}, err
	}
	fail := &Error{Name: name, Type: t}
	switch {
	case h.Truncated:
		return Answer{}, errTruncated
	case h.RCode == dnsmessage.RCodeNameError:
		fail.NoDomain = true
	case h.RCode != dnsmessage.RCodeSuccess:
		return Answer{}, fmt.Errorf("server says %s", strings.TrimPrefix(h.RCode.String(), "RCode"))
	}
	all, err := readAnswers(&p)
	if err != nil {
		return Answer{}, err
	}
	a := follow(all, name, t)
	a.Authentic = h.AuthenticData
	switch {
	case len(a.Records) > 0, a.Name != name && !fail.NoDomain:
		return a, nil
	}
	fail.ttl = negativeTTL(&p)
	return Answer{}, fail
}

// owned is a record with its owner name.
type owned struct {
	owner string
	typ   Type
	ttl   time.Duration
	Record
}

func readAnswers(p *dnsmessage.Parser) ([]owned, error) {
	var all []owned
	for len(all) < maxRecords {
		h, err := p.AnswerHeader()
		if err == dnsmessage.ErrSectionDone {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		o := owned{owner: host(h.Name), typ: h.Type, ttl: seconds(h.TTL)}
		if h.Class != dnsmessage.ClassINET {
			err = p.SkipAnswer()
			o.typ = 0
		} else {
			o.Record, err = readRecord(p, h.Type)
		}
		if err != nil {
			return nil, err
		}
		all = append(all, o)
	}
	return all, p.SkipAllAnswers()
}

func readRecord(p *dnsmessage.Parser, t Type) (r Record, err error) {
	switch t {
	case A:
		b, e := p.AResource()
		r.Addr, err = netip.AddrFrom4(b.A), e
	case AAAA:
		b, e := p.AAAAResource()
		r.Addr, err = netip.AddrFrom16(b.AAAA), e
	case MX:
		b, e := p.MXResource()
		r.Pref, r.Host, err = b.Pref, host(b.MX), e
	case PTR:
		b, e := p.PTRResource()
		r.Host, err = host(b.PTR), e
	case NS:
		b, e := p.NSResource()
		r.Host, err = host(b.NS), e
	case dnsmessage.TypeCNAME:
		b, e := p.CNAMEResource()
		r.Host, err = host(b.CNAME), e
	case TXT:
		b, e := p.TXTResource()
		r.Text, err = strings.Join(b.TXT, ""), e
	case TLSA:
		b, e := p.UnknownResource()
		r.Data, err = b.Data, e
	default:
		err = p.SkipAnswer()
	}
	return r, err
}

// follow follows the chain of CNAMEs starting at name within the answer and
// returns the records at its end. Records with other names are ignored.
func follow(all []owned, name string, t Type) Answer {
	a := Answer{Name: name, TTL: math.MaxInt64}
chain:
	for range maxChain {
		for _, o := range all {
			if o.owner == a.Name && o.typ == t {
				a.Records = append(a.Records, o.Record)
				a.TTL = min(a.TTL, o.ttl)
			}
		}
		if len(a.Records) > 0 {
			return a
		}
		for _, o := range all {
			if o.owner == a.Name && o.typ == dnsmessage.TypeCNAME {
				a.Name = o.Host
				a.TTL = min(a.TTL, o.ttl)
				continue chain
			}
		}
		break
	}
	return a
}

// negativeTTL returns the time for which a negative answer may be cached, from
// the SOA record (RFC 2308, 5).
func negativeTTL(p *dnsmessage.Parser) time.Duration {
	for range maxRecords {
		h, err := p.AuthorityHeader()
		if err != nil {
			return 0
		}
		if h.Type == dnsmessage.TypeSOA {
			soa, err := p.SOAResource()
			if err != nil {
				return 0
			}
			return min(seconds(h.TTL), seconds(soa.MinTTL))
		}
		if p.SkipAuthority() != nil {
			return 0
		}
	}
	return 0
}

// seconds converts a TTL. A TTL with the top bit set is treated as zero (RFC
// 2181, 8).
func seconds(ttl uint32) time.Duration {
	if ttl > math.MaxInt32 {
		return 0
	}
	return time.Duration(ttl) * time.Second
}

func host(n dnsmessage.Name) string {
	return strings.ToLower(strings.TrimSuffix(n.String(), "."))
}
