package server

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"syscall"
	"time"

	"hoplite/mail"
	"hoplite/relay/forward/tlsresults"
)

// reportInterval is the time between two checks for TLS reports that are due.
const reportInterval = time.Hour

// reportTLS sends the TLS reports of each finished day until ctx ends.
func (r *runtime) reportTLS(ctx context.Context) {
	client := outside()
	for {
		if g := r.signing.Load(); g != nil && g.Config.TLSReports != nil {
			tlsresults.NewReporter(*g.Config.TLSReports, r.results, tlsresults.Env{
				Hostname: g.Config.Hostname, DNS: g.DNS, HTTP: client, Log: r.log, Send: r.sendReport,
			}).SendDue(ctx, time.Now())
		}
		select {
		case <-time.After(reportInterval):
		case <-ctx.Done():
			return
		}
	}
}

// sendReport queues a report.
func (r *runtime) sendReport(ctx context.Context, id string, to mail.Address, m *mail.Message) error {
	tx := mail.NewTransaction(mail.Client{}, "")
	tx.ID, tx.Hostname = id, r.signing.Load().Config.Hostname
	return r.sendOwn(ctx, tx, to, m)
}

// outside returns a client for addresses that remote domains choose. It does not
// connect to this machine and follows no redirects.
func outside() *http.Client {
	dialer := &net.Dialer{Timeout: 30 * time.Second, Control: func(_, address string, _ syscall.RawConn) error {
		ap, err := netip.ParseAddrPort(address)
		if err != nil {
			return err
		}
		if a := ap.Addr().Unmap(); a.IsLoopback() || a.IsUnspecified() || a.IsMulticast() || a.IsLinkLocalUnicast() {
			return fmt.Errorf("%s is not an address of another host", a)
		}
		return nil
	}}
	return &http.Client{
		Transport:     &http.Transport{DialContext: dialer.DialContext, TLSHandshakeTimeout: 30 * time.Second, DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}
