package reconcile

import (
	"strconv"
	"strings"

	"hoplite/maildrop/maildir"
)

// FileName returns the file name that says what m's flags are. Letters that
// mean nothing to us stay as they are.
func FileName(m *Message) string {
	base, text := maildir.Split(m.File)
	info := maildir.ParseInfo(text)
	info.Flags = m.Flags
	info.Letters = uint32(m.Keywords & letterMask)
	return base + info.String()
}

// letterMask has the bits of the keywords that have letters in file names.
const letterMask = 1<<maildir.MaxLetters - 1

// fromName fills in what the file's name and the uidlist say of a message.
func fromName(m *Message, f File, e maildir.Entry) {
	_, text := maildir.Split(f.Name)
	info := maildir.ParseInfo(text)
	m.UID, m.Ext, m.File, m.New = e.UID, e.Ext, f.Name, f.New
	m.Flags, m.Keywords = info.Flags, uint64(info.Letters)
}

// renamed returns the message was as its file is named now.
func renamed(was *Message, f File, e maildir.Entry) *Message {
	m := &Message{}
	fromName(m, f, e)
	m.File = strings.Clone(m.File) // not the whole block of names that it was read with
	m.Size, m.Wire, m.Exact, m.Date, m.Saved, m.ModSeq = was.Size, was.Wire, was.Exact, was.Date, was.Saved, was.ModSeq
	m.Keywords |= was.Keywords &^ letterMask
	return m
}

// Measure fills in sizes and dates from the state of a message's file. It
// returns true if the CRLF size has to be counted, because neither the name
// nor the uidlist has one that can be true.
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

// Believe fills in the sizes from the name of a message's file alone, for the
// time until the file is looked at. It fails if the name lacks them.
func Believe(m *Message) bool {
	size, wire := maildir.Sizes(m.Base())
	if m.New || size < 0 || !plausible(size, wire) {
		return false
	}
	m.Size, m.Wire = size, wire
	return true
}

// fallback returns the size that the uidlist has if the name has none.
func fallback(size int64, listed string) int64 {
	if n, err := strconv.ParseInt(listed, 10, 64); err == nil && size < 0 {
		return n
	}
	return size
}

// plausible reports whether wire can be the CRLF size of a file of size octets.
func plausible(size, wire int64) bool { return wire >= size && wire <= 2*size }
