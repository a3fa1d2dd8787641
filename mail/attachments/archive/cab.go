package archive

import (
	"bytes"
	"errors"
	"io"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"
)

var errCabinet = errors.New("damaged cabinet")

// cabinet lists the names in a cabinet file ([MS-CAB], 2). The content is not
// read, because it is compressed with Microsoft's own methods.
func (w *walk) cabinet() error {
	var h [36]byte
	if _, err := w.At.ReadAt(h[:], 0); err != nil {
		return errCabinet
	}
	at, files := int64(le.Uint32(h[16:])), int(le.Uint16(h[28:]))
	if string(h[:4]) != "MSCF" || at < int64(len(h)) {
		return errCabinet
	}
	if files > w.Files {
		return ErrFiles
	}
	for range files {
		// An entry has a fixed part and a NUL-terminated name of at
		// most 255 octets.
		var b [16 + 256]byte
		n, err := w.At.ReadAt(b[:], at)
		if err != nil && err != io.EOF {
			return err
		}
		length := bytes.IndexByte(b[min(n, 16):n], 0)
		if length < 1 {
			return errCabinet
		}
		name, attributes := b[16:16+length], le.Uint16(b[14:])
		at += int64(16 + length + 1)
		if err := w.visit(Entry{Name: cabinetName(name, attributes), Size: int64(le.Uint32(b[:])), Unread: ErrNamesOnly.Error()}); err != nil {
			return err
		}
	}
	return ErrNamesOnly
}

// cabinetName decodes a name, which is in UTF-8 if an attribute is set.
func cabinetName(name []byte, attributes uint16) string {
	const isUTF8 = 0x80
	if attributes&isUTF8 != 0 || utf8.Valid(name) {
		return string(name)
	}
	text, err := charmap.Windows1252.NewDecoder().Bytes(name)
	if err != nil {
		return string(name)
	}
	return string(text)
}
