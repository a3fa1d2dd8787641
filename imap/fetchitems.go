package imap

import (
	"errors"
	"io"
	"strconv"
	"time"

	"hoplite/imap/summary"
	"hoplite/imap/wire"
	"hoplite/maildrop"
)

// baseItems holds the FETCH items of IMAP4rev1 and IMAP4rev2. Items of an
// extension are listed with the extension.
var baseItems = map[wire.ItemKind]fetchItem{
	wire.ItemUID:           {need: needIndex, write: writeUID},
	wire.ItemFlags:         {need: needIndex, write: writeFlags},
	wire.ItemInternalDate:  {need: needIndex, write: writeInternalDate},
	wire.ItemSize:          {need: needIndex, write: writeSize},
	wire.ItemEnvelope:      {need: needHeader, write: writeText(summary.Envelope)},
	wire.ItemBody:          {need: needStructure, write: writeText(summary.Body)},
	wire.ItemBodyStructure: {need: needStructure, write: writeText(summary.Structure)},
	wire.ItemSection:       {need: needFile, seen: true, check: checkSection, write: writeSection},
}

func writeUID(f *fetcher, b []byte, _ *wire.Item) ([]byte, error) {
	return appendInt(b, int64(f.msg.UID)), nil
}

func writeFlags(f *fetcher, b []byte, _ *wire.Item) ([]byte, error) {
	return f.appendFlags(b, f.msg), nil
}

func writeInternalDate(f *fetcher, b []byte, _ *wire.Item) ([]byte, error) {
	return appendDate(b, f.msg.InternalDate()), nil
}

func writeSaveDate(f *fetcher, b []byte, _ *wire.Item) ([]byte, error) {
	return appendDate(b, f.msg.SaveDate()), nil
}

func writeSize(f *fetcher, b []byte, _ *wire.Item) ([]byte, error) {
	if f.src != nil {
		return appendInt(b, f.src.file.Wire), nil // the size confirmed on opening
	}
	return appendInt(b, f.msg.Wire), nil
}

func writeModSeq(f *fetcher, b []byte, _ *wire.Item) ([]byte, error) {
	return appendModSeq(b, f.msg), nil
}

// writeText returns a function that writes one text of the summary.
func writeText(t summary.Text) func(*fetcher, []byte, *wire.Item) ([]byte, error) {
	return func(f *fetcher, b []byte, _ *wire.Item) ([]byte, error) {
		return append(b, f.summary.Text(t)...), nil
	}
}

func writePreview(f *fetcher, b []byte, _ *wire.Item) ([]byte, error) {
	return wire.AppendString(b, string(f.summary.Text(summary.Preview)), f.account.names.utf8), nil
}

func writeEmailID(f *fetcher, b []byte, _ *wire.Item) ([]byte, error) {
	return appendID(b, emailID(f.msg)), nil
}

func writeThreadID(f *fetcher, b []byte, _ *wire.Item) ([]byte, error) {
	return appendID(b, threadID(f.msg, f.summary)), nil
}

// writeSection writes BODY[...] and its RFC822 forms as a literal.
func writeSection(f *fetcher, b []byte, it *wire.Item) ([]byte, error) {
	f.out.Took(b)
	p, err := f.src.section(it)
	if err != nil {
		return nil, err
	}
	if p == nil {
		p = &piece{} // like other servers, treat a nonexistent part as empty
	}
	off, n := it.Cut(p.size)
	f.out.Took(appendLiteral(f.out.Room(64), "{", n))
	if err := p.send(f.out, off, n); err != nil {
		return nil, err
	}
	return f.out.Room(512), nil
}

// checkSection returns an error if the data needed to locate the section cannot
// be read.
func checkSection(f *fetcher, it *wire.Item) (err error) {
	switch {
	case len(it.Path) > 0 || it.Text == wire.Text:
		_, err = f.src.walk()
	case it.Text != wire.Whole:
		_, err = f.src.head()
	}
	return err
}

// writeBinary writes BINARY[...], a part with its transfer encoding removed.
func writeBinary(f *fetcher, b []byte, it *wire.Item) ([]byte, error) {
	f.out.Took(b)
	size, nul, err := f.src.binarySize(it.Path)
	if err != nil {
		return nil, err
	}
	off, n := it.Cut(size)
	mark := "{"
	if nul {
		mark = "~{" // only literal8 may hold a NUL (RFC 3516, 4.2)
	}
	f.out.Took(appendLiteral(f.out.Room(64), mark, n))
	r, err := f.src.decodedAt(it.Path, off)
	if err != nil {
		return nil, err
	}
	f.src.sent += n
	if err := copySpan(f.out, r, 0, n); err != nil {
		return nil, err
	}
	return f.out.Room(512), nil
}

// writeBinarySize writes BINARY.SIZE[...].
func writeBinarySize(f *fetcher, b []byte, it *wire.Item) ([]byte, error) {
	n, _, err := f.src.binarySize(it.Path)
	return appendInt(b, n), err
}

// checkBinary returns an error for a part whose transfer encoding is unknown.
func checkBinary(f *fetcher, it *wire.Item) error { return f.src.checkBinary(it.Path) }

// copySpan copies n octets from r, starting at off. The length has already been
// announced, so the session ends if fewer octets are available.
func copySpan(w io.Writer, r io.Reader, off, n int64) error {
	_, err := io.CopyN(io.Discard, r, off)
	if err == nil {
		_, err = io.CopyN(w, r, n)
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return errors.Join(errBye, err)
	}
	return nil
}

func appendInt(b []byte, n int64) []byte { return strconv.AppendInt(b, n, 10) }

// appendLiteral appends the announcement of a literal of n octets.
func appendLiteral(b []byte, mark string, n int64) []byte {
	return append(appendInt(append(b, mark...), n), "}\r\n"...)
}

// appendDate appends a date-time in quotes (RFC 9051, 9).
func appendDate(b []byte, t time.Time) []byte {
	return t.AppendFormat(b, `"_2-Jan-2006 15:04:05 -0700"`)
}

func appendModSeq(b []byte, m *maildrop.Message) []byte {
	return append(strconv.AppendUint(append(b, '('), m.ModSeq, 10), ')')
}

func appendID(b []byte, id string) []byte { return append(append(append(b, '('), id...), ')') }
