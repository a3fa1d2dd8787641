package forward

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"path/filepath"
	"time"

	"hoplite/internal/resolve"
	"hoplite/relay/forward/mtasts"
)

// network provides an upstream with look-ups, connections and connection pools.
type network struct {
	cfg      *Config
	dns      resolve.Resolver // nil: the system's
	dialer   *dialer
	policies Policies
}

func (n *network) newPool(s *server, need requirement) *pool {
	return newPool(s, need, n.cfg.Connections, n.cfg.MessagesPerConnection, n.cfg.KeepIdle)
}

// mayConnect reports whether a connection to an address found in DNS is
// allowed.
func (n *network) mayConnect(a netip.Addr) bool {
	if a.IsLoopback() || a.IsUnspecified() {
		return n.cfg.AllowLoopback
	}
	return n.dialer.usesFamily(a) && !a.IsMulticast() && !a.IsLinkLocalUnicast()
}

// newSTS returns the cache of MTA-STS policies, or nil if TLS is off.
func (n *network) newSTS(env Env) *mtasts.Cache {
	if n.cfg.TLS == "off" || n.dns == nil {
		return nil
	}
	path := ""
	if env.State != "" {
		path = filepath.Join(env.State, "mta-sts-"+url.PathEscape(n.cfg.Name)+".json")
	}
	transport := &http.Transport{DialContext: n.dialWeb, TLSClientConfig: env.TLS, MaxIdleConns: 10, IdleConnTimeout: time.Minute}
	return mtasts.New(n.dns, &http.Client{Transport: transport}, path)
}

// dialWeb connects to a web server. A remote domain chooses the server's name,
// so the address must not be on this machine.
func (n *network) dialWeb(ctx context.Context, proto, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	addrs, err := resolve.LookupHosts(ctx, n.dns, host)
	for _, a := range addrs {
		if !n.mayConnect(a) {
			continue
		}
		var c net.Conn
		if c, err = n.dialer.dial(ctx, proto, net.JoinHostPort(a.String(), port)); err == nil {
			return c, nil
		}
	}
	return nil, cmp.Or(err, error(&stageError{stage: "connect", host: host, err: errors.New("no usable address")}))
}
