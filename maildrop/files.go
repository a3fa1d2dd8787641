package maildrop

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"hoplite/maildrop/index"
	"hoplite/maildrop/maildir"
	"hoplite/maildrop/reconcile"
)

// files holds a folder's directories. It has no other state: a caller's
// information about a message's file is verified against the disk.
type files struct {
	dir, cur, new, tmp *maildir.Dir
	newSync, curSync   dirSyncer
}

// openFiles opens a folder's three directories and creates the missing ones.
func openFiles(dir *maildir.Dir) (*files, error) {
	d := &files{dir: dir}
	var err error
	for _, sub := range []struct {
		name string
		dir  **maildir.Dir
	}{{"cur", &d.cur}, {"new", &d.new}, {"tmp", &d.tmp}} {
		*sub.dir, err = dir.Sub(sub.name)
		if isNot(err) {
			if err = makeDirs(dir); err == nil {
				*sub.dir, err = dir.Sub(sub.name)
			}
		}
		if err != nil {
			d.close()
			return nil, err
		}
	}
	return d, nil
}

// close closes the three directories. The folder's own directory stays open,
// because INBOX's directory belongs to the box.
func (d *files) close() {
	for _, sub := range []*maildir.Dir{d.cur, d.new, d.tmp} {
		if sub != nil {
			sub.Close()
		}
	}
}

// gone reports whether the folder has been removed.
func (d *files) gone() bool {
	st, err := d.cur.StatSelf()
	return err != nil || st.Links == 0
}

// in returns the directory that contains a file.
func (d *files) in(f reconcile.File) *maildir.Dir {
	if f.New {
		return d.new
	}
	return d.cur
}

// stamp describes the state of the disk when it was read.
type stamp = index.Stamp

// settleTime is the age at which an unchanged mtime proves that a directory has
// not changed. Before that, several changes can have the same timestamp.
const settleTime = 2 * time.Second

// unsettled reports whether a directory changed within settleTime.
func unsettled(s stamp) bool {
	return time.Since(s.New) < settleTime || time.Since(s.Cur) < settleTime
}

// look reads the stamps. gone is set if the folder has been removed. Unless the
// uidlist is locked, a stamp is valid only for data read after it.
func (d *files) look() (s stamp, gone bool, err error) {
	if gone, err = d.lookDirs(&s); gone || err != nil {
		return s, gone, err
	}
	if s.List, err = fileStamp(d.dir, maildir.UIDListFile); err == nil {
		s.Keywords, err = fileStamp(d.dir, maildir.KeywordsFile)
	}
	return s, false, err
}

// glance reads the stamps without using a descriptor. The stamp of a missing
// file or directory is zero.
func (d *files) glance() (s stamp) {
	for _, dir := range []struct {
		dir *maildir.Dir
		at  *time.Time
	}{{d.cur, &s.Cur}, {d.new, &s.New}} {
		if st, err := dir.dir.Glance(""); err == nil {
			*dir.at = st.MTime
		}
	}
	for _, file := range []struct {
		name string
		at   *index.FileStamp
	}{{maildir.UIDListFile, &s.List}, {maildir.KeywordsFile, &s.Keywords}} {
		if st, err := d.dir.Glance(file.name); err == nil {
			*file.at = index.FileStamp{Ino: st.Ino, Size: st.Size, MTime: st.MTime}
		}
	}
	return s
}

// lookDirs reads the stamps of cur and new.
func (d *files) lookDirs(s *stamp) (gone bool, err error) {
	cur, err := d.cur.StatSelf()
	if err != nil || cur.Links == 0 {
		return err == nil, err
	}
	fresh, err := d.new.StatSelf()
	if err != nil {
		return false, err
	}
	s.Cur, s.New = cur.MTime, fresh.MTime
	return false, nil
}

// fileStamp returns a file's stamp, or zero if the file does not exist.
func fileStamp(dir *maildir.Dir, name string) (index.FileStamp, error) {
	st, err := dir.Stat(name)
	if isNot(err) {
		return index.FileStamp{}, nil
	}
	if err == nil && !st.Mode.IsRegular() {
		err = fmt.Errorf("%s in %s is not a regular file", name, dir.Path())
	}
	return index.FileStamp{Ino: st.Ino, Size: st.Size, MTime: st.MTime}, err
}

// search finds a message's file by its base name.
func (d *files) search(base string) (reconcile.File, bool) {
	for range 3 {
		for _, dir := range []*maildir.Dir{d.cur, d.new} {
			names, err := dir.Files()
			if err != nil {
				return reconcile.File{}, false
			}
			i := slices.IndexFunc(names, func(n string) bool {
				return strings.HasPrefix(n, base) && maildir.Base(n) == base
			})
			if i >= 0 {
				return reconcile.File{Name: names[i], New: dir == d.new}, true
			}
		}
	}
	return reconcile.File{}, false
}

// withFile calls do with a message's file. If another program has renamed the
// file, it retries with the new name. If the file no longer exists, it returns
// ErrNoMessage.
func (d *files) withFile(m *Message, do func(at reconcile.File) error) error {
	at := fileOf(m)
	for range 3 {
		err := do(at)
		if !isNot(err) {
			return err
		}
		var ok bool
		if at, ok = d.search(m.Base()); !ok {
			break
		}
	}
	return ErrNoMessage
}

func fileOf(m *Message) reconcile.File { return reconcile.File{Name: m.File, New: m.New} }

// rename moves a message's file to dst under a new name.
func (d *files) rename(m *Message, dst *maildir.Dir, name string) error {
	return d.withFile(m, func(at reconcile.File) error { return d.in(at).Rename(at.Name, dst, name) })
}

// newName gives a file a new base name and returns its name, or "" if the file
// no longer exists. The name keeps the sizes if they are right.
func (d *files) newName(f reconcile.File) (string, error) {
	base, info := maildir.Split(f.Name)
	st, err := d.in(f).Stat(f.Name)
	if err == nil {
		name := maildir.Unique()
		if size, wire := maildir.Sizes(base); size == st.Size && wire >= 0 {
			name = maildir.WithSizes(name, size, wire)
		}
		name += info
		if err = d.in(f).Rename(f.Name, d.in(f), name); err == nil {
			return name, nil
		}
	}
	return "", ignoreMissing(err)
}

// remove removes a message's file. It is not an error if the file no longer
// exists.
func (d *files) remove(m *Message) error {
	err := d.withFile(m, func(at reconcile.File) error { return d.in(at).Remove(at.Name) })
	if errors.Is(err, ErrNoMessage) {
		return nil
	}
	return err
}

// renameFlags renames m's file according to its flags. was is the message
// before the change. If another program has renamed the file in the meantime,
// renameFlags searches for it; if the file no longer exists, it sets m.File to
// "".
func (d *files) renameFlags(m, was *Message) error {
	to := reconcile.FileName(m)
	if !was.New && to == was.File {
		m.Pending = false
		return nil // only keywords without a letter changed
	}
	err := d.rename(was, d.cur, to)
	switch {
	case errors.Is(err, ErrNoMessage):
		m.File = ""
		return nil
	case noRoom(err):
		// The index records the flags until the file can be renamed.
		m.Pending = true
		return nil
	case err != nil:
		return err
	}
	m.File, m.New, m.Pending = to, false, false
	return nil
}

// placeFiles places the files of messages in cur, all or none. A message that
// was expunged in the meantime is skipped, and its element of msgs becomes nil:
// moving the others back would make them disappear for a moment, and another
// server would assign them new UIDs.
func (d *files) placeFiles(items []incoming, msgs []*Message) error {
	var err error
	placed := 0
	for ; placed < len(items) && err == nil; placed++ {
		if err = items[placed].place(msgs[placed].File); errors.Is(err, ErrNoMessage) {
			msgs[placed], err = nil, nil
		}
	}
	if err != nil {
		placed--
		err = fmt.Errorf("store message: %w", err)
	} else {
		err = d.curSync.sync(d.cur)
	}
	if err == nil {
		return nil
	}
	for i, m := range msgs[:placed] {
		if m != nil {
			items[i].undo(m.File)
		}
	}
	return err
}

// reopen opens a file that has been renamed. s is the current snapshot, or nil.
func (d *files) reopen(m *Message, s *Snapshot) (*os.File, maildir.Stat, error) {
	if s != nil {
		if i, ok := s.Find(m.UID); ok && s.Messages[i].Base() == m.Base() {
			now := s.Messages[i]
			if file, st, err := d.in(fileOf(now)).OpenStat(now.File); !isNot(err) {
				return file, st, err
			}
		}
	}
	at, ok := d.search(m.Base())
	if !ok {
		return nil, maildir.Stat{}, os.ErrNotExist
	}
	return d.in(at).OpenStat(at.Name)
}

// measure counts the octets in a message's file.
func (d *files) measure(m *Message) (size, wire int64, err error) {
	r, err := d.in(fileOf(m)).Open(m.File)
	if err != nil {
		return 0, 0, err
	}
	defer r.Close()
	return maildir.WireSize(r)
}

// tmpAge is the age at which a file in tmp counts as abandoned (Maildir
// standard).
const tmpAge = 36 * time.Hour

// leftover reports whether a file in tmp belongs to an abandoned delivery. The
// modification time alone is not enough: for a message being appended, it is
// the internal date, which may be years in the past.
func leftover(st maildir.Stat, now time.Time) bool {
	return now.Sub(st.MTime) > tmpAge && now.Sub(st.CTime) > tmpAge
}

// cleanTmp removes files left behind by abandoned deliveries.
func (d *files) cleanTmp(now time.Time) error {
	names, err := d.tmp.Files()
	if err != nil {
		return err
	}
	for _, n := range names {
		st, serr := d.tmp.Stat(n)
		if serr != nil || !leftover(st, now) {
			continue
		}
		err = errors.Join(err, ignoreMissing(d.tmp.Remove(n)))
	}
	return err
}

// listHead parses the uidlist's header. It returns nil if there is no uidlist.
func (d *files) listHead() *maildir.UIDList {
	text, err := readHead(d.dir)
	if err != nil {
		return nil
	}
	list, err := maildir.ParseUIDList(text)
	if err != nil {
		return nil
	}
	return list
}

// readHead reads the uidlist's header line, including the line ending.
func readHead(dir *maildir.Dir) (string, error) {
	var b [4096]byte
	n, err := dir.ReadHead(maildir.UIDListFile, b[:])
	if err != nil {
		return "", err
	}
	i := slices.Index(b[:n], '\n')
	if i < 0 {
		return "", maildir.ErrUIDList
	}
	return string(b[:i+1]), nil
}

// foreignModSeq returns an upper bound for the modification sequences that
// Dovecot assigned in this folder: the initial sequence in its log file plus
// the maximum number of changes that the file can contain.
func (d *files) foreignModSeq() uint64 {
	const name, head = "dovecot.index.log", 40
	r, st, err := d.dir.OpenStat(name)
	if err != nil {
		return 0
	}
	defer r.Close()
	b := make([]byte, head)
	if _, err := r.ReadAt(b, 0); err != nil || b[0] != 1 || st.Size > 1<<30 {
		return 0
	}
	// initial_modseq is at offset 24 of struct mail_transaction_log_header. The
	// smallest record has 12 octets.
	initial := binary.LittleEndian.Uint64(b[24:])
	if initial > 1<<48 {
		return 0
	}
	return initial + uint64(st.Size-head)/12
}

// lockList locks the uidlist. If another program holds the lock, it waits for
// at most wait.
func (d *files) lockList(wait time.Duration) (*lockedList, error) {
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	lock, err := d.dir.Acquire(ctx, maildir.UIDListFile)
	if err != nil {
		return nil, err
	}
	return &lockedList{dir: d.dir, lock: lock}, nil
}

// ignoreMissing returns nil if err means that a file does not exist.
func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// dirSyncer makes several renames into a directory durable with one fsync.
type dirSyncer struct {
	mu      sync.Mutex
	running bool
	waiting []chan error
}

// sync returns when all of the caller's changes in dir are durable.
func (s *dirSyncer) sync(dir *maildir.Dir) error {
	done := make(chan error, 1)
	s.mu.Lock()
	s.waiting = append(s.waiting, done)
	if !s.running {
		s.running = true
		s.mu.Unlock()
		s.round(dir)
	} else {
		s.mu.Unlock()
	}
	return <-done
}

// round syncs the directory for the current waiters. Callers that arrive during
// the fsync need another round.
func (s *dirSyncer) round(dir *maildir.Dir) {
	s.mu.Lock()
	batch := s.waiting
	s.waiting = nil
	s.mu.Unlock()
	err := dir.Sync()
	for _, done := range batch {
		done <- err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.waiting) == 0 {
		s.running = false
		return
	}
	go s.round(dir)
}
