package listen

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"path/filepath"
	"slices"

	"hoplite/internal/conf"
)

// Config holds the settings of every listener. The blocks of servers embed it.
type Config struct {
	// The addresses to listen on: "127.0.0.1:2525", "[::1]:25", ":25" for every
	// address, "unix:lmtp.sock" for a socket file (under data), "systemd:NAME"
	// for a socket that systemd opens (FileDescriptorName=NAME).
	Listen []conf.Listen `hcl:"listen"`

	// The use of TLS: "starttls" lets clients switch to TLS, "implicit" uses
	// TLS from the first octet, "off" offers no TLS. The default depends on the
	// port: "implicit" on 465, 993, 995 and 443, otherwise "starttls".
	TLS string `hcl:"tls,optional" enum:"starttls|implicit|off|"`
	// The oldest TLS version accepted: "1.0", "1.1", "1.2" or "1.3". Below 1.2,
	// tls_legacy_until is required.
	TLSMin string `hcl:"tls_min,optional" enum:"1.0|1.1|1.2|1.3" default:"1.2"`
	// The cipher suites for TLS 1.2 and older, by their IANA names, for old
	// clients that support none of the safe ones. TLS 1.3 has suites of its
	// own.
	TLSSuites []string `hcl:"tls_suites,optional"`
	// The last day, as in "2027-06-30", on which tls_min and tls_suites may
	// weaken the safe defaults; from the next day on they are ignored. Each use
	// is logged.
	TLSLegacyUntil string `hcl:"tls_legacy_until,optional"`

	// Every connection begins with a PROXY header (version 1 or 2) that
	// contains the client's address. Any peer can claim any address, so list
	// the proxies in proxy_from, or make sure that only they can reach the
	// port.
	ProxyProtocol bool `hcl:"proxy_protocol,optional"`
	// The networks of the proxies; other connections are closed. Without it, every
	// peer is trusted as a proxy.
	ProxyFrom []netip.Prefix `hcl:"proxy_from,optional"`

	// The maximum number of open connections. With 0 only the limit of open
	// files applies, which all listeners share.
	MaxConnections int `hcl:"max_connections,optional"`
	// The maximum number of open connections from one IPv4 address or one IPv6
	// /64; 0 means no limit. Loopback, socket files, the networks in trusted,
	// relay_from, proxy_from and xclient_from, and IMAP clients that have logged
	// in are not counted.
	MaxPerAddress int `hcl:"max_per_address,optional" default:"50"`
	// The maximum number of open connections from one IPv4 /24 or one IPv6 /48;
	// 0 means no limit. The same clients are exempt as from max_per_address.
	MaxPerNetwork int `hcl:"max_per_network,optional" default:"200"`
}

// Check reports settings that contradict each other.
func (c *Config) Check() error {
	var errs []error
	if _, err := c.profile(); err != nil {
		errs = append(errs, conf.Field("tls_min", err))
	}
	if len(c.Listen) == 0 {
		errs = append(errs, conf.Fieldf("listen", "no address to listen on"))
	}
	if len(c.ProxyFrom) > 0 && !c.ProxyProtocol {
		errs = append(errs, conf.Fieldf("proxy_from", "has no effect without proxy_protocol = true"))
	}
	for _, limit := range []struct {
		name string
		n    int
	}{{"max_connections", c.MaxConnections}, {"max_per_address", c.MaxPerAddress}, {"max_per_network", c.MaxPerNetwork}} {
		if limit.n < 0 {
			errs = append(errs, conf.Fieldf(limit.name, "is below zero"))
		}
	}
	return errors.Join(errs...)
}

func (c *Config) profile() (Profile, error) {
	return ParseProfile(c.TLSMin, c.TLSSuites, c.TLSLegacyUntil)
}

// Mode returns the TLS mode of one of the addresses: tls if it is set,
// otherwise the mode that clients expect at the port.
func (c *Config) Mode(at conf.Listen) string {
	if c.TLS != "" {
		return c.TLS
	}
	if mode := expected(at); mode != "" {
		return mode
	}
	return "starttls"
}

// expected returns the mode that clients expect at the port of an address,
// "implicit" or "starttls", or "" if they expect neither. Ports are those of
// RFC 8314 and RFC 9110.
func expected(at conf.Listen) string {
	if at.Network != "tcp" {
		return ""
	}
	switch _, port, _ := net.SplitHostPort(at.Address); port {
	case "465", "993", "995", "443":
		return "implicit"
	case "25", "587", "143", "110":
		return "starttls"
	}
	return ""
}

// Disagrees reports whether tls is set to a mode that clients do not expect at
// the port of an address. Such clients hang or fail.
func (c *Config) Disagrees(at conf.Listen) bool {
	want := expected(at)
	switch c.TLS {
	case "implicit":
		return want == "starttls"
	case "starttls", "off":
		return want == "implicit"
	}
	return false
}

// Open opens the listeners of the block called name. The caller sets Log, Gate,
// Refuse and Exempt in opts; Open sets the rest from c. Socket paths are
// relative to data. certs may be nil for blocks with TLS off.
func (c *Config) Open(name string, s *Sockets, certs *Certs, data string, opts Options) ([]*Listener, error) {
	profile, err := c.profile()
	if err != nil {
		return nil, fmt.Errorf("listener %s: %w", name, err)
	}
	opts.Name = name
	opts.Limits = Limits{Total: c.MaxConnections, Address: c.MaxPerAddress, Network: c.MaxPerNetwork}
	opts.Proxy, opts.ProxyFrom = c.ProxyProtocol, c.ProxyFrom
	opts.Exempt = slices.Concat(opts.Exempt, c.ProxyFrom)
	if c.TLS != "off" && certs != nil {
		opts.TLS = NewTLS(certs, profile)
	}
	var all []*Listener
	for _, at := range c.Listen {
		if at.Network == "unix" && !filepath.IsAbs(at.Address) {
			at.Address = filepath.Join(data, at.Address)
		}
		opts.Implicit = c.Mode(at) == "implicit"
		socket, err := s.Listen(name, at.Network, at.Address)
		if err != nil {
			for _, l := range all {
				l.socket.Close()
			}
			return nil, fmt.Errorf("listener %s: %w%s", name, err, lowPortHint(at, err))
		}
		all = append(all, New(socket, opts))
	}
	return all, nil
}

// lowPortHint returns advice if err means that the process may not open a low
// port, otherwise "".
func lowPortHint(at conf.Listen, err error) string {
	if at.Network != "tcp" || !errors.Is(err, fs.ErrPermission) {
		return ""
	}
	return "; a port below 1024 needs the capability CAP_NET_BIND_SERVICE (in a systemd unit AmbientCapabilities=CAP_NET_BIND_SERVICE, " +
		"otherwise setcap cap_net_bind_service=+ep on the program), or a socket unit of systemd: listen = [\"systemd:NAME\"]"
}

// CertConfig is the certificate "NAME" { ... } block of relay.hcl. There may be
// several, for different names; the first is used for clients that send no
// server name.
type CertConfig struct {
	// The PEM file with the certificate and its chain, relative to data. It is read
	// again when it changes.
	Cert string `hcl:"cert" example:"tls/cert.pem"`
	// The PEM file with the private key, relative to data.
	Key string `hcl:"key" example:"tls/key.pem"`
}
