package sieve

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"hoplite/mail"
)

// Environment is what a script can learn besides the message itself.
type Environment struct {
	From mail.Address // the reverse path
	To   mail.Address // the recipient, after aliases
	Orig mail.Address // the recipient as the client gave it
	User string       // the authenticated sender, or ""

	Now time.Time // in the time zone of the recipient

	Host, Domain         string // the name of this server, and its domain
	RemoteHost, RemoteIP string // the client
	Phase                string // "pre", "during" or "post" (RFC 5183); "during" if empty

	// Mailboxes answers questions about the recipient's folders. Nil has none.
	Mailboxes Mailboxes
	// Seen reports whether an id was remembered by an earlier run's
	// Result.Remember (RFC 7352). Nil remembers none.
	Seen func(id string) bool
}

// Mailboxes is what scripts may ask about folders. Names are UTF-8, with the
// server's hierarchy separator.
type Mailboxes interface {
	// Exists reports whether mail can be filed into the folder.
	Exists(name string) bool
	// Special returns the folder with a special use such as \Junk (RFC 6154).
	Special(use string) (name string, ok bool)
}

// Result is the outcome of running scripts on a message.
type Result struct {
	// Actions are to be carried out in this order.
	Actions []Action
	// Remember lists the ids of duplicate tests, to be stored once the actions
	// have been carried out.
	Remember []Remembered
	// Err is the error that ended the run. The only action is then to keep the
	// message.
	Err error
}

// Remembered is an id that a later duplicate test should find (RFC 7352).
type Remembered struct {
	ID  string
	For time.Duration
	// Renew extends the time of an id that is already stored.
	Renew bool
}

// Run runs scripts one after the other on a message: those of the site before
// and after the user's. The next one runs only while the message is to be kept.
func Run(scripts []*Script, msg *mail.Message, env *Environment) Result {
	r := &run{msg: newMessage(msg), env: env, globals: make(map[string]string)}
	if r.env.Mailboxes == nil {
		e := *env
		e.Mailboxes = noMailboxes{}
		r.env = &e
	}
	if err := r.all(scripts); err != nil {
		return Result{Actions: []Action{{Kind: Keep}}, Err: err}
	}
	return Result{Actions: r.actions, Remember: r.remember}
}

type noMailboxes struct{}

func (noMailboxes) Exists(name string) bool       { return strings.EqualFold(name, "INBOX") }
func (noMailboxes) Special(string) (string, bool) { return "", false }

// run is the state of one run.
type run struct {
	msg *message
	env *Environment

	script  *Script           // the one being run
	vars    map[string]string // its variables
	shared  map[string]bool   // its variables that are global
	globals map[string]string
	match   []string // the match variables
	flags   []string // the internal flag variable (RFC 5232)
	once    map[*Script]bool

	actions   []Action
	cancelled bool // the implicit keep is cancelled
	kept      bool // keep was executed
	remember  []Remembered
	line      int
	steps     int
	work      int
}

// flow is what happens after a command.
type flow uint8

const (
	goOn  flow = iota
	leave      // return: end the included script
	stop       // end the script
)

// errTooMuch ends a run that compares too much text.
var errTooMuch = errors.New("the script takes too long for this message")

// all runs the scripts and adds the implicit keep.
func (r *run) all(scripts []*Script) (err error) {
	defer func() {
		switch e := recover().(type) {
		case nil:
		case *Error:
			err = e
		default:
			panic(e)
		}
	}()
	for i, s := range scripts {
		if i > 0 {
			if r.cancelled && !r.kept {
				break
			}
			// A later script decides again.
			r.dropKeep()
		}
		r.cancelled, r.kept, r.flags = false, false, nil
		r.runScript(s)
	}
	if !r.cancelled {
		r.add(Action{Kind: Keep, Flags: r.flags})
	}
	return nil
}

// dropKeep removes the keep of an earlier script.
func (r *run) dropKeep() {
	list := r.actions[:0]
	for _, a := range r.actions {
		if a.Kind != Keep {
			list = append(list, a)
		}
	}
	r.actions = list
}

// runScript runs a script with variables of its own.
func (r *run) runScript(s *Script) flow {
	script, vars, shared, match := r.script, r.vars, r.shared, r.match
	r.script, r.vars, r.shared, r.match = s, make(map[string]string), make(map[string]bool), nil
	f := r.block(s.block)
	r.script, r.vars, r.shared, r.match = script, vars, shared, match
	return f
}

func (r *run) block(list []statement) flow {
	for _, s := range list {
		r.step()
		if f := s.run(r); f != goOn {
			return f
		}
	}
	return goOn
}

// step counts a command or test.
func (r *run) step() {
	if r.steps++; r.steps > maxSteps {
		r.fail("%v", errTooMuch)
	}
}

// charge adds to the work done.
func (r *run) charge(n int) {
	if r.work += n; r.work > maxWork {
		r.fail("%v", errTooMuch)
	}
}

// fail ends the run with an error.
func (r *run) fail(format string, args ...any) {
	name := ""
	if r.script != nil {
		name = r.script.name
	}
	panic(&Error{name, r.line, fmt.Sprintf(format, args...)})
}

// variable returns the value of a variable, "" if it is not set.
func (r *run) variable(name string) string {
	if r.shared[name] {
		return r.globals[name]
	}
	return r.vars[name]
}

// set assigns a variable.
func (r *run) set(name string, global bool, value string) {
	if len(value) > maxValue {
		value = strings.ToValidUTF8(value[:maxValue], "")
	}
	vars := r.vars
	if global || r.shared[name] {
		vars = r.globals
	}
	if _, ok := vars[name]; !ok && len(r.vars)+len(r.globals) >= maxVariables {
		r.fail("more than %d variables", maxVariables)
	}
	vars[name] = value
	r.charge(len(value))
}

// setMatch sets the match variables, if the script uses variables.
func (r *run) setMatch(values []string) {
	if !r.script.uses["variables"] {
		return
	}
	r.match = values[:min(len(values), maxMatch+1)]
}
