package server

import (
	"context"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"slices"
	"sync"

	"hoplite/cmd/hoplite/internal/assembly"
	"hoplite/cmd/hoplite/internal/check"
	"hoplite/cmd/hoplite/internal/config"
	"hoplite/internal/conf"
	"hoplite/internal/listen"
	"hoplite/mail/safe"
	"hoplite/maildrop"
	"hoplite/relay"
	"hoplite/relay/queue"
	"hoplite/relay/queue/schedule"
)

// serving is a generation that serves clients. Its life cycle is newServing,
// open, drain, close, releaseStores.
type serving struct {
	*assembly.Generation
	runtime *runtime
	version string

	certs    *listen.Certs
	issuer   *issuance // manager of the acme block; nil if there is none
	leased   []string  // locations of the stores
	services []service

	listeners     []openListener
	metricsAt     net.Addr // nil if there is no metrics block
	stopAccepting context.CancelFunc
	accepting     sync.WaitGroup
}

// openListener is one address that a service listens on.
type openListener struct {
	*listen.Listener
	title string // smtp "inbound"
	tls   string // starttls, implicit or off
}

// newServing creates everything described by a configuration, without
// listening.
func newServing(rt *runtime, cfg *config.Config, diags *conf.Diagnostics, version string) (*serving, error) {
	check.Examine(cfg, diags)
	if err := diags.Err(); err != nil {
		return nil, err
	}
	for _, d := range diags.Tolerated() {
		rt.log.Error().Str("file", d.Where.Filename).Int("line", d.Where.Start.Line).Str("mistake", safe.Log(d.Summary)).
			Msg("mistake in the aliases; mail to these addresses is refused or waits, everything else works")
	}
	s := &serving{Generation: assembly.New(cfg, diags, rt.log), runtime: rt, version: version, stopAccepting: func() {}}
	if cfg.TLSReports != nil {
		s.Results = rt.results
	}
	for _, step := range []func() error{
		s.OpenDNS, s.OpenDirectories,
		func() error { return s.OpenDirectory(rt.directory.Load(), rt.throttle, rt.srs) },
		s.openCerts, s.leaseStores, s.openUpstreams, s.BuildChains, s.addServices, s.Err,
	} {
		if err := step(); err != nil {
			s.releaseStores()
			return nil, err
		}
	}
	return s, nil
}

// leaseStores adds the maildrops.
func (s *serving) leaseStores() error {
	for _, c := range s.Config.Maildrop {
		path := maildrop.Location(*c, s.Config.Data)
		store, err := s.runtime.stores.lease(path, func() (*maildrop.Store, error) {
			return maildrop.Open(*c, maildrop.Env{
				Data: s.Config.Data, Log: s.Log.With().Str("hop", c.Name).Logger(), Account: s.MailboxOf,
				Handles: s.runtime.handles,
			})
		})
		if err != nil {
			return fmt.Errorf("maildrop %q: %w", c.Name, err)
		}
		s.leased = append(s.leased, path)
		s.AddStore(c.Name, store, store)
	}
	return nil
}

// configureStores applies this generation's settings to the stores, which it
// may share with the previous one.
func (s *serving) configureStores() {
	for _, c := range s.Config.Maildrop {
		if err := s.Stores()[c.Name].Configure(*c, s.MailboxOf); err != nil {
			s.Log.Error().Err(err).Str("maildrop", c.Name).Msg("settings not applied")
		}
	}
}

// releaseStores ends the leases when no session uses the stores any more.
func (s *serving) releaseStores() {
	for _, path := range s.leased {
		if err := s.runtime.stores.release(path); err != nil {
			s.Log.Error().Err(err).Msg("release maildrop")
		}
	}
	s.leased = nil
}

// openUpstreams adds the upstreams, which routes reach through the queue.
func (s *serving) openUpstreams() error {
	for _, c := range s.Config.Upstream {
		up, err := s.NewUpstream(c, filepath.Join(s.Config.Data, "state"), s.Log.With().Str("hop", c.Name).Logger())
		if err != nil {
			return err
		}
		if c.Mode == "queue" || c.MX {
			s.AddUpstream(c.Name, up, s.runtime.queue.Hop(c.Name))
		} else {
			s.AddUpstream(c.Name, up, s.runtime.queue.Direct(c.Name, up.Inline(), c.Mode == "auto"))
		}
	}
	s.LinkFallbacks()
	return nil
}

// attachQueue is called when this generation becomes the current one. It adds
// the generation's upstreams to the queue and removes those that only the
// previous generation had.
func (s *serving) attachQueue(previous *serving) {
	q := s.runtime.queue
	s.runtime.directory.Store(s.Directory)
	s.runtime.signing.Store(s)
	if previous != nil {
		q.Change(s.Config.QueueSettings())
	}
	for _, c := range s.Config.Upstream {
		up := s.Upstreams[c.Name]
		to := queue.Upstream{Name: c.Name, Hop: up, Check: up.Check, AcceptsAll: up.AcceptsAll, Unchecked: c.MX || c.Recipients == "any", PerDomain: c.MX, Ping: up.Ping, Policy: schedule.Policy{
			RetryMin: c.FirstRetry, RetryMax: c.MaxRetry, Lifetime: c.GiveUp,
			DelayWarning: c.DelayedAfter, Concurrency: c.Connections,
		}}
		q.Add(to)
	}
	for name, store := range s.Stores() {
		q.Add(queue.Upstream{Name: name, Hop: store, Policy: schedule.DefaultPolicy})
	}
	q.Add(queue.Upstream{Name: queue.Router, Hop: s.router(), Policy: schedule.DefaultPolicy})
	if previous == nil {
		return
	}
	for name := range previous.Upstreams {
		if !s.HasHop(name) {
			q.Remove(name)
		}
	}
	for name := range previous.Stores() {
		if !s.HasHop(name) {
			q.Remove(name)
		}
	}
}

// router returns the hop for delivery reports, and for queued mail whose
// upstream no longer exists.
func (s *serving) router() *relay.Router {
	var chains []*relay.Chain
	for _, c := range s.Config.Chain {
		chains = append(chains, s.Chains[c.Name])
	}
	return relay.NewRouter(s.Directory, chains)
}

// open starts listening and prints each address to out.
func (s *serving) open(out io.Writer) error {
	ctx, cancel := context.WithCancel(context.Background())
	s.stopAccepting = cancel
	if err := s.openMetrics(ctx, out); err != nil {
		cancel()
		return err
	}
	for _, svc := range s.services {
		opened, err := svc.cfg.Open(svc.name, s.runtime.sockets, s.certs, s.Config.Data, listen.Options{Log: s.Log, Gate: s.runtime.gate, Readers: svc.readers, Refuse: svc.refuse, Exempt: slices.Concat(s.Config.Trusted, svc.exempt)})
		if err != nil {
			cancel()
			return err
		}
		for i, l := range opened {
			fmt.Fprintln(out, "listening", svc.name, address(l.Addr()))
			s.listeners = append(s.listeners, openListener{l, svc.title, svc.tls(svc.cfg.Listen[i])})
			s.accepting.Go(func() {
				// Sessions may continue after accepting has stopped; close ends
				// them.
				handle := func(c *listen.Conn) { svc.handle(context.WithoutCancel(ctx), c) }
				if err := l.Run(ctx, handle); err != nil {
					s.Log.Error().Err(err).Str("listener", svc.name).Msg("listener")
				}
			})
		}
	}
	return nil
}

func address(a net.Addr) string {
	if a.Network() == "unix" {
		return "unix:" + a.String()
	}
	return a.String()
}

// drain stops accepting and asks the sessions to end.
func (s *serving) drain() {
	s.stopAccepting()
	s.accepting.Wait()
	for _, svc := range s.services {
		svc.drain()
	}
}

// close stops accepting, waits for the sessions until ctx ends, and closes the
// services and upstreams.
func (s *serving) close(ctx context.Context) {
	s.stopAccepting()
	s.accepting.Wait()
	cut := 0
	for _, l := range s.listeners {
		cut += l.Drain(ctx)
	}
	for _, svc := range s.services {
		svc.close()
	}
	for _, up := range s.Upstreams {
		up.Close()
	}
	for _, d := range s.Directories {
		d.Close()
	}
	if cut > 0 {
		s.Log.Warn().Int("connections", cut).Msg("connections closed before their sessions ended")
	}
}
