package maildrop

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"hoplite/internal/parallel"
	"hoplite/maildrop/index"
	"hoplite/maildrop/maildir"
	"hoplite/maildrop/reconcile"
)

// round is one examination of a folder on disk: it reads the changes, passes
// them to package reconcile, carries out the resulting plan and publishes the
// new state. The caller holds the folder's lock.
type round struct {
	*Folder
	list *lockedList // nil unless the uidlist is locked
	now  stamp       // stamps taken before the reading
	scan *scan
	// missed is set if a file disappeared after the directory was read. The
	// uidlist may contain its line, so both must be read again.
	missed bool
}

// read reads everything, or only the changes since the last reading.
func (r *round) read(all bool) (err error) {
	r.scan = &scan{files: r.files, known: &r.known, since: r.since, log: r.box.store.log}
	return r.scan.read(r.now, all)
}

// run reads the changes. It locks the uidlist only if a decision is needed.
func (r *round) run(all bool) error {
	// In a folder that no server has used yet, all files are unknown.
	if !r.known.Known && r.now.List == (index.FileStamp{}) {
		return r.runLocked(true)
	}
	if err := r.read(all); err != nil {
		return err
	}
	next, changes, plan := reconcile.Reconcile(&r.known, r.scan.r)
	if plan.Lock {
		return r.runLocked(all || plan.All)
	}
	return r.carryOut(next, changes, plan)
}

// runLocked locks the uidlist, reads the changes, and reconciles. It does not
// read the disk again if it has not changed since it was read without the lock.
func (r *round) runLocked(all bool) (err error) {
	if r.list, err = r.lockList(lockWait); err != nil {
		return err
	}
	defer r.list.release()
	if r.scan != nil && r.scan.settled {
		now, _, err := r.look()
		if err != nil {
			return err
		}
		if now.Equal(r.now) {
			return r.decide()
		}
	}
	return r.refresh(all)
}

// refresh reads the changes while the uidlist is locked, and reconciles.
func (r *round) refresh(all bool) (err error) {
	if r.now, _, err = r.look(); err != nil {
		return err
	}
	if err := r.read(all); err != nil {
		return err
	}
	if err := r.scan.lookAgain(r.now); err != nil {
		return err
	}
	return r.decide()
}

// decide reconciles the reading while the uidlist is locked.
func (r *round) decide() error {
	reading := r.scan.r
	reading.Locked = true
	if reading.List != nil {
		if err := r.identify(reading); err != nil {
			return err
		}
	}
	next, changes, plan := reconcile.Reconcile(&r.known, reading)
	if plan.Lock {
		return r.refresh(true) // the uidlist is needed as well
	}
	if len(plan.Rename) > 0 {
		if err := r.renameRevived(plan.Rename); err != nil {
			return err
		}
		next, changes, plan = reconcile.Reconcile(&r.known, reading)
	}
	return r.carryOut(next, changes, plan)
}

// renameRevived gives new base names to files of expunged messages that exist
// again. A file that another program renamed in the meantime is found by the
// next reading.
func (r *round) renameRevived(files []reconcile.File) error {
	for _, f := range files {
		name, err := r.newName(f)
		if err != nil {
			return fmt.Errorf("rename a message that exists again: %w", err)
		}
		if r.scan.r.Rename(f, name); name == "" {
			r.missed = true
		}
	}
	return nil
}

// identify sets the UIDVALIDITY and GUID if they are missing from the uidlist.
func (r *round) identify(reading *reconcile.Reading) (err error) {
	list := reading.List
	if list.Validity == 0 {
		if list.Validity, err = maildir.NextUIDValidity(r.box.dir); err != nil {
			return err
		}
	}
	if list.GUID == "" {
		list.GUID = newGUID()
	}
	if list.Validity != r.known.Validity {
		reading.ForeignModSeq = r.foreignModSeq()
	}
	return nil
}

func newGUID() string {
	var b [16]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// carryOut carries out the plan and publishes the new state. If the uidlist is
// not locked, the plan writes nothing.
func (r *round) carryOut(next reconcile.State, c reconcile.Changes, plan reconcile.Plan) error {
	f, reading := r.Folder, r.scan.r
	if plan.Err != nil {
		return plan.Err
	}
	vanished, err := r.settleNew(&next, plan)
	if noRoom(err) && !reading.KeepNew && (f.known.Known || !reading.Damaged) {
		// Readers need access to old mail to make room for new mail.
		f.box.store.log.Warn().Err(err).Str("folder", f.dir.Path()).Msg("disk full: new mail is not shown")
		reading.KeepNew = true
		return r.decide()
	}
	if err != nil {
		return err
	}
	next.Drop(&c, vanished)
	r.missed = r.missed || len(vanished) > 0
	if r.moveToCur(plan.Assigned) {
		// Changes made by other programs since the reading are detected once
		// the directories have settled.
		if _, err := f.lookDirs(&r.now); err != nil {
			return err
		}
	}
	if next.GUID != f.known.GUID || next.Validity != f.known.Validity {
		f.index.close() // files of another folder have replaced this folder's
	}
	f.known = next
	c.Flagged = append(c.Flagged, r.retry(plan.Pending)...)
	f.since, f.settle = r.now, unsettled(r.now)
	if reading.KeepNew {
		f.since.New = time.Time{} // read it again
	}
	f.raise(r.list)
	if r.list != nil {
		if err := r.list.restamp(&f.since); err != nil {
			return err
		}
	}
	if r.missed {
		f.since.List, f.settle = index.FileStamp{}, true
	}
	if c.Quiet && f.snap.Load() != nil {
		return nil
	}
	f.publish(c)
	return nil
}

// settleNew measures new messages while the uidlist is being written. It
// returns the messages whose files no longer exist. A line without a file
// merely leaves a UID unused.
func (r *round) settleNew(next *reconcile.State, plan reconcile.Plan) (vanished []*Message, err error) {
	if r.list == nil || len(plan.Assigned) == 0 && !plan.Rewrite {
		return r.measureAll(plan.Measure)
	}
	measured := make(chan error, 1)
	var list *maildir.UIDList
	var lines []maildir.Entry
	if plan.Rewrite {
		list = next.List(nil)
	} else {
		lines = reconcile.Lines(plan.Assigned)
	}
	go func() {
		var err error
		vanished, err = r.measureAll(plan.Measure)
		measured <- err
	}()
	err = r.list.write(next, list, lines)
	err = errors.Join(<-measured, err)
	r.logAssigned(plan.Assigned)
	return vanished, err
}

// logAssigned logs new UIDs, so that a message can be followed from its delivery
// to its readers.
func (r *round) logAssigned(msgs []*Message) {
	if !r.box.store.log.Debug().Enabled() {
		return
	}
	for _, m := range msgs {
		r.box.store.log.Debug().Str("folder", r.dir.Path()).Uint32("uid", m.UID).Str("file", m.Base()).Msg("UID assigned")
	}
}

// measureAll sets the sizes and dates of new messages. When a large folder is
// opened for the first time, sizes are taken from the file names, and the files
// are examined after the client has received its response. While this runs, a
// held lock is refreshed.
func (r *round) measureAll(msgs []*Message) (vanished []*Message, err error) {
	const many = 100
	f := r.Folder
	if !f.known.Known && len(msgs) > many {
		f.dates = newDateLookup(f.files, f.box.store.log)
	}
	gone := make([]bool, len(msgs))
	err = parallel.Do(len(msgs), func(i int) error {
		m := msgs[i]
		if f.dates != nil && reconcile.AssumeSizes(m) {
			m.Dates = f.dates.DateLookup
			return nil
		}
		err := r.measureFile(m)
		if r.list != nil {
			r.list.touch()
		}
		if gone[i] = errors.Is(err, ErrNoMessage); gone[i] {
			return nil
		}
		return err
	})
	for i, m := range msgs {
		if gone[i] {
			vanished = append(vanished, m)
		}
	}
	if f.dates != nil {
		f.dates.msgs = msgs
	}
	return vanished, err
}

// measureFile sets the sizes and dates of a new message. If another program has
// renamed the file since the directory was read, the message is given the file's
// current name: a message that is dropped here would be assigned a second UID
// later.
func (r *round) measureFile(m *Message) error {
	return r.withFile(m, func(at reconcile.File) error {
		if at != fileOf(m) {
			reconcile.Relocate(m, at)
		}
		st, err := r.in(at).Stat(at.Name)
		if err == nil && reconcile.Measure(m, st) {
			m.Size, m.Wire, err = r.measure(m)
			m.Exact = true
		}
		return err
	})
}

// moveToCur moves messages from new to cur and reports whether it moved any. A
// message that cannot be moved now remains readable in new.
func (r *round) moveToCur(msgs []*Message) (moved bool) {
	for _, m := range msgs {
		if !m.New {
			continue
		}
		name := m.File
		if _, info := maildir.Split(name); info == "" {
			name += ":2,"
		}
		if err := r.new.Rename(m.File, r.cur, name); err != nil {
			r.box.store.log.Debug().Err(err).Msg("cannot move new mail to cur")
			continue
		}
		m.File, m.New, moved = name, false, true
	}
	return moved
}

// retry writes flags that could not be written earlier, and returns the
// messages that it renamed. The slice of messages has not been published yet.
func (r *round) retry(pending []*Message) (done []*Message) {
	for _, m := range pending {
		i, ok := r.known.Find(m.UID)
		if !ok || r.known.Messages[i] != m {
			continue
		}
		next := *m
		if r.renameFlags(&next, m) == nil && next.File != "" {
			r.known.Messages[i] = &next
			done = append(done, &next)
		}
	}
	return done
}
