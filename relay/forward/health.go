package forward

import (
	"slices"
	"time"
)

// Health is what is known about the servers of an upstream from the last
// connections to them.
type Health struct {
	// Servers are the servers that were connected to, or tried, since the start.
	Servers []ServerHealth `json:"servers,omitempty"`
	// Check is how recipients are checked: "call-ahead", "file", "any", or "none"
	// for servers that are found by MX.
	Check string `json:"check"`
	// Remembered is the number of recipients with a remembered answer.
	Remembered int `json:"remembered,omitempty"`
	// AcceptsAll are the domains for which the upstream accepted an address that
	// cannot exist.
	AcceptsAll []string `json:"accepts_all,omitempty"`
}

// ServerHealth is the state of one server.
type ServerHealth struct {
	Server string `json:"server"`
	// Down is since when connections to the server fail; zero while it answers.
	Down time.Time `json:"down,omitzero"`
	// Reason is the last failure.
	Reason string `json:"reason,omitempty"`
}

// Down reports since when no server that was tried can be reached; ok is false
// while one answers or none was tried.
func (h *Health) Down() (since time.Time, reason string, ok bool) {
	for i := range h.Servers {
		s := &h.Servers[i]
		if s.Down.IsZero() {
			return time.Time{}, "", false
		}
		if s.Down.After(since) {
			since, reason = s.Down, s.Reason
		}
	}
	return since, reason, len(h.Servers) > 0
}

// Health returns the state of the upstream.
func (u *Upstream) Health() Health {
	h := Health{Check: "none"}
	for p := range u.servers.known() {
		p.mu.Lock()
		s := ServerHealth{Server: p.server.name(), Down: p.down}
		tried := p.seen || !p.down.IsZero()
		if p.why != nil {
			s.Reason = plainError(p.why)
		}
		p.mu.Unlock()
		if tried {
			h.Servers = append(h.Servers, s)
		}
	}
	if u.cfg.MX {
		return h
	}
	switch _, isFile := u.cfg.RecipientsFile(); {
	case isFile:
		h.Check = "file"
	case u.cfg.Recipients == "any":
		h.Check = "any"
	default:
		h.Check = "call-ahead"
		h.Remembered = u.rcpts.memory.rcpts.Len()
		h.AcceptsAll = u.rcpts.memory.acceptingAll()
	}
	return h
}

// acceptingAll returns the domains of which every address was accepted.
func (m *memory) acceptingAll() (domains []string) {
	for _, name := range m.domains.Keys() {
		if v, ok := m.domains.Peek(name); ok && v.exists() {
			domains = append(domains, name)
		}
	}
	slices.Sort(domains)
	return domains
}
