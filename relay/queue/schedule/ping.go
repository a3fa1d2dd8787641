package schedule

import "time"

// An unreachable destination is pinged while mail is waiting for it, so that
// the mail is sent within seconds once the destination can be reached again.
// The interval is pingMin; for a domain it grows to pingSlow during a long
// outage. If the destination answers pings but accepts no mail, the interval
// doubles up to pingMax.
const (
	pingMin  = 5 * time.Second
	pingSlow = 30 * time.Second
	pingMax  = 15 * time.Minute
	// maxPinged is the maximum number of domains that are pinged at the same
	// time. The recovery of other domains is detected only by the scheduled
	// attempts.
	maxPinged = 200
)

// Ping asks the owner to check whether a destination can be reached, and to
// report the result with Pinged.
type Ping struct {
	Upstream, Destination string
	Domain                string // empty for a whole upstream
}

// pinging is the state of the pings to one destination, and their alarm.
type pinging struct {
	dest  *destination
	next  time.Time
	place int       // index in the heap of alarms
	since time.Time // when the destination was found to be unreachable; zero if not being pinged
	pause time.Duration
}

func (p *pinging) when() time.Time { return p.next }
func (p *pinging) at() *int        { return &p.place }

// wait returns the pause before the next ping.
func (p *pinging) wait(now time.Time) time.Duration {
	if p.dest.domain == "" {
		return p.pause
	}
	// Remote servers are pinged less often the longer they are down.
	return max(p.pause, min(now.Sub(p.since)/20, pingSlow))
}

// startPings starts pinging a destination, unless it is already being pinged.
func (s *dispatcher) startPings(d *destination, now time.Time) {
	p := &d.ping
	if !d.up.Pings || !p.since.IsZero() || d.domain != "" && s.pinged >= maxPinged {
		return
	}
	if d.domain != "" {
		s.pinged++
	}
	p.since, p.pause, p.next = now, pingMin, now.Add(pingMin)
	s.alarms.set(p)
}

// stopPings stops pinging a destination.
func (s *dispatcher) stopPings(d *destination) {
	if d.ping.since.IsZero() {
		return
	}
	if d.domain != "" {
		s.pinged--
	}
	s.alarms.clear(&d.ping)
	d.ping.since = time.Time{}
}

// pingDue pings a destination if mail is still waiting for it.
func (s *dispatcher) pingDue(d *destination) {
	if d.failures == 0 || len(d.jobs) == 0 || !d.up.Pings || !s.running {
		s.stopPings(d)
		return
	}
	s.effects.Ping = append(s.effects.Ping, Ping{Upstream: d.upName, Destination: d.key, Domain: d.domain})
}

// pingEnded records the answer to a ping.
func (s *dispatcher) pingEnded(key string, answers bool, now time.Time) {
	d := s.destinations[key]
	if d == nil || d.ping.since.IsZero() {
		return
	}
	p := &d.ping
	if answers {
		s.revive(key)
		p.pause = min(2*p.pause, pingMax)
	}
	p.next = now.Add(p.wait(now))
	s.alarms.set(p)
}
