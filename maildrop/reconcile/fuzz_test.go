package reconcile

import (
	"fmt"
	"slices"
	"testing"

	"hoplite/maildrop/maildir"
)

// world is a simulated folder without a disk. Other programs change it at
// random, and a State follows the changes.
type world struct {
	t     *testing.T
	state State
	files map[string]File
	list  maildir.UIDList
	count int

	uids    map[uint32]string // all UIDs shown, with their base names
	expunge map[uint32]bool   // UIDs reported to readers as expunged
}

func newWorld(t *testing.T) *world {
	return &world{
		t: t, files: map[string]File{}, list: maildir.UIDList{Validity: 7, Next: 1, GUID: guid, ModSeq: ModSeqStep},
		uids: map[uint32]string{}, expunge: map[uint32]bool{},
	}
}

// nth returns the n-th file in name order.
func (w *world) nth(n byte) (File, bool) {
	names := make([]string, 0, len(w.files))
	for base := range w.files {
		names = append(names, base)
	}
	if len(names) == 0 {
		return File{}, false
	}
	slices.Sort(names)
	return w.files[names[int(n)%len(names)]], true
}

// step performs operation op on the file selected by arg.
func (w *world) step(op, arg byte) {
	f, some := w.nth(arg)
	base := maildir.Base(f.Name)
	switch op % 10 {
	case 0: // another program delivers a message
		w.count++
		name := fmt.Sprintf("17%08d.M1P%d.h", w.count, arg)
		w.files[name] = File{Name: name, New: true}
	case 1: // flags change
		if some {
			info := maildir.Info{Flags: maildir.Flags(arg & 31), Letters: uint32(arg >> 5)}
			w.files[base] = File{Name: base + info.String()}
		}
	case 2: // a message is removed
		if some {
			delete(w.files, base)
		}
	case 3: // Dovecot appends a message with its line
		w.count++
		name := fmt.Sprintf("17%08d.M2P%d.h", w.count, arg)
		w.files[name] = File{Name: name + ":2,"}
		w.list.Entries = append(w.list.Entries, maildir.Entry{UID: w.list.Next, Base: name})
		w.list.Next++
	case 4: // Dovecot rewrites its list
		w.list.Entries = slices.DeleteFunc(w.list.Entries, func(e maildir.Entry) bool { _, there := w.files[e.Base]; return !there })
	case 5: // an expunged message is restored from a backup
		for _, e := range w.list.Entries {
			if _, there := w.files[e.Base]; !there && e.UID%4 == uint32(arg%4) {
				w.files[e.Base] = File{Name: e.Base + ":2,"}
				break
			}
		}
	case 6: // a reader moves a message back to new
		if some {
			w.files[base] = File{Name: base, New: true}
		}
	case 7: // the private index is lost
		w.state, w.expunge = State{}, map[uint32]bool{}
		w.uids = map[uint32]string{}
		for _, e := range w.list.Entries {
			w.uids[e.UID] = e.Base
		}
	default:
		w.look(arg)
	}
}

// look performs a round like package maildrop, first without the lock and then
// with it. A reading without the lock may miss a file.
func (w *world) look(miss byte) {
	r := w.read()
	if f, some := w.nth(miss); some && miss%3 == 0 {
		delete(r.Files, maildir.Base(f.Name))
	}
	next, c, plan := Reconcile(&w.state, r)
	if plan.Lock {
		r = w.read()
		r.Locked = true
		next, c, plan = Reconcile(&w.state, r)
	}
	if len(plan.Rename) > 0 {
		for _, f := range plan.Rename {
			w.count++
			w.rename(r, f, fmt.Sprintf("17%08d.M3P1.h:2,", w.count))
		}
		next, c, plan = Reconcile(&w.state, r)
	}
	if plan.Lock || len(plan.Rename) > 0 || plan.Err != nil {
		w.t.Fatalf("with the lock: %+v", plan)
	}
	if plan.Rewrite {
		w.list = *next.List(nil)
		next.Lines, next.Ceiling = len(w.list.Entries), w.list.ModSeq
	} else {
		w.list.Entries = append(w.list.Entries, Lines(plan.Assigned)...)
		next.Lines += len(plan.Assigned)
	}
	w.list.Next = max(w.list.Next, next.Next)
	for _, m := range plan.Assigned {
		if m.New {
			m.File, m.New = m.File+":2,", false
			w.files[m.Base()] = File{Name: m.File}
		}
	}
	w.check(r, next, c)
	w.state = next
}

// rename gives a file another name, on disk and in a reading.
func (w *world) rename(r *Reading, f File, name string) {
	delete(w.files, maildir.Base(f.Name))
	w.files[maildir.Base(name)] = File{Name: name, New: f.New}
	r.Rename(f, name)
}

func (w *world) read() *Reading {
	r := NewReading(0)
	r.CurRead = true
	for _, f := range w.files {
		r.Add(f)
	}
	if err := r.SetList(&w.state, string(w.list.Bytes()), false); err != nil {
		w.t.Fatal(err)
	}
	return r
}

// check compares the new state with the disk and with everything shown to
// readers so far.
func (w *world) check(r *Reading, next State, c Changes) {
	if len(next.Messages) != len(r.Files) {
		w.t.Errorf("%d messages for %d files", len(next.Messages), len(r.Files))
	}
	if next.ModSeq < w.state.ModSeq || next.Next < w.state.Next {
		w.t.Errorf("modseq %d after %d, next %d after %d", next.ModSeq, w.state.ModSeq, next.Next, w.state.Next)
	}
	for _, uid := range c.Expunged {
		w.expunge[uid] = true
	}
	last := uint32(0)
	for _, m := range next.Messages {
		f, there := w.files[m.Base()]
		if !there || f.Name != m.File || f.New != m.New {
			w.t.Errorf("message %d has the file %s, the disk has %v", m.UID, m.File, f)
		}
		if m.UID <= last || m.UID >= next.Next {
			w.t.Errorf("UID %d after %d, next %d", m.UID, last, next.Next)
		}
		last = m.UID
		if base, shown := w.uids[m.UID]; shown && base != m.Base() {
			w.t.Errorf("UID %d was %s and is now %s", m.UID, base, m.Base())
		}
		if w.expunge[m.UID] {
			w.t.Errorf("UID %d was expunged and is there again", m.UID)
		}
		w.uids[m.UID] = m.Base()
	}
	listed := map[string]uint32{}
	for _, e := range w.list.Entries {
		if uid, twice := listed[e.Base]; twice {
			w.t.Errorf("%s has the UIDs %d and %d", e.Base, uid, e.UID)
		}
		listed[e.Base] = e.UID
	}
	for _, m := range next.Messages {
		if listed[m.Base()] != m.UID {
			w.t.Errorf("message %d has UID %d in the uidlist", m.UID, listed[m.Base()])
		}
	}
	w.checkChanges(next, c)
}

// checkChanges checks that the changes turn the old messages into the new ones.
func (w *world) checkChanges(next State, c Changes) {
	msgs := map[uint32]*Message{}
	if w.state.Validity == next.Validity {
		for _, m := range w.state.Messages {
			msgs[m.UID] = m
		}
	}
	for _, uid := range c.Expunged {
		delete(msgs, uid)
	}
	for _, m := range slices.Concat(c.Added, c.Flagged) {
		msgs[m.UID] = m
		if m.ModSeq > next.ModSeq {
			w.t.Errorf("message %d has modseq %d, the folder %d", m.UID, m.ModSeq, next.ModSeq)
		}
	}
	if len(msgs) != len(next.Messages) {
		w.t.Errorf("the changes lead to %d messages, the state has %d", len(msgs), len(next.Messages))
	}
	for _, m := range next.Messages {
		if msgs[m.UID] != m {
			w.t.Errorf("the changes lead to %+v, the state has %+v", msgs[m.UID], m)
		}
	}
	if c.Quiet && (len(c.Added) > 0 || len(c.Flagged) > 0 || len(c.Expunged) > 0) {
		w.t.Errorf("quiet, but %+v", c)
	}
}

// FuzzReconcile makes random changes to a folder.
func FuzzReconcile(f *testing.F) {
	f.Add([]byte{0, 1, 0, 2, 8, 1, 3, 3, 8, 3, 1, 5, 8, 1, 2, 0, 9, 1})
	f.Add([]byte{3, 1, 8, 1, 2, 0, 8, 1, 5, 1, 8, 1, 4, 0, 8, 1})
	f.Add([]byte{0, 1, 8, 1, 6, 0, 8, 3, 7, 0, 8, 1, 2, 0, 8, 6, 0, 9, 8, 1})
	f.Fuzz(func(t *testing.T, script []byte) {
		w := newWorld(t)
		for ; len(script) >= 2; script = script[2:] {
			w.step(script[0], script[1])
			if t.Failed() {
				return
			}
		}
		w.look(1)
	})
}

// FuzzSetList parses arbitrary uidlists.
func FuzzSetList(f *testing.F) {
	f.Add(head + "1 :a\n2 :b\n")
	f.Add(head + "1 :a\nrubbish\n")
	f.Add("1 99 6\n3 a\n")
	f.Fuzz(func(t *testing.T, text string) {
		for _, s := range []*State{{}, known(7, 3, "1 a:2,", "2 b:2,S")} {
			r := reading(true, "a:2,", "b:2,S", "new/c")
			_ = r.SetList(s, text, false)
			if r.List.Validity == 0 {
				r.List.Validity = 9
			}
			next, _, plan := Reconcile(s, r)
			if plan.Err != nil {
				continue
			}
			if len(next.Messages) != 3 {
				t.Errorf("messages\n%s", show(next.Messages))
			}
			if _, err := maildir.ParseUIDList(string(next.List(nil).Bytes())); err != nil {
				t.Errorf("the list that would be written: %v", err)
			}
		}
	})
}
