package maildrop

import (
	"strconv"
	"strings"
	"sync"

	"hoplite/internal/parallel"
	"hoplite/maildrop/index"
	"hoplite/maildrop/maildir"
)

// pick is a file that is to be described as a message.
type pick struct {
	at    int // the caller's
	file  found
	entry maildir.Entry
	was   *Message // the same message earlier, or nil
	msg   *Message // the answer; nil when the file vanished meanwhile
}

// describeAll describes files. When a large folder is opened for the first
// time, those whose names have their sizes are believed for now, and looked at
// once the reader has his answer, or asks for more. A lock is kept fresh meanwhile.
func (b *batch) describeAll(picks []pick, lock *maildir.Lock) error {
	const many = 100
	if !b.folder.state.loaded && len(picks) > many {
		b.later = newDating(b.folder, len(picks))
		if err := parallel.Do(len(picks), func(i int) error { b.later.believe(i, &picks[i]); return nil }); err != nil {
			return err
		}
	}
	var touch sync.Mutex
	return parallel.Do(len(picks), func(i int) (err error) {
		p := &picks[i]
		if p.msg != nil {
			return nil
		}
		if p.msg, err = b.folder.describe(p.file, p.entry, p.was); err != nil {
			return ignoreMissing(err)
		}
		if lock != nil {
			touch.Lock()
			defer touch.Unlock()
			lock.Touch()
		}
		return nil
	})
}

// dating is the look at files of cur that were believed to be as their names
// say.
type dating struct {
	*index.Dating
	// Thousands of messages come at once and stay together, so that they need
	// not be allocated each by itself.
	slabs [][]Message

	mu    sync.Mutex
	wrong []uint32 // UIDs of those that were not
}

const datingSlab = 128

func newDating(f *Folder, n int) *dating {
	d := &dating{}
	d.Dating = index.NewDating(func() { d.run(f) })
	for ; n > 0; n -= datingSlab {
		d.slabs = append(d.slabs, make([]Message, min(n, datingSlab)))
	}
	return d
}

// believe makes the i-th message, from the name of its file alone. It does not
// when that lacks the sizes.
func (d *dating) believe(i int, p *pick) {
	base, text := maildir.Split(p.file.file)
	size, wire := maildir.Sizes(base)
	if p.file.inNew || size < 0 || !plausible(size, wire) {
		return
	}
	m := &d.slabs[i/datingSlab][i%datingSlab]
	fromName(m, p.file, p.entry, text)
	m.Size, m.Wire, m.Dating = size, wire, d.Dating
	p.msg = m
}

// run looks at the files.
func (d *dating) run(f *Folder) {
	err := parallel.Do(len(d.slabs), func(i int) error {
		for n := range d.slabs[i] {
			if m := &d.slabs[i][n]; m.UID != 0 {
				d.date(f, m)
			}
		}
		return nil
	})
	if err != nil {
		f.box.store.log.Error().Err(err).Str("folder", f.dir.Path()).Msg("dates of messages")
	}
}

// date looks at one file.
func (d *dating) date(f *Folder, m *Message) {
	st, err := f.cur.Stat(m.File)
	if err != nil {
		// Gone, which the next reading will tell. Its name has a date, too.
		m.Date = maildir.ArrivalTime(m.File)
		m.Saved = m.Date
		return
	}
	m.Date, m.Saved = st.MTime.Unix(), st.CTime.Unix()
	if st.Size != m.Size {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.wrong = append(d.wrong, m.UID)
	}
}

// dated sees to it that the dates of all messages are known. f.mu is held.
func (f *Folder) dated() {
	d := f.state.dating
	if d == nil {
		return
	}
	d.Wait()
	f.state.dating = nil
	for _, uid := range d.wrong {
		f.remeasure(uid)
	}
}

// fromName fills in what a file's name and the uidlist say of a message.
func fromName(m *Message, file found, e maildir.Entry, text string) {
	info := maildir.ParseInfo(text)
	m.UID, m.Ext, m.File, m.New = e.UID, e.Ext, file.file, file.inNew
	m.Flags, m.Keywords = info.Flags, uint64(info.Letters)
}

// plausible tells whether a CRLF size can be that of a file of size octets.
func plausible(size, wire int64) bool { return wire >= size && wire <= 2*size }

// describe makes the message of a file. was is the same message earlier, or
// nil.
func (f *Folder) describe(file found, e maildir.Entry, was *Message) (*Message, error) {
	base, text := maildir.Split(file.file)
	m := &Message{}
	fromName(m, file, e, text)
	m.File = strings.Clone(m.File) // without the names that it was read with
	if was != nil {
		m.Size, m.Wire, m.Exact, m.Date, m.Saved, m.ModSeq = was.Size, was.Wire, was.Exact, was.Date, was.Saved, was.ModSeq
		m.Keywords |= was.Keywords &^ (1<<maildir.MaxLetters - 1)
		return m, nil
	}
	st, err := f.in(file).Stat(file.file)
	if err != nil {
		return nil, err
	}
	m.Size, m.Date, m.Saved = st.Size, st.MTime.Unix(), st.CTime.Unix()
	size, wire := maildir.Sizes(base)
	if e.Ext != "" {
		size, wire = fallback(size, e.Key('S')), fallback(wire, e.Key('W'))
	}
	// Names are only believed as far as they can be true.
	if size == st.Size && plausible(size, wire) {
		m.Wire = wire
		return m, nil
	}
	m.Size, m.Wire, err = f.measure(file)
	m.Exact = true
	return m, err
}

// fallback is the size that the uidlist has, when the name has none.
func fallback(size int64, listed string) int64 {
	if n, err := strconv.ParseInt(listed, 10, 64); err == nil && size < 0 {
		return n
	}
	return size
}

// measure reads a file to know its CRLF size.
func (f *Folder) measure(file found) (size, wire int64, err error) {
	r, err := f.in(file).Open(file.file)
	if err != nil {
		return 0, 0, err
	}
	defer r.Close()
	return maildir.WireSize(r)
}
