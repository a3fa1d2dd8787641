package imap

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"hoplite/imap/order"
	"hoplite/imap/wire"
)

// command is one row of the command table.
type command struct {
	run func(*session, *call) error
	// steady is set if message numbers must not change before the command is
	// complete. No EXPUNGE is sent while such a command runs (RFC 9051, 7.5.1).
	steady bool
	// numbered is set if the arguments or responses contain message numbers.
	// Such a command is refused after ENABLE UIDONLY.
	numbered bool
}

// The handler's type determines the states in which a command is valid: an
// account exists only after login, and a mailbox only after SELECT.

// anytime returns a command that is valid in every state.
func anytime(run func(*session, *call) error) command { return command{run: run} }

// beforeLogin returns a command that is valid in the not authenticated state.
func beforeLogin(run func(*session, *call) error) command {
	return command{run: func(s *session, c *call) error {
		if s.account != nil {
			return badf("Already logged in")
		}
		return run(s, c)
	}}
}

// afterLogin returns a command that is valid in the authenticated and selected
// states.
func afterLogin(run func(*account, *call) error) command {
	return command{run: func(s *session, c *call) error {
		if s.account == nil {
			return badf("Log in first")
		}
		return run(s.account, c)
	}}
}

// inMailbox returns a command that is valid in the selected state.
func inMailbox(run func(*mailbox, *call) error) command {
	return afterLogin(func(a *account, c *call) error {
		if a.selected == nil {
			return badf("No mailbox selected")
		}
		return run(a.selected, c)
	})
}

// byNumber returns a command for the selected state that uses message numbers,
// which must not change until it is complete.
func byNumber(run func(*mailbox, *call) error) command {
	c := numbered(run)
	c.steady = true
	return c
}

// numbered returns a command for the selected state that uses message numbers,
// which may change while it runs.
func numbered(run func(*mailbox, *call) error) command {
	c := inMailbox(run)
	c.numbered = true
	return c
}

// phase is a set of states of a connection.
type phase uint8

const (
	early  phase = 1 << iota // before login
	late                     // after login
	always = early | late
)

// extension is a capability together with the code that provides it. A server
// without the extension neither announces the capability nor accepts its
// commands and syntax.
type extension struct {
	name string // name in CAPABILITY
	// announced is the state in which the capability is announced; zero means
	// after login.
	announced phase
	// text, if set, returns the announcement for a session in place of name. If
	// it returns "", nothing is announced.
	text func(*session) string

	commands map[string]command
	uid      map[string]command // commands that may follow UID
	enable   func(*account)     // called by ENABLE
	items    map[wire.ItemKind]fetchItem
	keys     map[wire.KeyOp]searchKey
	status   map[string]statusItem
	sortKeys map[string]order.Compare
	threads  map[string]threader
	// grammar holds the syntax that the extension adds to other commands.
	grammar wire.Grammar
}

// dialect combines a server's extensions: everything that it announces and
// accepts.
type dialect struct {
	extensions []extension

	grammar  wire.Grammar
	commands map[string]command
	uid      map[string]command
	enable   map[string]enabling
	items    [wire.ItemKinds]fetchItem
	keys     [wire.KeyOps]searchKey
	status   map[string]statusItem
	sortKeys map[string]order.Compare
	threads  map[string]threader
}

// enabling is an extension that ENABLE can enable.
type enabling struct {
	name string // name in ENABLED
	run  func(*account)
}

func newDialect(extensions []extension) *dialect {
	d := &dialect{extensions: extensions, commands: map[string]command{}, uid: map[string]command{}, enable: map[string]enabling{},
		status: map[string]statusItem{}, sortKeys: map[string]order.Compare{}, threads: map[string]threader{}}
	for _, e := range extensions {
		d.grammar |= e.grammar
		maps.Copy(d.commands, e.commands)
		maps.Copy(d.uid, e.uid)
		maps.Copy(d.status, e.status)
		maps.Copy(d.sortKeys, e.sortKeys)
		maps.Copy(d.threads, e.threads)
		for k, item := range e.items {
			d.items[k] = item
		}
		for k, key := range e.keys {
			d.keys[k] = key
		}
		if e.enable != nil {
			d.enable[strings.ToUpper(e.name)] = enabling{e.name, e.enable}
		}
	}
	return d
}

// has reports whether the dialect includes an extension.
func (d *dialect) has(name string) bool {
	return slices.ContainsFunc(d.extensions, func(e extension) bool { return e.name == name })
}

// capabilities returns the capabilities available in the session's current
// state.
func (s *session) capabilities() string {
	now := early
	if s.account != nil {
		now = late
	}
	b := make([]byte, 0, 640)
	for i := range s.srv.dialect.extensions {
		e := &s.srv.dialect.extensions[i]
		if cmp.Or(e.announced, late)&now == 0 {
			continue
		}
		text := e.name
		if e.text != nil {
			text = e.text(s)
		}
		if text != "" {
			if len(b) > 0 {
				b = append(b, ' ')
			}
			b = append(b, text...)
		}
	}
	return string(b)
}

// find reads the tag and name of a command and looks up the command.
func (d *dialect) find(c *call) (command, error) {
	if !c.readTag() {
		return command{}, badf("Missing tag")
	}
	c.args.SP()
	if c.name = c.args.Command(); c.name == "" {
		return command{}, badf("Missing command")
	}
	table := d.commands
	if c.name == "UID" {
		c.uid = true
		c.args.SP()
		c.name = c.args.Command()
		table = d.uid
	}
	cmd, known := table[c.name]
	if !known {
		return command{}, badf("Unknown command")
	}
	return cmd, nil
}
