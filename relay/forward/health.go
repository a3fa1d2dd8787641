package forward

import (
	"slices"
	"time"
)

// Health is the state of an upstream's servers, based on the most recent
// connections to them.
type Health struct {
	// Servers lists the servers to which connections were made or attempted
	// since the start.
	Servers []ServerHealth `json:"servers,omitempty"`
	// Check is the method for checking recipients: "call-ahead", "file",
	// "directory", "any", or "none" for servers found by MX.
	Check string `json:"check"`
	// Remembered is the number of recipients with a cached answer.
	Remembered int `json:"remembered,omitempty"`
	// AcceptsAll lists the domains for which the upstream accepted a
	// nonexistent address.
	AcceptsAll []string `json:"accepts_all,omitempty"`
}

// ServerHealth is the state of one server.
type ServerHealth struct {
	Server string `json:"server"`
	// Down is the time since which connections to the server have failed. It is
	// zero while the server answers.
	Down time.Time `json:"down,omitzero"`
	// Reason is the last failure.
	Reason string `json:"reason,omitempty"`
}

// Down returns the time since which none of the tried servers could be reached.
// ok is false if one answers or none was tried.
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
	_, isFile := u.cfg.RecipientsFile()
	_, isDirectory := u.cfg.RecipientsDirectory()
	switch {
	case isFile:
		h.Check = "file"
	case isDirectory:
		h.Check = "directory"
	case u.cfg.Recipients == "any":
		h.Check = "any"
	default:
		h.Check = "call-ahead"
		h.Remembered = u.rcpts.memory.rcpts.Len()
		h.AcceptsAll = u.rcpts.memory.acceptingAll()
	}
	return h
}

// acceptingAll returns the domains for which every address was accepted.
func (m *memory) acceptingAll() (domains []string) {
	for _, name := range m.domains.Keys() {
		if v, ok := m.domains.Peek(name); ok && v.exists() {
			domains = append(domains, name)
		}
	}
	slices.Sort(domains)
	return domains
}
