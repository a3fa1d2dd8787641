package maildrop

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strings"
	"time"

	"hoplite/internal/handles"
	"hoplite/mail"
	"hoplite/maildrop/maildir"
)

// ExportMbox writes a folder of an account's box as an mbox file, in the order
// of UIDs. Messages without a UID follow, in order of arrival. progress is
// called after each message.
func (v *View) ExportMbox(ctx context.Context, a mail.Address, folder string, out io.Writer, progress func()) (int, error) {
	e := &export{w: bufio.NewWriterSize(out, 256<<10)}
	if err := e.open(v, a, folder); err != nil {
		return 0, err
	}
	defer e.close()
	list, err := e.list()
	if err != nil {
		return 0, fmt.Errorf("export folder %s: %w", folder, err)
	}
	for _, m := range list {
		if err := ctx.Err(); err != nil {
			return e.count, err
		}
		if err := e.write(m); err != nil {
			return e.count, fmt.Errorf("export %s: %w", m.name, err)
		}
		progress()
	}
	return e.count, e.w.Flush()
}

// export is a folder that is read without changing it.
type export struct {
	w        *bufio.Writer
	count    int
	dirs     []*maildir.Dir // to be closed
	folder   *maildir.Dir
	cur, new *maildir.Dir // new is nil if it does not exist
	letters  maildir.Keywords
}

// stored is the file of a message.
type stored struct {
	dir  *maildir.Dir
	name string
	uid  uint32 // math.MaxUint32 if none has been assigned
}

// open opens the directories of a folder. After an error they are closed.
func (e *export) open(v *View, a mail.Address, folder string) (err error) {
	defer func() {
		if err != nil {
			e.close()
			err = fmt.Errorf("open folder %s of %s: %w", folder, a, err)
		}
	}()
	if e.folder, err = e.keep(maildir.OpenDir(handles.Share(), v.root, boxPath(v.path, a))); err != nil {
		return err
	}
	if folder != maildir.Inbox {
		dir, err := maildir.FolderDir(folder)
		if err != nil {
			return err
		}
		if e.folder, err = e.keep(e.folder.Sub(dir)); err != nil {
			return err
		}
	}
	if e.cur, err = e.keep(e.folder.Sub("cur")); err != nil {
		return err
	}
	if e.new, err = e.keep(e.folder.Sub("new")); err != nil && !isNot(err) {
		return err
	}
	e.letters, err = readLetters(e.folder)
	return err
}

func (e *export) keep(dir *maildir.Dir, err error) (*maildir.Dir, error) {
	if err != nil {
		return nil, err
	}
	e.dirs = append(e.dirs, dir)
	return dir, nil
}

func (e *export) close() {
	for _, d := range slices.Backward(e.dirs) {
		d.Close()
	}
}

// list returns the messages in the order in which they are written. A message
// that is being renamed may be listed under two names, of which one is used.
func (e *export) list() ([]stored, error) {
	uids, err := e.uids()
	if err != nil {
		return nil, err
	}
	var list []stored
	seen := map[string]bool{}
	for _, dir := range []*maildir.Dir{e.new, e.cur} {
		if dir == nil {
			continue
		}
		names, err := dir.Files()
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			base := maildir.Base(name)
			if strings.HasPrefix(name, ".") || seen[base] {
				continue
			}
			seen[base] = true
			uid, ok := uids[base]
			if !ok {
				uid = math.MaxUint32
			}
			list = append(list, stored{dir, name, uid})
		}
	}
	maildir.SortArrival(list, func(m stored) string { return m.name })
	slices.SortStableFunc(list, func(a, b stored) int { return cmp.Compare(a.uid, b.uid) })
	return list, nil
}

// uids returns the UIDs in the folder's uidlist by base name. They determine
// only the order, so a damaged list has none.
func (e *export) uids() (map[string]uint32, error) {
	text, err := e.folder.ReadFile(maildir.UIDListFile, maildir.MaxUIDList)
	if isNot(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	list, err := maildir.ParseUIDList(string(text))
	if err != nil {
		return nil, nil
	}
	uids := make(map[string]uint32, len(list.Entries))
	for _, entry := range list.Entries {
		uids[entry.Base] = entry.UID
	}
	return uids, nil
}

// write writes one message, unless it has been removed in the meantime.
func (e *export) write(m stored) error {
	f, st, err := m.dir.OpenStat(m.name)
	if isNot(err) {
		f, st, err = e.reopen(&m)
	}
	if isNot(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	_, info := maildir.Split(m.name)
	in := maildir.ParseInfo(info)
	out := outgoing{date: time.Unix(st.MTime.Unix(), 0), flags: in.Flags, recent: m.dir == e.new}
	for i, name := range e.letters {
		if in.Letters&(1<<i) != 0 && name != "" {
			out.keywords = append(out.keywords, name)
		}
	}
	if err := writeMbox(e.w, &out, f); err != nil {
		return err
	}
	e.count++
	return nil
}

// reopen opens a message whose file the server or a client has renamed.
func (e *export) reopen(m *stored) (f *os.File, st maildir.Stat, err error) {
	names, err := e.cur.Files()
	if err != nil {
		return nil, st, err
	}
	base := maildir.Base(m.name)
	i := slices.IndexFunc(names, func(name string) bool { return maildir.Base(name) == base })
	if i < 0 {
		return nil, st, os.ErrNotExist
	}
	m.dir, m.name = e.cur, names[i]
	return m.dir.OpenStat(m.name)
}
