// Package oletest writes compound files for tests (MS-CFB).
package oletest

import (
	"encoding/binary"
	"unicode/utf16"

	"hoplite/mail/ole"
)

// Entry is a folder or, if Data is set, a stream.
type Entry struct {
	Name string
	Data []byte
	// Child is the number of the first entry in a folder, and Next the
	// number of the entry's next sibling; 0 means none. Entries are
	// numbered from 1.
	Child, Next int
}

const (
	sector = 512
	inRow  = sector / 4 // number of entries in one sector of the table
	none   = 0xffffffff
	last   = 0xfffffffe
	small  = 4096 // shorter streams would be stored elsewhere
)

// File returns a compound file with the given entries. The first one is the
// first entry in the root. Data is padded with zeros to 4 KiB.
func File(entries ...Entry) []byte {
	var body []byte
	dir := entryOf(Entry{Name: "Root Entry", Child: 1}, 5, last, 0)
	dirSectors := (len(entries)*128 + 128 + sector - 1) / sector
	for _, e := range entries {
		if e.Data == nil {
			dir = append(dir, entryOf(e, 1, 0, 0)...)
			continue
		}
		data := append(make([]byte, 0, small), e.Data...)
		for len(data) < small || len(data)%sector != 0 {
			data = append(data, 0)
		}
		dir = append(dir, entryOf(e, 2, dirSectors+len(body)/sector, len(data))...)
		body = append(body, data...)
	}
	for len(dir)%sector != 0 {
		dir = append(dir, entryOf(Entry{}, 0, 0, 0)...)
	}
	return assemble(dir, body, entries)
}

// assemble returns a header followed by the table, the directory and the
// streams. The directory starts in the sector after the table.
func assemble(dir, body []byte, entries []Entry) []byte {
	used := (len(dir) + len(body)) / sector
	rows := 1
	for rows*inRow < used+rows {
		rows++
	}
	table := make([]uint32, rows*inRow)
	for i := range table {
		table[i] = none
	}
	for i := range rows {
		table[i] = 0xfffffffd
	}
	at := rows
	chain := func(octets int) {
		for n := octets / sector; n > 0; n-- {
			table[at] = uint32(at + 1)
			at++
		}
		table[at-1] = last
	}
	chain(len(dir))
	for _, e := range entries {
		if e.Data != nil {
			chain((max(len(e.Data), small) + sector - 1) / sector * sector)
		}
	}
	le := binary.LittleEndian
	h := make([]byte, sector)
	copy(h, ole.Magic)
	le.PutUint16(h[24:], 0x3e)
	le.PutUint16(h[26:], 3)
	le.PutUint16(h[28:], 0xfffe)
	le.PutUint16(h[30:], 9)
	le.PutUint16(h[32:], 6)
	le.PutUint32(h[44:], uint32(rows))
	le.PutUint32(h[48:], uint32(rows)) // the directory
	le.PutUint32(h[56:], small)
	le.PutUint32(h[60:], last)
	le.PutUint32(h[68:], last)
	for i := range 109 {
		le.PutUint32(h[76+4*i:], none)
	}
	for i := range rows {
		le.PutUint32(h[76+4*i:], uint32(i))
	}
	for _, t := range table {
		h = le.AppendUint32(h, t)
	}
	for i := 0; i < len(dir); i += 128 { // streams follow table and directory
		if dir[i+66] == 2 {
			le.PutUint32(dir[i+116:], le.Uint32(dir[i+116:])+uint32(rows))
		}
	}
	return append(append(h, dir...), body...)
}

func entryOf(e Entry, kind byte, start, size int) []byte {
	d := make([]byte, 128)
	le := binary.LittleEndian
	name := utf16.Encode([]rune(e.Name))
	for i, u := range name {
		le.PutUint16(d[2*i:], u)
	}
	le.PutUint16(d[64:], uint16(2*len(name)+2))
	d[66], d[67] = kind, 1
	link := func(at, n int) {
		to := uint32(none)
		if n > 0 {
			to = uint32(n)
		}
		le.PutUint32(d[at:], to)
	}
	link(68, 0)
	link(72, e.Next)
	link(76, e.Child)
	le.PutUint32(d[116:], uint32(start))
	le.PutUint32(d[120:], uint32(size))
	return d
}
