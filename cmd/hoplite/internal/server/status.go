package server

import (
	"os"
	"time"

	"hoplite/cmd/hoplite/internal/state"
	"hoplite/internal/users"
	"hoplite/mail/safe"
	"hoplite/relay/forward"
	"hoplite/relay/queue"
)

// status returns the state of the server.
func (s *Server) status() state.Status {
	cfg := s.current.Config
	now := state.Status{
		Version: s.Version, PID: os.Getpid(), Started: s.started, Hostname: cfg.Hostname, Config: s.File, Data: cfg.Data,
		Reload: s.lastReload, Listeners: s.current.openListeners(), Queue: s.runtime.queue.Loads(),
		Upstreams: []state.Upstream{}, Certificates: []state.Certificate{}, Blocks: s.runtime.throttle.Blocks(),
		Disk: state.Disk{Reserve: int64(cfg.Queue.Reserve)},
	}
	for _, c := range cfg.Upstream {
		now.Upstreams = append(now.Upstreams, state.NewUpstream(c.Name, c.Mode, s.current.Upstreams[c.Name].Health()))
	}
	for _, c := range cfg.Directory {
		now.Directories = append(now.Directories, state.Directory{Name: c.Name, Health: s.current.Directories[c.Name].Health()})
	}
	for _, c := range cfg.Accounts {
		a := s.current.Accounts.Authorities()[c.Name]
		if c.Login != "" {
			now.Accounts = append(now.Accounts, state.Accounts{Domain: c.Name, Login: c.Login, Outage: a.Outage()})
		}
		if c.OAuth != nil {
			now.Accounts = append(now.Accounts, state.Accounts{Domain: c.Name, Issuer: c.OAuth.Issuer, Outage: a.Tokens().Outage()})
		}
	}
	for _, leaf := range s.current.certs.Leaves() {
		c := state.Certificate{Names: leaf.DNSNames, Expires: leaf.NotAfter, SelfSigned: len(cfg.ServerCertificates()) == 0}
		if len(c.Names) == 0 {
			c.Names = []string{leaf.Subject.CommonName}
		}
		now.Certificates = append(now.Certificates, c)
	}
	if free, err := queue.FreeSpace(cfg.Data); err == nil {
		now.Disk.Free = free
	}
	if now.Blocks == nil {
		now.Blocks = []users.Block{}
	}
	if err := s.current.Directory.AliasesErr(); err != nil {
		now.Aliases = safe.Line(err.Error())
	}
	now.Examine(time.Now())
	return now
}

// openListeners returns the addresses on which the generation is listening.
func (s *serving) openListeners() []state.Listener {
	list := []state.Listener{}
	for _, l := range s.listeners {
		list = append(list, state.Listener{Name: l.title, Address: address(l.Addr()), TLS: l.tls, Connections: l.Connections()})
	}
	if s.metricsAt != nil {
		list = append(list, state.Listener{Name: "metrics", Address: address(s.metricsAt), TLS: "off"})
	}
	return list
}

// offers returns the known extensions of the upstreams.
func (s *serving) offers() state.Offers {
	known := state.Offers{Upstreams: map[string]forward.Offer{}}
	for name, up := range s.Upstreams {
		known.Upstreams[name] = up.Offer()
	}
	return known
}
