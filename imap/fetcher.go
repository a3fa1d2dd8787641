package imap

import (
	"errors"
	"io"
	"strconv"
	"time"

	"hoplite/imap/wire"
	"hoplite/maildrop"
)

// needsEntry tells whether an item is made from the message's entry.
func needsEntry(it wire.Item) bool {
	return it.Kind == wire.ItemEnvelope || it.Kind == wire.ItemThreadID || needsWhole(it)
}

// needsWhole tells whether an item is made from an entry of the whole message.
func needsWhole(it wire.Item) bool {
	return it.Kind == wire.ItemBody || it.Kind == wire.ItemBodyStructure || it.Kind == wire.ItemPreview
}

// needsFile tells whether an item is made from the message's file.
func needsFile(it wire.Item) bool {
	switch it.Kind {
	case wire.ItemSection, wire.ItemBinary, wire.ItemBinarySize:
		return true
	}
	return false
}

// fetcher sends the items of messages, one message after the other.
type fetcher struct {
	*session
	items    []wire.Item
	needFile bool
	whole    bool // the entries have to be
	msg      *maildrop.Message
	src      *source // the message's file, when it is needed
}

func (f *fetcher) close() {
	if f.src != nil {
		f.src.close()
		f.src = nil
	}
}

// fetch sends "* n FETCH (...)". What can fail for the message alone fails
// before the first octet.
func (f *fetcher) fetch(i int) error {
	f.msg = f.sel.view.Messages[i]
	f.close()
	if f.needFile {
		var err error
		if f.src, err = openMessage(f.sel.folder, f.msg); err != nil {
			return err
		}
	}
	var e entry
	for _, it := range f.items {
		switch it.Kind {
		case wire.ItemEnvelope, wire.ItemBody, wire.ItemBodyStructure, wire.ItemPreview, wire.ItemThreadID:
			if e == nil {
				var err error
				if e, err = entryOf(f.sel.folder, f.msg, f.whole); err != nil {
					return err
				}
			}
		case wire.ItemBinary, wire.ItemBinarySize:
			if err := f.src.checkBinary(it.Path); err != nil {
				return err
			}
		}
	}
	b := append(f.w.Room(512), "* "...)
	b = appendInt(b, int64(i+1))
	b = append(b, " FETCH ("...)
	for n, it := range f.items {
		if n > 0 {
			b = append(b, ' ')
		}
		var err error
		if needsFile(it) {
			f.w.Took(b)
			err = f.content(it)
			b = f.w.Room(512)
		} else {
			b = f.plain(b, it, e)
		}
		if err != nil {
			return err
		}
	}
	f.w.Took(append(b, ")\r\n"...))
	return f.w.Err()
}

// plain appends an item that needs no look into the file.
func (f *fetcher) plain(b []byte, it wire.Item, e entry) []byte {
	m := f.msg
	switch it.Kind {
	case wire.ItemUID:
		return appendInt(append(b, "UID "...), int64(m.UID))
	case wire.ItemFlags:
		return f.appendFlags(b, m)
	case wire.ItemInternalDate:
		return appendDate(append(b, "INTERNALDATE "...), m.InternalDate())
	case wire.ItemSaveDate:
		return appendDate(append(b, "SAVEDATE "...), m.SaveDate())
	case wire.ItemSize:
		return appendInt(append(b, "RFC822.SIZE "...), m.Wire)
	case wire.ItemModSeq:
		b = strconv.AppendUint(append(b, "MODSEQ ("...), m.ModSeq, 10)
		return append(b, ')')
	case wire.ItemEnvelope:
		return append(append(b, "ENVELOPE "...), e.text(eEnvelope)...)
	case wire.ItemBody:
		return append(append(b, "BODY "...), e.text(eBody)...)
	case wire.ItemBodyStructure:
		return append(append(b, "BODYSTRUCTURE "...), e.text(eStructure)...)
	case wire.ItemPreview:
		return wire.AppendString(append(b, "PREVIEW "...), string(e.text(ePreview)), f.utf8 || f.rev2)
	case wire.ItemEmailID:
		b = append(append(b, "EMAILID ("...), objectID('M', m.GUID())...)
		return append(b, ')')
	case wire.ItemThreadID:
		b = append(append(b, "THREADID ("...), e.thread(m)...)
		return append(b, ')')
	}
	return b
}

// content sends an item that comes out of the message's file.
func (f *fetcher) content(it wire.Item) error {
	switch it.Kind {
	case wire.ItemBinary:
		return f.binary(it)
	case wire.ItemBinarySize:
		n, _, err := f.src.binarySize(it.Path)
		if err != nil {
			return err
		}
		f.w.Took(appendInt(append(append(f.w.Room(512), it.Label...), ' '), n))
		return nil
	}
	if len(it.Label) > 4000 {
		f.w.WriteString(it.Label)
	} else {
		f.w.Took(append(f.w.Room(4096), it.Label...))
	}
	piece, err := f.src.section(it)
	if err != nil {
		return err
	}
	if piece == nil {
		piece = &nothing // what isn't there is empty, as with other servers
	}
	size := piece.size
	off := int64(0)
	if it.Partial {
		off = int64(min(it.Off, uint64(size)))
		size = min(size-off, int64(it.Len))
	}
	b := appendInt(append(f.w.Room(64), " {"...), size)
	f.w.Took(append(b, "}\r\n"...))
	return piece.send(f.w, off, size)
}

// binary sends BINARY[...] with its transfer encoding undone.
func (f *fetcher) binary(it wire.Item) error {
	n, nul, err := f.src.binarySize(it.Path)
	if err != nil {
		return err
	}
	off := int64(0)
	if it.Partial {
		off = int64(min(it.Off, uint64(n)))
		n = min(n-off, int64(it.Len))
	}
	f.w.WriteString(it.Label)
	mark := " {"
	if nul {
		mark = " ~{" // only literal8 may hold a NUL (RFC 3516, 4.2)
	}
	b := appendInt(append(f.w.Room(64), mark...), n)
	f.w.Took(append(b, "}\r\n"...))
	r, err := f.src.decoded(it.Path)
	if err != nil {
		return err
	}
	return copyPart(f.w, r, off, n)
}

// copyPart sends n octets of r from off on. They were announced, so that less
// of them ends the session.
func copyPart(w io.Writer, r io.Reader, off, n int64) error {
	if _, err := io.CopyN(io.Discard, r, off); err != nil {
		return errors.Join(errBye, err)
	}
	if _, err := io.CopyN(w, r, n); err != nil {
		return errors.Join(errBye, err)
	}
	return nil
}

func appendInt(b []byte, n int64) []byte { return strconv.AppendInt(b, n, 10) }

// appendDate appends a date in quotes (RFC 9051, 9: date-time).
func appendDate(b []byte, t time.Time) []byte {
	return t.AppendFormat(b, `"_2-Jan-2006 15:04:05 -0700"`)
}
