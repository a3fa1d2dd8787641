package archive_test

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"strings"
	"testing"
	"unicode/utf16"

	"hoplite/internal/memory"
	"hoplite/mail/attachments/archive"
)

// sevenFile is a file of a 7z archive. Every file that is not empty has a folder
// of its own.
type sevenFile struct {
	name       string
	data       string
	coder      string // the coder's identifier; "\x00" stores the data
	properties string
	attributes uint32
	folder     bool
}

// sevenNumber encodes a number of up to 32 bits.
func sevenNumber(b []byte, n int) []byte {
	if n < 0x80 {
		return append(b, byte(n))
	}
	return binary.LittleEndian.AppendUint32(append(b, 0xf0), uint32(n))
}

// sevenStreams is the section that describes how files are compressed. Their
// data begins at an offset after the first header. The section may assign files
// to folders, and then holds their checksums.
func sevenStreams(at int, files []sevenFile, assign bool) []byte {
	n := len(files)
	b := sevenNumber(sevenNumber([]byte{0x06}, at), n)
	b = append(b, 0x09)
	for _, f := range files {
		b = sevenNumber(b, len(f.data))
	}
	b = append(sevenNumber(append(b, 0x00, 0x07, 0x0b), n), 0x00)
	for _, f := range files {
		flags := byte(len(f.coder))
		if f.properties != "" {
			flags |= 0x20
		}
		b = append(append(b, 1, flags), f.coder...)
		if f.properties != "" {
			b = append(sevenNumber(b, len(f.properties)), f.properties...)
		}
	}
	b = append(b, 0x0c)
	for _, f := range files {
		b = sevenNumber(b, len(f.data))
	}
	b = append(b, 0x00)
	if assign {
		b = append(b, 0x08, 0x0a, 1)
		for _, f := range files {
			b = binary.LittleEndian.AppendUint32(b, crc32.ChecksumIEEE([]byte(f.data)))
		}
		b = append(b, 0x00)
	}
	return append(b, 0x00)
}

// sevenDirectory is an uncompressed directory.
func sevenDirectory(assign bool, files ...sevenFile) []byte {
	var full []sevenFile
	var names, attributes []byte
	empty, regular := make([]byte, (len(files)+7)/8), []byte{0}
	nEmpty := 0
	for i, f := range files {
		if f.data != "" {
			full = append(full, f)
		} else {
			empty[i/8] |= 0x80 >> (i % 8)
			if !f.folder {
				regular[0] |= 0x80 >> nEmpty
			}
			nEmpty++
		}
		for _, u := range utf16.Encode([]rune(f.name + "\x00")) {
			names = binary.LittleEndian.AppendUint16(names, u)
		}
		attributes = binary.LittleEndian.AppendUint32(attributes, f.attributes)
	}
	b := []byte{0x01}
	if len(full) > 0 {
		b = append(append(b, 0x04), sevenStreams(0, full, assign)...)
	}
	b = sevenNumber(append(b, 0x05), len(files))
	property := func(kind byte, content []byte) {
		b = append(sevenNumber(append(b, kind), len(content)), content...)
	}
	if nEmpty > 0 {
		property(0x0e, empty)
		property(0x0f, regular)
	}
	property(0x11, append([]byte{0}, names...))
	property(0x15, append([]byte{1, 0}, attributes...))
	return append(b, 0x00, 0x00)
}

// sevenArchive is an archive of packed data and a directory.
func sevenArchive(data string, directory []byte) []byte {
	le := binary.LittleEndian
	start := le.AppendUint64(le.AppendUint64(nil, uint64(len(data))), uint64(len(directory)))
	start = le.AppendUint32(start, crc32.ChecksumIEEE(directory))
	b := le.AppendUint32([]byte("7z\xbc\xaf\x27\x1c\x00\x04"), crc32.ChecksumIEEE(start))
	return append(append(append(b, start...), data...), directory...)
}

func sevenOf(files ...sevenFile) []byte {
	return sevenArchive(sevenData(files), sevenDirectory(true, files...))
}

// sevenUnassigned is an archive that does not assign files to folders. By
// default, there is one in each.
func sevenUnassigned(files ...sevenFile) []byte {
	return sevenArchive(sevenData(files), sevenDirectory(false, files...))
}

func sevenData(files []sevenFile) string {
	var data strings.Builder
	for _, f := range files {
		data.WriteString(f.data)
	}
	return data.String()
}

// sevenReversed is an archive of one file whose data follows the directory.
func sevenReversed(f sevenFile) []byte {
	directory := sevenDirectory(true, f)
	directory[3] = byte(len(directory)) // the offset of the data
	return append(sevenArchive("", directory), f.data...)
}

// sevenPacked is an archive of one stored file whose directory is itself
// described by streams, as 7-Zip writes it when it compresses the directory.
func sevenPacked(coder, properties string, edit func([]sevenFile) []sevenFile) []byte {
	const content = "hello\n"
	directory := sevenDirectory(true, sevenFile{name: "a.txt", data: content, coder: "\x00"})
	streams := []sevenFile{{data: string(directory), coder: coder, properties: properties}}
	if edit != nil {
		streams = edit(streams)
	}
	return sevenArchive(content+string(directory), append([]byte{0x17}, sevenStreams(len(content), streams, false)...))
}

// TestSevenDirectories reads directories of 7z archives. A file in a folder that
// cannot be unpacked is listed, with the reason, and does not hide the others.
func TestSevenDirectories(t *testing.T) {
	const (
		stored      = "\x00"
		lzma        = "\x03\x01\x01"
		ppmd        = "\x03\x04\x01"
		aes         = "\x06\xf1\x07\x01"
		zstandard   = "\x04\xf7\x11\x01" // of a fork of 7-Zip
		symlink     = 0x8000 | 0o120777<<16
		unsupported = "unread: compressed with a method that is not supported"
	)
	text := sevenFile{name: "a.txt", data: "hello\n", coder: stored}
	with := func(coder, properties string) sevenFile {
		return sevenFile{name: "run.exe", data: "xxxxxx", coder: coder, properties: properties}
	}
	for _, c := range []struct {
		name string
		data []byte
		want string
		err  string
	}{
		{"a stored file", sevenOf(text), `a.txt 6 "hello\n"`, ""},
		{"an empty file", sevenOf(sevenFile{name: "empty"}), `empty 0 ""`, ""},
		{"a folder is not a file", sevenOf(sevenFile{name: "d", folder: true, attributes: 0x10}, text), `a.txt 6 "hello\n"`, ""},
		{"a link to a file outside", sevenOf(sevenFile{name: "l", data: "/etc/passwd", coder: stored, attributes: symlink}), "l link", ""},
		{"a file after a link", sevenOf(sevenFile{name: "l", data: "a.txt", coder: stored, attributes: symlink}, text), "l link\na.txt 6 \"hello\\n\"", ""},
		{"a name in UTF-16", sevenOf(sevenFile{name: "l\u00e4ufer\U0001f600.exe", data: "x", coder: stored}), "l\u00e4ufer\U0001f600.exe 1 \"x\"", ""},
		{"a path that leaves the folder", sevenOf(sevenFile{name: "../../run.exe", data: "x", coder: stored}), `../../run.exe 1 "x"`, ""},
		{"a method of a fork", sevenOf(with(zstandard, "")), "run.exe " + unsupported, ""},
		{"a method of a fork, then a stored file", sevenOf(with(zstandard, ""), text), "run.exe " + unsupported + "\na.txt 6 \"hello\\n\"", ""},
		{"an encrypted file, then a stored one", sevenOf(with(aes, "\x00"), text), "run.exe encrypted\na.txt 6 \"hello\\n\"", ""},
		{"LZMA without its properties", sevenOf(with(lzma, "")), "run.exe " + unsupported, ""},
		{"LZMA2 with a dictionary size that does not exist", sevenOf(with("\x21", "\x29")), "run.exe " + unsupported, ""},
		{"PPMd with a byte too few", sevenOf(with(ppmd, "\x06\x00\x00\x00")), "run.exe " + unsupported, ""},
		{"PPMd that needs 4 GiB", sevenOf(with(ppmd, "\x06\xff\xff\xff\xff")), "", memory.ErrFull.Error()},
		{"a coder without an identifier", sevenOf(with("", "")), "run.exe " + unsupported, ""},

		{"one folder without a section that assigns files", sevenUnassigned(text), `a.txt 6 "hello\n"`, ""},
		{"two folders without a section that assigns files", sevenUnassigned(text, sevenFile{name: "run.exe", data: "MZ", coder: stored}), "", "damaged 7z directory"},
		{"a packed directory", sevenPacked(stored, "", nil), `a.txt 6 "hello\n"`, ""},
		{"a directory packed by a method of a fork", sevenPacked(zstandard, "", nil), "", archive.ErrMethod.Error()},
		{"an encrypted directory", sevenPacked(aes, "\x00", nil), "", archive.ErrEncrypted.Error()},
		{"a directory packed in two folders", sevenPacked(stored, "", func(f []sevenFile) []sevenFile { return append(f, text) }), "", "damaged 7z directory"},
		{"a directory packed in no folder", sevenPacked(stored, "", func([]sevenFile) []sevenFile { return nil }), "", "damaged 7z directory"},
		{"a packed directory of more than a MiB", sevenPacked(stored, "", func(f []sevenFile) []sevenFile {
			f[0].data += strings.Repeat("\x00", 1<<20)
			return f
		}), "", archive.ErrFiles.Error()},
		{"a packed directory that ends early", sevenPacked(lzma, "\x5d\x00\x00\x10\x00", nil), "", "damaged 7z directory"},
		{"a directory within a packed directory", sevenArchive("\x17", append([]byte{0x17}, sevenStreams(0, []sevenFile{{data: "\x17", coder: stored}}, false)...)), "", "damaged 7z directory"},

		{"a directory of another kind", sevenArchive("", []byte{0x02, 0x00}), "", "damaged 7z directory"},
		{"a directory of more than a MiB", sevenArchive("", bytes.Repeat([]byte{0x01}, 1<<20+1)), "", archive.ErrFiles.Error()},
		{"a directory that begins beyond the archive", edited(sevenOf(text), 12, "\xff\xff\xff\x7f"), "", "damaged 7z directory"},
		{"a directory that ends beyond the archive", edited(sevenOf(text), 20, "\xff"), "", "damaged 7z directory"},
		{"a directory with an offset of 64 bits", edited(sevenOf(text), 12, "\xff\xff\xff\xff\xff\xff\xff\xff"), "", "damaged 7z directory"},
		{"data cut from a stored file", sevenArchive("hel", sevenDirectory(true, text)), "", "damaged 7z: a file ends early"},
		{"data after the directory", sevenReversed(text), "", "damaged 7z: a file ends early"},
	} {
		t.Run(c.name, func(t *testing.T) {
			budget := memory.New(24 << 20)
			got, err := listing(t, sevenZ, c.data, archive.Options{Memory: budget.Share(0)})
			if c.err == "" && (err != nil || got != c.want) {
				t.Errorf("got %s, %v; want %s", got, err, c.want)
			}
			if c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
				t.Errorf("error %v, want %s (%s)", err, c.err, got)
			}
			if used := budget.Used(); used != 0 {
				t.Errorf("%d octets of memory were not returned", used)
			}
		})
	}
}
