package attachments

import (
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"
	"unicode/utf16"
)

// attribute is one attribute of a winmail.dat, with a checksum that no reader
// looks at.
func attribute(level byte, id uint32, data []byte) []byte {
	b := binary.LittleEndian.AppendUint32([]byte{level}, id)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(data)))
	return append(append(b, data...), 0, 0)
}

// properties is a list of MAPI properties.
func properties(list ...[]byte) []byte {
	b := binary.LittleEndian.AppendUint32(nil, uint32(len(list)))
	for _, p := range list {
		b = append(b, p...)
	}
	return b
}

// variable is a property with a value of variable size; fixed has four octets.
func variable(typ, id uint16, value []byte) []byte {
	b := binary.LittleEndian.AppendUint16(nil, typ)
	b = binary.LittleEndian.AppendUint16(b, id)
	b = binary.LittleEndian.AppendUint32(b, 1)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(value)))
	return append(append(b, value...), make([]byte, -len(value)&3)...)
}

func fixed(typ, id uint16, value []byte) []byte {
	b := binary.LittleEndian.AppendUint16(nil, typ)
	return append(binary.LittleEndian.AppendUint16(b, id), value...)
}

func utf16Text(s string) []byte {
	var b []byte
	for _, u := range utf16.Encode([]rune(s + "\x00")) {
		b = binary.LittleEndian.AppendUint16(b, u)
	}
	return b
}

func winmail(attributes ...[]byte) []byte {
	b := append([]byte(nil), tnefSig...)
	b = append(b, 1, 0)
	for _, a := range attributes {
		b = append(b, a...)
	}
	return b
}

// TestTNEFInPractice reads files as the versions of Outlook and Exchange write
// them. A property of the wrong size would shift all that follow it.
func TestTNEFInPractice(t *testing.T) {
	const ansiText, unicodeText, binaryData = 0x1e, 0x1f, 0x102
	begin := attribute(2, attAttachRendData, make([]byte, 14))
	data := attribute(2, attAttachData, exe)
	title := attribute(2, attAttachTitle, []byte("RUN.EXE\x00"))
	props := func(list ...[]byte) []byte { return attribute(2, attAttachment, properties(list...)) }
	message := func(list ...[]byte) []byte { return attribute(1, attMAPIProps, properties(list...)) }
	long := variable(unicodeText, propAttachLongName, utf16Text("l\u00e4ufer.exe"))
	named := append(binary.LittleEndian.AppendUint16(nil, 0x03), 0x01, 0x80)
	byNumber := append(append(append([]byte(nil), named...), make([]byte, 16+4)...), 7, 0, 0, 0, 1, 0, 0, 0)
	byName := append(append(append([]byte(nil), named...), make([]byte, 16)...), 1, 0, 0, 0, 6, 0, 0, 0, 'a', 0, 'b', 0, 0, 0, 0, 0, 1, 0, 0, 0)
	for _, c := range []struct {
		name  string
		dat   []byte
		want  string // the names found
		error error
	}{
		{"a short name and data", winmail(begin, title, data), "RUN.EXE", nil},
		{"the name after the data", winmail(begin, data, title), "RUN.EXE", nil},
		{"a long name in UTF-16", winmail(begin, data, props(long)), "l\u00e4ufer.exe", nil},
		{"properties of fixed sizes before the name", winmail(begin, data, props(fixed(0x03, 0x0e20, make([]byte, 4)), fixed(0x40, 0x3007, make([]byte, 8)), fixed(0x0b, 0x7ffe, make([]byte, 4)),
			fixed(0x02, 0x1234, make([]byte, 4)), fixed(0x14, 0x1235, make([]byte, 8)), fixed(0x48, 0x1236, make([]byte, 16)), long)), "l\u00e4ufer.exe", nil},
		{"values with padding before the name", winmail(begin, data, props(variable(binaryData, 0x3702, []byte("x")), variable(ansiText, 0x3703, []byte(".exe\x00")), long)), "l\u00e4ufer.exe", nil},
		{"named properties before the name", winmail(begin, data, props(byNumber, byName, long)), "l\u00e4ufer.exe", nil},
		{"only a display name", winmail(begin, data, props(variable(ansiText, propDisplayName, []byte("run.exe\x00")))), "run.exe", nil},
		{"only the short name among the properties", winmail(begin, data, props(variable(ansiText, propAttachFilename, []byte("run.exe\x00")))), "run.exe", nil},
		{"no name at all", winmail(begin, data), "(no name)", nil},
		{"data without a beginning", winmail(title, data), "RUN.EXE", nil},
		{"two attachments", winmail(begin, title, data, begin, data, props(long)), "RUN.EXE l\u00e4ufer.exe", nil},
		{"data in the properties", winmail(begin, title, props(variable(binaryData, propAttachObject, exe))), "RUN.EXE", nil},
		{"no data", winmail(begin, title), "RUN.EXE", nil},
		{"attributes that do not matter", winmail(attribute(1, 0x00068005, make([]byte, 14)), begin, attribute(2, 0x00068011, exe), title, data), "RUN.EXE", nil},
		{"the text of the message as HTML", winmail(message(variable(binaryData, propHTML, []byte("<p>hello</p>"))), begin, title, data), "body.html RUN.EXE", nil},
		{"the text of the message as RTF", winmail(message(variable(binaryData, propRTF, []byte("x"))), begin, title, data), "body.rtf.compressed RUN.EXE", nil},
		{"HTML rather than RTF", winmail(message(variable(binaryData, propRTF, []byte("x")), variable(binaryData, propHTML, []byte("<p>")))), "body.html", nil},
		{"no text", winmail(message(fixed(0x03, 0x0e07, make([]byte, 4)))), "", nil},
		{"nothing", winmail(), "", nil},

		{"cut inside an attribute", winmail(begin, title, data)[:60], "RUN.EXE", errTNEF},
		{"an unknown level", winmail(begin, title, data, attribute(3, attAttachTitle, nil)), "RUN.EXE", errTNEF},
		{"an attribute larger than the file", append(winmail(begin, title, data), 2, 5, 0x90, 6, 0, 0xff, 0xff, 0xff, 0x7f), "RUN.EXE", errTNEF},
		{"more properties than an attachment has", winmail(begin, title, data, attribute(2, attAttachment, []byte{0xff, 0xff, 0, 0})), "RUN.EXE", errTNEF},
		{"a value larger than its property", winmail(begin, title, data, props(variable(binaryData, 0x3702, nil)[:8], []byte{0xff, 0xff, 0xff, 0x7f})), "RUN.EXE", errTNEF},
		{"another signature", []byte("MZ and more"), "", errTNEF},
		{"too short", tnefSig, "", errTNEF},
	} {
		msg := attached("Content-Type: application/ms-tnef\r\nContent-Disposition: attachment; filename=winmail.dat\r\n", c.dat)
		var got []string
		unread := ""
		for _, it := range list(t, msg, Limits{}) {
			if it.Path == "2" {
				unread = it.Unread
			}
			if name, ok := strings.CutPrefix(it.Path, "2/"); ok && !strings.Contains(name, "/") {
				got = append(got, name)
			}
		}
		if c.error == nil && (strings.Join(got, " ") != c.want || unread != "") || c.error != nil && c.want != "" && strings.Join(got, " ") != c.want {
			t.Errorf("%s: %q, unread %q; want %s", c.name, got, unread, c.want)
		}
		if c.error != nil && len(c.dat) > 20 && !strings.Contains(unread, c.error.Error()) {
			t.Errorf("%s: unread %q, want %v", c.name, unread, c.error)
		}
	}
}

// TestCodePages checks the charset of short names.
func TestCodePages(t *testing.T) {
	for page, want := range map[uint32]string{
		0: "windows-1252", 1252: "windows-1252", 1251: "windows-1251", 874: "windows-874", 932: "shift_jis", 936: "gbk", 949: "euc-kr", 950: "big5",
		65001: "utf-8", 28591: "iso-8859-1", 28605: "iso-8859-15", 866: "ibm866", 500: "windows-1252", 1259: "windows-1252", 1<<32 - 1: "windows-1252",
	} {
		if got := codePage(page); got != want {
			t.Errorf("code page %d: %s, want %s", page, got, want)
		}
	}
}

// TestMAPIValuesAreLimited checks that the number of values is limited for the
// whole file, because each costs a read.
func TestMAPIValuesAreLimited(t *testing.T) {
	one := properties(fixed(0x03, 0x0e20, make([]byte, 4)), fixed(0x03, 0x0e21, make([]byte, 4)))
	budget := 3
	read := func() error {
		return mapiProps(io.NewSectionReader(strings.NewReader(string(one)), 0, int64(len(one))), &budget, func(uint16, uint16, *io.SectionReader) {})
	}
	if err := read(); err != nil || budget != 1 {
		t.Fatalf("%v, %d left", err, budget)
	}
	if err := read(); !errors.Is(err, errFiles) {
		t.Errorf("beyond the limit: %v", err)
	}
}

// TestLabel checks the name of an item in a sentence.
func TestLabel(t *testing.T) {
	for _, c := range []struct {
		it   Item
		want string
	}{
		{Item{Path: "2"}, "part 2"},
		{Item{Path: "2", Name: "run.exe"}, "run.exe"},
		{Item{Path: "2/a/run.exe", Name: `C:\temp\run.exe`}, "run.exe"},
	} {
		if got := c.it.Label(); got != c.want {
			t.Errorf("%+v: %q, want %q", c.it, got, c.want)
		}
	}
	if got := (&Item{Path: "2", Name: "a\u202efdp.exe"}).Label(); strings.ContainsRune(got, '\u202e') {
		t.Errorf("a name that is shown backwards: %q", got)
	}
	for extension, want := range map[string]bool{"exe": true, "lnk": true, "iso": true, "pdf": false, "": false, "EXE": false, "docm": true, "docx": false} {
		if Executable(extension) != want {
			t.Errorf("Executable(%q) is %v", extension, !want)
		}
	}
}
