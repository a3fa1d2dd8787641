// Package archivetest creates archives in formats that Go cannot write: RAR,
// cabinet and ISO 9660.
package archivetest

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"unicode/utf16"
)

var le = binary.LittleEndian

// File is a file to store. Flags are added to those in its header.
type File struct {
	Name  string
	Data  []byte
	Flags uint64
}

// varint appends a number as encoded in RAR 5.
func varint(b []byte, v uint64) []byte { return binary.AppendUvarint(b, v) }

// block5 adds the checksum and length to a RAR 5 block.
func block5(body []byte) []byte {
	sized := append(varint(nil, uint64(len(body))), body...)
	return append(le.AppendUint32(nil, crc32.ChecksumIEEE(sized)), sized...)
}

// RAR5 returns an archive in the format of RAR 5 and later. Files are stored
// uncompressed.
func RAR5(files ...File) []byte {
	out := []byte("Rar!\x1a\x07\x01\x00")
	out = append(out, block5([]byte{1, 0, 0})...)
	for _, f := range files {
		out = append(out, Head5(f, 0)...)
		out = append(out, f.Data...)
	}
	return append(out, block5([]byte{5, 0, 0})...)
}

// Head5 returns the header of a file. compression is the field that contains
// the method and the dictionary size.
func Head5(f File, compression uint64) []byte {
	const file, hasData, hasCRC, unix = 2, 2, 4, 1
	b := []byte{file, hasData}
	b = varint(b, uint64(len(f.Data)))
	b = varint(b, hasCRC|f.Flags)
	b = varint(b, uint64(len(f.Data)))
	b = varint(b, 0o644)
	b = le.AppendUint32(b, crc32.ChecksumIEEE(f.Data))
	b = varint(b, compression)
	b = varint(b, unix)
	b = varint(b, uint64(len(f.Name)))
	return block5(append(b, f.Name...))
}

// RAR4 returns an archive in the format of RAR 1.5 to 4. Files are stored
// uncompressed.
func RAR4(files ...File) []byte {
	out := []byte("Rar!\x1a\x07\x00")
	block := func(kind byte, flags uint16, rest []byte) {
		b := le.AppendUint16([]byte{kind}, flags)
		b = append(le.AppendUint16(b, uint16(7+len(rest))), rest...)
		out = append(le.AppendUint16(out, uint16(crc32.ChecksumIEEE(b))), b...)
	}
	block(0x73, 0, make([]byte, 6))
	for _, f := range files {
		const hasData, stored, unix, version = 0x8000, 0x30, 3, 20
		b := le.AppendUint32(nil, uint32(len(f.Data)))
		b = append(le.AppendUint32(b, uint32(len(f.Data))), unix)
		b = le.AppendUint32(b, crc32.ChecksumIEEE(f.Data))
		b = append(le.AppendUint32(b, 0), version, stored)
		b = le.AppendUint16(b, uint16(len(f.Name)))
		b = le.AppendUint32(b, 0o100644)
		block(0x74, hasData|uint16(f.Flags), append(b, f.Name...))
		out = append(out, f.Data...)
	}
	block(0x7b, 0, nil)
	return out
}

// Image is an ISO 9660 image under construction.
type Image struct {
	b    []byte
	next uint32 // the next free sector
}

const sector = 2048

// NewImage returns an image with space for descriptors and directories.
func NewImage() *Image { return &Image{b: make([]byte, 32*sector), next: 32} }

// Record is a directory entry.
type Record struct {
	Name         string // encoded as in its directory
	Extent, Size uint32
	Folder       bool
}

// Store adds a file's content and returns its directory entry.
func (i *Image) Store(name string, data []byte) Record {
	r := Record{Name: name, Extent: i.next, Size: uint32(len(data))}
	sectors := (len(data) + sector - 1) / sector
	i.b = append(i.b, data...)
	i.b = append(i.b, make([]byte, sectors*sector-len(data))...)
	i.next += uint32(sectors)
	return r
}

func (r Record) encode() []byte {
	b := make([]byte, 33, 34+len(r.Name))
	le.PutUint32(b[2:], r.Extent)
	le.PutUint32(b[10:], r.Size)
	if r.Folder {
		b[25] = 2
	}
	b[32] = byte(len(r.Name))
	b = append(b, r.Name...)
	if len(b)%2 != 0 {
		b = append(b, 0)
	}
	b[0] = byte(len(b))
	return b
}

// Directory adds a one-sector directory and returns its entry.
func (i *Image) Directory(name string, entries ...Record) Record {
	r := Record{Name: name, Extent: i.next, Size: sector, Folder: true}
	var b bytes.Buffer
	for _, own := range []string{"\x00", "\x01"} {
		b.Write(Record{Name: own, Extent: r.Extent, Size: sector, Folder: true}.encode())
	}
	for _, e := range entries {
		b.Write(e.encode())
	}
	data := make([]byte, sector)
	copy(data, b.Bytes())
	i.b = append(i.b, data...)
	i.next++
	return r
}

// Descriptor writes the n-th volume descriptor. Kind 1 is the primary
// directory, 2 the Joliet directory.
func (i *Image) Descriptor(n int, kind byte, root Record) {
	b := i.b[(16+n)*sector:]
	b[0] = kind
	copy(b[1:], "CD001\x01")
	if kind == 2 {
		copy(b[88:], "%/E")
	}
	root.Name = "\x00"
	copy(b[156:190], root.encode())
}

// Mark overwrites the identifier of the n-th descriptor, for example with that
// of UDF.
func (i *Image) Mark(n int, id string) { copy(i.b[(16+n)*sector+1:], id) }

// Bytes returns the image.
func (i *Image) Bytes() []byte { return i.b }

// Joliet encodes a name in UCS-2.
func Joliet(name string) string {
	var b []byte
	for _, u := range utf16.Encode([]rune(name)) {
		b = binary.BigEndian.AppendUint16(b, u)
	}
	return string(b)
}

// Cabinet returns a cabinet that lists files without their content. Flags are
// file attributes.
func Cabinet(files ...File) []byte {
	b := make([]byte, 36)
	copy(b, "MSCF")
	le.PutUint32(b[16:], uint32(len(b)))
	b[24], b[25] = 3, 1
	le.PutUint16(b[28:], uint16(len(files)))
	for _, f := range files {
		e := make([]byte, 16)
		le.PutUint32(e, uint32(len(f.Data)))
		le.PutUint16(e[14:], uint16(f.Flags))
		b = append(append(append(b, e...), f.Name...), 0)
	}
	return b
}
