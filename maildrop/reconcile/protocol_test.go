package reconcile

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"hoplite/maildrop/maildir"
)

// This file models two servers on one Maildir as a disk and programs whose
// steps are run in every possible order. In no order may a UID be assigned
// twice or reassigned to another message.

// disk is shared by both programs. Its version stands for the uidlist's stamp
// and changes whenever that file does.
type disk struct {
	lines   []maildir.Entry
	version int
	locked  int // program that holds the lock, or 0
	files   map[string]File
}

func (d *disk) next() uint32 {
	if n := len(d.lines); n > 0 {
		return d.lines[n-1].UID + 1
	}
	return 1
}

func (d *disk) append(entries ...maildir.Entry) {
	d.lines = append(slices.Clip(d.lines), entries...)
	d.version++
}

// server is a Hoplite server: its state and the corresponding stamp.
type server struct {
	state State
	stamp int
	now   int
	r     *Reading
	plan  Plan
	next  State
	seen  map[uint32]string // UIDs and names shown to readers
}

// program is a sequence of steps. A step that returns false is waiting.
type program struct {
	at    int
	steps []func(*system) bool
}

// system is one state of the model.
type system struct {
	disk     disk
	server   server
	programs [2]program
	trace    []string
}

func (s *system) clone() *system {
	c := *s
	c.disk.files = maps.Clone(s.disk.files)
	c.server.seen = maps.Clone(s.server.seen)
	c.server.state.Messages = slices.Clip(s.server.state.Messages)
	c.server.state.uids = nil
	c.trace = slices.Clip(s.trace)
	return &c
}

// explore runs the programs in every possible order and returns the first trace
// for which wrong returns a message.
func explore(s *system, wrong func(*system) string) string {
	if w := wrong(s); w != "" {
		return w + " after " + strings.Join(s.trace, " ")
	}
	for i := range s.programs {
		p := s.programs[i]
		if p.at == len(p.steps) {
			continue
		}
		c := s.clone()
		if !p.steps[p.at](c) {
			continue // waiting for the lock
		}
		c.programs[i].at++
		c.trace = append(c.trace, fmt.Sprintf("%c%d", 'A'+i, p.at))
		if w := explore(c, wrong); w != "" {
			return w
		}
	}
	return ""
}

func lock(id int) func(*system) bool {
	return func(s *system) bool {
		if s.disk.locked != 0 {
			return false
		}
		s.disk.locked = id
		return true
	}
}

func unlock(s *system) bool {
	s.disk.locked = 0
	return true
}

// read returns a step that reads the list and the directory. The stamp must
// already have been taken.
func read(locked bool) func(*system) bool {
	return func(s *system) bool {
		v := &s.server
		v.r = NewReading(0)
		v.r.CurRead, v.r.Locked = true, locked
		v.r.List = &maildir.UIDList{Validity: 7, Next: s.disk.next(), GUID: guid, ModSeq: 1000, Entries: s.disk.lines}
		for _, f := range s.disk.files {
			v.r.Add(f)
		}
		v.state.uids = nil
		v.next, _, v.plan = Reconcile(&v.state, v.r)
		return true
	}
}

// stamp takes the stamp for the next reading.
func stamp(s *system) bool {
	s.server.now = s.disk.version
	return true
}

// adopt makes the last reading the current state.
func adopt(s *system) bool {
	v := &s.server
	if !v.plan.Lock {
		v.state, v.stamp = v.next, v.now
		v.publish()
	}
	return true
}

// decide reads with the lock held and reconciles. If the list has not changed
// since the last reading, it is not read again unless the plan requires it.
// Measured messages whose files have been renamed in the meantime are dropped,
// which is the worst that can happen in package maildrop.
func decide(s *system) bool {
	v := &s.server
	v.now = s.disk.version
	read(true)(s)
	if v.r.List = nil; v.now != v.stamp {
		read(true)(s)
	}
	v.state.uids = nil
	v.next, _, v.plan = Reconcile(&v.state, v.r)
	if v.plan.Lock {
		read(true)(s)
	}
	for _, f := range v.plan.Rename {
		delete(s.disk.files, maildir.Base(f.Name))
		s.disk.files["again"+f.Name] = File{Name: "again" + f.Name, New: f.New}
		v.r.Rename(f, "again"+f.Name)
	}
	if len(v.plan.Rename) > 0 {
		v.next, _, v.plan = Reconcile(&v.state, v.r)
	}
	return true
}

// commit measures the new messages, writes the plan and publishes the state.
func commit(s *system) bool {
	v := &s.server
	var gone []*Message
	for _, m := range v.plan.Measure {
		if s.disk.files[m.Base()] != (File{Name: m.File, New: m.New}) {
			gone = append(gone, m)
		}
	}
	if v.plan.Rewrite {
		s.disk.lines = v.next.List(nil).Entries
		s.disk.version++
	} else {
		s.disk.append(Lines(v.plan.Assigned)...)
	}
	var c Changes
	v.next.Drop(&c, gone)
	v.state, v.stamp = v.next, s.disk.version
	if len(gone) > 0 {
		v.stamp = -1 // the lines must be read again
	}
	v.publish()
	return true
}

// unread makes the next reading read the list only if the plan requires it.
func unread(s *system) bool {
	s.server.stamp = s.disk.version
	return true
}

// publish shows the state to readers and checks that no UID has been
// reassigned.
func (v *server) publish() {
	for _, m := range v.state.Messages {
		if base, ok := v.seen[m.UID]; ok && base != m.Base() {
			panic(fmt.Sprintf("UID %d moved from %s to %s", m.UID, base, m.Base()))
		}
		v.seen[m.UID] = m.Base()
	}
}

// refreshIfStale reads again with the lock held if the list has changed since
// the state's stamp.
func refreshIfStale(s *system) bool {
	v := &s.server
	if v.stamp == s.disk.version {
		return true
	}
	v.now = s.disk.version
	read(true)(s)
	s.disk.append(Lines(v.plan.Assigned)...)
	v.state = v.next
	v.publish()
	return true
}

var stored = &Message{File: "ours:2,"}

// assign assigns a UID to a new message and writes its line.
func assign(s *system) bool {
	m := *stored
	entries, err := s.server.state.Assign([]*Message{&m})
	if err != nil {
		panic(err)
	}
	s.disk.append(entries...)
	s.server.next = s.server.state
	s.server.next.Messages = []*Message{&m}
	return true
}

// place moves the new message's file into cur.
func place(s *system) bool {
	m := s.server.next.Messages[0]
	s.disk.files[m.Base()] = File{Name: m.File}
	s.server.state.Add([]*Message{m})
	s.server.publish()
	return true
}

// restamp takes the current stamp of the list.
func restamp(s *system) bool {
	s.server.stamp = s.disk.version
	return true
}

// Dovecot stores a message while holding the lock: it moves the file into place
// and appends the line.
func dovecotPlace(s *system) bool {
	s.disk.files["dovecot"] = File{Name: "dovecot:2,"}
	return true
}

func dovecotAppend(s *system) bool {
	s.disk.append(maildir.Entry{UID: s.disk.next(), Base: "dovecot"})
	return true
}

// deliver moves a new message into new, and flag changes its name, both without
// the lock.
func deliver(s *system) bool {
	s.disk.files["mail"] = File{Name: "mail", New: true}
	return true
}

func flag(s *system) bool {
	if _, ok := s.disk.files["mail"]; ok {
		s.disk.files["mail"] = File{Name: "mail:2,S"}
	}
	return true
}

// hide and restore make a message's file disappear and appear again, like a
// reading that misses a file while it is being renamed.
func hide(s *system) bool {
	delete(s.disk.files, "first")
	return true
}

func restore(s *system) bool {
	s.disk.files["first"] = File{Name: "first:2,"}
	return true
}

func start() *system {
	s := &system{disk: disk{files: map[string]File{"first": {Name: "first:2,"}}}}
	s.disk.append(maildir.Entry{UID: 1, Base: "first"})
	s.server.seen = map[uint32]string{}
	stamp(s)
	read(false)(s)
	adopt(s)
	return s
}

func wrongUIDs(s *system) string {
	seen, bases := map[uint32]bool{}, map[string]bool{}
	for _, e := range s.disk.lines {
		if seen[e.UID] {
			return fmt.Sprintf("UID %d is given twice", e.UID)
		}
		if bases[e.Base] {
			return fmt.Sprintf("%s has two UIDs", e.Base)
		}
		seen[e.UID], bases[e.Base] = true, true
	}
	return ""
}

type steps = []func(*system) bool

// store stores a message: lock, compare the stamp, append the line, move the
// file, take the stamp, unlock.
var store = steps{lock(1), refreshIfStale, assign, place, restamp, unlock}

// look reads without holding the lock.
var look = steps{stamp, read(false), adopt}

var dovecot = steps{lock(2), dovecotPlace, dovecotAppend, unlock}

func TestProtocol(t *testing.T) {
	for name, ours := range map[string]steps{
		"store":                   store,
		"look, store":             slices.Concat(look, store),
		"store, look":             slices.Concat(store, look),
		"look, look, store, look": slices.Concat(look, look, store, look),
	} {
		s := start()
		s.programs = [2]program{{steps: ours}, {steps: dovecot}}
		if w := explore(s, wrongUIDs); w != "" {
			t.Errorf("%s: %s", name, w)
		}
	}
}

// settle adopts what changed while the lock is held.
var settle = steps{lock(1), decide, commit, unlock}

// A file that is renamed while its message is being assigned a UID, or that is
// missing from one reading, never gets a second UID under the same name, even if
// the list is unchanged and therefore not read again.
func TestProtocolOfRenamedFiles(t *testing.T) {
	for name, theirs := range map[string]steps{
		"a delivery, and a change of its flags": {deliver, flag},
		"a file that is missing for a moment":   {hide, restore},
		"both":                                  {deliver, hide, flag, restore},
		"a message of Dovecot's, then a change": slices.Concat(dovecot, steps{deliver, flag}),
	} {
		for which, ours := range map[string]steps{
			"three rounds":        slices.Concat(settle, settle, settle),
			"an unchanged list":   slices.Concat(settle, steps{unread}, settle, steps{unread}, settle),
			"look, settle, store": slices.Concat(look, settle, settle, store),
		} {
			s := start()
			s.programs = [2]program{{steps: ours}, {steps: theirs}}
			if w := explore(s, wrongUIDs); w != "" {
				t.Errorf("%s, %s: %s", name, which, w)
			}
		}
	}
}

// The model detects the bugs of the first version.
func TestProtocolOfTheFirstVersion(t *testing.T) {
	for name, ours := range map[string]steps{
		// The stamp was taken after the reading, so lines written in between
		// were treated as already read.
		"stamp after reading": slices.Concat(steps{read(false), stamp, adopt}, store),
		// A flag change took a new stamp without holding the lock.
		"stamp after a change of flags": slices.Concat(look, steps{restamp}, store),
		// Without the lock, two programs assign the same UID.
		"no lock": {refreshIfStale, assign, place, restamp},
	} {
		s := start()
		s.programs = [2]program{{steps: ours}, {steps: dovecot}}
		if explore(s, wrongUIDs) == "" {
			t.Errorf("%s: the model does not find the mistake", name)
		}
	}
}
