package maildrop

import (
	"time"

	"github.com/rs/zerolog"

	"hoplite/maildrop/maildir"
	"hoplite/maildrop/reconcile"
)

// scan reads a folder into a Reading. It skips parts that have not changed
// since known was read.
type scan struct {
	*files
	known   *reconcile.State
	since   stamp
	log     zerolog.Logger
	r       *reconcile.Reading
	settled bool // no directory had changed recently when reading started
}

// read reads the uidlist, keywords and directories: all of them, or only those
// that have changed. now holds stamps taken before the reading.
func (s *scan) read(now stamp, all bool) error {
	s.r, s.settled = reconcile.NewReading(0), !unsettled(now)
	all = all || !s.known.Known
	if all || !now.List.Equal(s.since.List) {
		if err := s.list(); err != nil {
			return err
		}
		all = true
	}
	if all || !now.Keywords.Equal(s.since.Keywords) {
		letters, err := readLetters(s.dir)
		if err != nil {
			return err
		}
		s.r.Letters = &letters
		all = true // letters may now stand for other keywords
	}
	s.r.CurRead = all || !now.Cur.Equal(s.since.Cur)
	if err := s.names(s.new); err != nil {
		return err
	}
	if !s.r.CurRead && s.r.MovedBack(s.known) {
		s.r.CurRead = true
	}
	if s.r.CurRead {
		if err := s.names(s.cur); err != nil {
			return err
		}
	}
	return nil
}

// list reads the uidlist, or Courier's list if there is none.
func (s *scan) list() error {
	text, err := s.dir.ReadFile(maildir.UIDListFile, maildir.MaxUIDList)
	courier := false
	if isNot(err) {
		text, err = s.dir.ReadFile(maildir.CourierUIDListFile, maildir.MaxUIDList)
		courier = err == nil
	}
	if isNot(err) {
		s.r.NoList(s.known)
		return nil
	}
	if err != nil {
		return err
	}
	if err := s.r.SetList(s.known, string(text), courier); err != nil {
		s.log.Warn().Err(err).Str("folder", s.dir.Path()).Msg("uidlist is damaged and will be repaired")
	}
	if !courier {
		return nil
	}
	if text, err = s.dir.ReadFile(maildir.CourierSizesFile, maildir.MaxUIDList); err == nil {
		s.r.CourierUIDLs(maildir.ParseCourierSizes(string(text)))
	}
	return nil
}

// readLetters reads dovecot-keywords.
func readLetters(dir *maildir.Dir) (maildir.Keywords, error) {
	text, err := dir.ReadFile(maildir.KeywordsFile, 64<<10)
	if err != nil && !isNot(err) {
		return maildir.Keywords{}, err
	}
	return maildir.ParseKeywords(string(text)), nil
}

// names adds the messages in one directory.
func (s *scan) names(dir *maildir.Dir) error {
	names, err := dir.Files()
	if err != nil {
		return err
	}
	if len(s.r.Files) == 0 {
		s.r.Files = make(map[string]reconcile.File, len(names))
	}
	for _, name := range names {
		f := reconcile.File{Name: name, New: dir == s.new}
		if twin, twice := s.r.Add(f); twice {
			if err := s.resolveTwin(twin, f); err != nil {
				return err
			}
		}
	}
	return nil
}

// resolveTwin handles two files with the same base name: a rename in progress,
// two links to one file, or two messages.
func (s *scan) resolveTwin(a, b reconcile.File) error {
	as, err := s.statOrNil(a)
	if err != nil {
		return err
	}
	bs, err := s.statOrNil(b)
	if err != nil {
		return err
	}
	keep, other, verdict := reconcile.Twin(s.known, a, b, as, bs, time.Now())
	base := maildir.Base(keep.Name)
	s.r.Files[base] = keep
	switch verdict {
	case reconcile.Unlink:
		return ignoreMissing(s.in(other).Remove(other.Name))
	case reconcile.NewName:
		name, err := s.newName(other)
		if name != "" {
			s.r.Files[maildir.Base(name)] = reconcile.File{Name: name, New: other.New}
		}
		return err
	}
	return nil
}

// statOrNil returns a file's state, or nil if the file does not exist.
func (s *scan) statOrNil(f reconcile.File) (*maildir.Stat, error) {
	st, err := s.in(f).Stat(f.Name)
	if isNot(err) {
		return nil, nil
	}
	return &st, err
}

// lookAgain searches a few more times for files that are missing from the
// reading. Reading a directory can miss files that another program renames
// without the lock, and a message expunged by mistake would reappear with
// another UID. now holds stamps taken before the reading; if the directories
// have not changed since, nothing was missed.
func (s *scan) lookAgain(now stamp) error {
	for range 3 {
		absent := s.r.Absent(s.known)
		if len(absent) == 0 {
			return nil
		}
		var after stamp
		if _, err := s.lookDirs(&after); err != nil {
			return err
		}
		if s.settled && after.Cur.Equal(now.Cur) && after.New.Equal(now.New) {
			return nil
		}
		there := map[string]reconcile.File{}
		for _, dir := range []*maildir.Dir{s.new, s.cur} {
			names, err := dir.Files()
			if err != nil {
				return err
			}
			for _, name := range names {
				there[maildir.Base(name)] = reconcile.File{Name: name, New: dir == s.new}
			}
		}
		for _, base := range absent {
			if f, ok := there[base]; ok {
				s.r.Files[base] = f
			}
		}
	}
	return nil
}
