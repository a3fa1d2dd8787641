package reconcile

import (
	"strconv"
	"strings"

	"hoplite/maildrop/maildir"
)

// FileName returns the file name that represents m's flags. It preserves
// letters that this package does not interpret.
func FileName(m *Message) string {
	base, text := maildir.Split(m.File)
	info := maildir.ParseInfo(text)
	info.Flags = m.Flags
	info.Letters = uint32(m.Keywords & letterMask)
	return base + info.String()
}

// letterMask selects the keywords that have letters in file names.
const letterMask = 1<<maildir.MaxLetters - 1

// setFlags sets the flags recorded in the name of a message's file.
func setFlags(m *Message) {
	_, text := maildir.Split(m.File)
	info := maildir.ParseInfo(text)
	m.Flags, m.Keywords = info.Flags, uint64(info.Letters)
}

// Relocate changes the file name of a message that has not been published yet,
// and with it the flags.
func Relocate(m *Message, f File) {
	m.File, m.New = f.Name, f.New
	setFlags(m)
}

// renamed returns a copy of was with a new file name.
func renamed(was *Message, f File, e maildir.Entry) *Message {
	// Clone the name so that the block of names containing f.Name is not
	// retained.
	m := &Message{UID: e.UID, Ext: e.Ext, File: strings.Clone(f.Name), New: f.New}
	setFlags(m)
	m.Size, m.Wire, m.Exact, m.Date, m.Saved, m.ModSeq = was.Size, was.Wire, was.Exact, was.Date, was.Saved, was.ModSeq
	m.Keywords |= was.Keywords &^ letterMask
	return m
}

// Measure sets sizes and dates from the state of a message's file. It reports
// whether the CRLF size must be counted, because neither the file name nor the
// uidlist contains a plausible one.
func Measure(m *Message, st maildir.Stat) (count bool) {
	m.File = strings.Clone(m.File)
	m.Size, m.Date, m.Saved = st.Size, st.MTime.Unix(), st.CTime.Unix()
	size, wire := maildir.Sizes(m.Base())
	if m.Ext != "" {
		size, wire = fallback(size, maildir.ExtKey(m.Ext, 'S')), fallback(wire, maildir.ExtKey(m.Ext, 'W'))
	}
	if size != st.Size || !plausible(size, wire) {
		return true
	}
	m.Wire = wire
	return false
}

// AssumeSizes sets the sizes from the name of a message's file, for use until
// the file is examined. It returns false if the name does not contain them.
func AssumeSizes(m *Message) bool {
	size, wire := maildir.Sizes(m.Base())
	if m.New || size < 0 || !plausible(size, wire) {
		return false
	}
	m.Size, m.Wire = size, wire
	return true
}

// fallback returns the size from the uidlist if the name has none.
func fallback(size int64, listed string) int64 {
	if n, err := strconv.ParseInt(listed, 10, 64); err == nil && size < 0 {
		return n
	}
	return size
}

// plausible reports whether wire can be the CRLF size of a file of the given
// size.
func plausible(size, wire int64) bool { return wire >= size && wire <= 2*size }
