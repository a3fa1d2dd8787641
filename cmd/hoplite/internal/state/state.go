// Package state defines the reports of a running server to hoplite status and
// hoplite reload. They are sent as JSON; the package finds problems in them and
// prints them on a terminal.
//
// Package server fills in the reports; the commands print them.
package state

import (
	"fmt"
	"strings"
	"time"

	"hoplite/internal/conf"
	"hoplite/internal/directory"
	"hoplite/internal/outage"
	"hoplite/internal/users"
	"hoplite/relay/forward"
	"hoplite/relay/queue"
)

// Status is the state of a running server.
type Status struct {
	Version  string    `json:"version"`
	PID      int       `json:"pid"`
	Started  time.Time `json:"started"`
	UptimeS  int64     `json:"uptime_s"`
	Hostname string    `json:"hostname"`
	Config   string    `json:"config"`
	Data     string    `json:"data"`
	// Reload is the last reload, or nil if there was none.
	Reload *Reload `json:"reload,omitempty"`

	Listeners   []Listener   `json:"listeners"`
	Queue       []queue.Load `json:"queue"`
	Upstreams   []Upstream   `json:"upstreams"`
	Directories []Directory  `json:"directories,omitempty"`
	Accounts    []Accounts   `json:"accounts,omitempty"`
	// Aliases is the reason why the aliases file is not used as it is.
	Aliases      string        `json:"aliases,omitempty"`
	Certificates []Certificate `json:"certificates"`
	Blocks       []users.Block `json:"blocks"`
	Disk         Disk          `json:"disk"`
	// Problems lists the conditions that need attention.
	Problems []string `json:"problems"`
}

// Listener is one address that the server listens on.
type Listener struct {
	Name        string `json:"name"` // smtp "inbound"
	Address     string `json:"address"`
	TLS         string `json:"tls"` // starttls, implicit or off
	Connections int    `json:"connections"`
}

// Upstream is the state of one upstream.
type Upstream struct {
	Name  string `json:"name"`
	Mode  string `json:"mode"`
	State string `json:"state"` // up, down or unknown
	// Since is the time when connections began to fail; Reason is the error
	// from the last one.
	Since  time.Time `json:"since,omitzero"`
	Reason string    `json:"reason,omitempty"`
	forward.Health
}

// NewUpstream returns the state of an upstream from its health.
func NewUpstream(name, mode string, h forward.Health) Upstream {
	u := Upstream{Name: name, Mode: mode, State: "unknown", Health: h}
	if since, reason, down := h.Down(); down {
		u.State, u.Since, u.Reason = "down", since, reason
	} else if len(h.Servers) > 0 {
		u.State = "up"
	}
	return u
}

// Directory is the state of one LDAP directory.
type Directory struct {
	Name string `json:"name"`
	directory.Health
}

// Accounts is the state of a server that checks the passwords of a domain, or of
// the provider of its access tokens.
type Accounts struct {
	Domain string `json:"domain"`
	Login  string `json:"login,omitempty"`
	Issuer string `json:"issuer,omitempty"` // the provider, instead of Login
	outage.Outage
}

// Certificate is a certificate in use.
type Certificate struct {
	Names      []string  `json:"names"`
	Expires    time.Time `json:"expires"`
	DaysLeft   int       `json:"days_left"`
	SelfSigned bool      `json:"self_signed,omitempty"`
}

// Disk is the space on the file system of the data folder.
type Disk struct {
	Free    int64 `json:"free"`
	Reserve int64 `json:"reserve"` // free space below which new mail is deferred
}

// Reload is the outcome of a reload.
type Reload struct {
	At time.Time `json:"at"`
	// Error is the reason why the running configuration was kept. It is empty
	// after a success.
	Error string `json:"error,omitempty"`
	// Warnings are the warnings about the new configuration.
	Warnings []string `json:"warnings,omitempty"`
	// Shown are Warnings and Error as a terminal shows them, with the lines in
	// question. The server sends them; commands do not print them in JSON.
	Shown *Shown `json:"shown,omitempty"`
	// Changed are the blocks and attributes that differ from before; Restart are
	// those that have no effect until the server is restarted.
	Changed []string `json:"changed"`
	Restart []string `json:"restart,omitempty"`
}

// Shown are the texts of Reload for a terminal.
type Shown struct {
	Error    string   `json:"error,omitempty"`
	Warnings []string `json:"warnings,omitempty"`
}

// soon is how long before its end a certificate is a problem: automatic renewal
// should have replaced it by then.
const soon = 14

// Examine fills in Problems.
func (s *Status) Examine(now time.Time) {
	s.UptimeS = int64(now.Sub(s.Started) / time.Second)
	s.Problems = []string{}
	add := func(format string, args ...any) { s.Problems = append(s.Problems, fmt.Sprintf(format, args...)) }
	if s.Reload != nil && s.Reload.Error != "" {
		add("the last reload failed: the server runs with an older configuration than the file's")
	}
	if s.Aliases != "" {
		add("the aliases file has errors or cannot be read, so mail for some addresses may wait: %s", s.Aliases)
	}
	for i := range s.Upstreams {
		u := &s.Upstreams[i]
		if u.State == "down" {
			add("upstream %s is down for %s: %s", u.Name, Span(now.Sub(u.Since)), u.Reason)
		}
		if len(u.AcceptsAll) > 0 {
			add("upstream %s accepts every recipient of %s: refusals go to the postmaster; list the recipients in a file, recipients = \"file:NAME\"",
				u.Name, strings.Join(u.AcceptsAll, ", "))
		}
	}
	for i := range s.Directories {
		if d := &s.Directories[i]; !d.Since.IsZero() {
			add("directory %s cannot be asked for %s: %s", d.Name, Span(now.Sub(d.Since)), d.Reason)
		}
	}
	for i := range s.Accounts {
		if a := &s.Accounts[i]; !a.Since.IsZero() {
			what := "passwords"
			if a.Issuer != "" {
				what = "access tokens"
			}
			add("%s of %s cannot be checked for %s: %s", what, a.Domain, Span(now.Sub(a.Since)), a.Reason)
		}
	}
	for i := range s.Certificates {
		c := &s.Certificates[i]
		c.DaysLeft = int(c.Expires.Sub(now).Hours()) / 24
		switch {
		case now.After(c.Expires):
			add("the certificate for %s expired on %s", strings.Join(c.Names, ", "), c.Expires.Format(time.DateOnly))
		case c.DaysLeft < soon && !c.SelfSigned: // the server renews self-signed certificates
			add("the certificate for %s expires in %d days", strings.Join(c.Names, ", "), c.DaysLeft)
		}
	}
	if s.Disk.Free < s.Disk.Reserve {
		add("the disk is full: %s are free, and new mail is deferred below %s", space(s.Disk.Free), space(s.Disk.Reserve))
	}
}

// Span formats a duration in its two largest units.
func Span(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return conf.FormatDuration(d.Round(time.Hour))
	case d >= time.Hour:
		return conf.FormatDuration(d.Round(time.Minute))
	}
	return conf.FormatDuration(d.Round(time.Second))
}

// Offers holds the upstreams' extensions as known to a running server. They
// determine its own EHLO reply.
type Offers struct {
	Upstreams map[string]forward.Offer `json:"upstreams"`
}
