package acme

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/libdns/libdns"
	"github.com/miekg/dns"
	"go.uber.org/zap"

	"hoplite/mail/safe"
)

// solver returns the solver for dns-01.
func (d *DNSConfig) solver(log *zap.Logger) *certmagic.DNS01Solver {
	var p certmagic.DNSProvider = &updater{d}
	if d.Program != "" {
		p = &program{d.Program}
	}
	s := &certmagic.DNS01Solver{DNSManager: certmagic.DNSManager{DNSProvider: p, TTL: time.Minute, Logger: log}}
	if d.Server != "" {
		s.Resolvers = []string{d.Server} // sees the new record immediately
	}
	return s
}

// updater publishes records with dynamic updates (RFC 2136).
type updater struct{ cfg *DNSConfig }

// updateTimeout is the time limit for one update.
const updateTimeout = 30 * time.Second

func (u *updater) update(ctx context.Context, zone string, change func(*dns.Msg)) error {
	m := new(dns.Msg)
	m.SetUpdate(dns.Fqdn(zone))
	change(m)
	c := &dns.Client{Net: "tcp", Timeout: updateTimeout}
	if u.cfg.Key != "" {
		key := dns.Fqdn(u.cfg.Key)
		c.TsigSecret = map[string]string{key: string(u.cfg.Secret)}
		m.SetTsig(key, dns.Fqdn(u.cfg.Algorithm), 300, time.Now().Unix())
	}
	answer, _, err := c.ExchangeContext(ctx, m, u.cfg.Server)
	if err != nil {
		return fmt.Errorf("update of zone %s at %s: %w", zone, u.cfg.Server, err)
	}
	if answer.Rcode != dns.RcodeSuccess {
		return fmt.Errorf("update of zone %s at %s was refused: %s", zone, u.cfg.Server, dns.RcodeToString[answer.Rcode])
	}
	return nil
}

// AppendRecords adds records.
func (u *updater) AppendRecords(ctx context.Context, zone string, records []libdns.Record) ([]libdns.Record, error) {
	rrs, err := wire(zone, records)
	if err != nil {
		return nil, err
	}
	return records, u.update(ctx, zone, func(m *dns.Msg) { m.Insert(rrs) })
}

// DeleteRecords removes records.
func (u *updater) DeleteRecords(ctx context.Context, zone string, records []libdns.Record) ([]libdns.Record, error) {
	rrs, err := wire(zone, records)
	if err != nil {
		return nil, err
	}
	return records, u.update(ctx, zone, func(m *dns.Msg) { m.Remove(rrs) })
}

// wire converts records to the types of package dns.
func wire(zone string, records []libdns.Record) ([]dns.RR, error) {
	var list []dns.RR
	for _, r := range records {
		rr := r.RR()
		if rr.Type != "TXT" {
			return nil, fmt.Errorf("a %s record cannot be published", rr.Type)
		}
		list = append(list, &dns.TXT{
			Hdr: dns.RR_Header{Name: dns.Fqdn(libdns.AbsoluteName(rr.Name, zone)), Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: uint32(rr.TTL.Seconds())},
			Txt: []string{rr.Data},
		})
	}
	return list, nil
}

// program publishes records by running an external program.
type program struct{ path string }

// programTimeout is the time limit for one run of the program.
const programTimeout = 2 * time.Minute

func (p *program) run(ctx context.Context, action, zone string, records []libdns.Record) ([]libdns.Record, error) {
	for _, r := range records {
		rr := r.RR()
		ctx, cancel := context.WithTimeout(ctx, programTimeout)
		out, err := exec.CommandContext(ctx, p.path, action, dns.Fqdn(libdns.AbsoluteName(rr.Name, zone)), rr.Data).CombinedOutput()
		cancel()
		if err != nil {
			return nil, fmt.Errorf("%s %s: %w", p.path, action, errors.Join(err, errors.New(safe.Line(strings.TrimSpace(string(out))))))
		}
	}
	return records, nil
}

// AppendRecords runs the program for each record.
func (p *program) AppendRecords(ctx context.Context, zone string, records []libdns.Record) ([]libdns.Record, error) {
	return p.run(ctx, "present", zone, records)
}

// DeleteRecords runs the program for each record.
func (p *program) DeleteRecords(ctx context.Context, zone string, records []libdns.Record) ([]libdns.Record, error) {
	return p.run(ctx, "cleanup", zone, records)
}
