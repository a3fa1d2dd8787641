package archive_test

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"strings"
	"testing"

	"hoplite/internal/memory"
	"hoplite/mail/attachments/archive"
	"hoplite/mail/attachments/archive/archivetest"
)

const (
	gzipKind = "application/gzip"
	tarKind  = "application/x-tar"
	zstdKind = "application/zstd"
	lzmaKind = "application/x-lzma"
	bzipKind = "application/x-bzip2"
)

// rarBlock is a block of a RAR 5 archive with its checksum and length.
func rarBlock(body ...byte) []byte {
	sized := append(binary.AppendUvarint(nil, uint64(len(body))), body...)
	return append(binary.LittleEndian.AppendUint32(nil, crc32.ChecksumIEEE(sized)), sized...)
}

// rarOf is a RAR 5 archive of the given blocks.
func rarOf(blocks ...[]byte) []byte {
	return append([]byte("Rar!\x1a\x07\x01\x00"), bytes.Join(blocks, nil)...)
}

// zstdBlock is a block of type 0 (raw) or 1 (repeated octet).
func zstdBlock(kind, size int, last bool, data string) string {
	h := size<<3 | kind<<1
	if last {
		h |= 1
	}
	return string([]byte{byte(h), byte(h >> 8), byte(h >> 16)}) + data
}

// edited returns a copy of b with some octets replaced.
func edited(b []byte, at int, with string) []byte {
	b = bytes.Clone(b)
	copy(b[at:], with)
	return b
}

// TestShapes reads archives in the less common shapes that programs write. A
// shape that is not understood hides a file from the filters.
func TestShapes(t *testing.T) {
	const frame = "\x28\xb5\x2f\xfd\x00\x00" // a window of 1 KiB
	hello := archivetest.XZ(0, []byte("hello\n"))
	long := strings.Repeat("d/", 80) + "run.exe"
	for _, c := range []struct {
		name, kind string
		data       []byte
		want       string
		err        string
	}{
		{"gzip in members, as log rotation appends them", gzipKind, append(gz("a", []byte("one ")), gz("b", []byte("two"))...), `a 7 "one two"`, ""},
		{"gzip with a path as its name", gzipKind, gz("../../run.exe", []byte("x")), `../../run.exe 1 "x"`, ""},
		{"gzip of nothing", gzipKind, gz("a", nil), `a 0 ""`, ""},
		{"gzip that ends early", gzipKind, gz("a", []byte("hello"))[:20], "", "read a: unexpected EOF"},
		{"gzip with a wrong checksum", gzipKind, edited(gz("", []byte("hello")), len(gz("", []byte("hello")))-8, "xxxx"), "", "invalid checksum"},
		{"bzip2 that is damaged", bzipKind, []byte("BZh9xxxxxxxxxxxx"), "", "bzip2 data invalid"},

		{"tar with a hard link to a file outside", tarKind, tarOf(t, &tar.Header{Name: "l", Typeflag: tar.TypeLink, Linkname: "/etc/passwd"}), "l link", ""},
		{"tar with devices and directories only", tarKind, tarOf(t, &tar.Header{Name: "d/", Typeflag: tar.TypeDir}, &tar.Header{Name: "null", Typeflag: tar.TypeChar}, &tar.Header{Name: "p", Typeflag: tar.TypeFifo}), "", ""},
		{"tar with a name longer than its field", tarKind, tarOf(t, &tar.Header{Name: long, Size: 1}), long + ` 1 "\x00"`, ""},
		{"tar with a name in UTF-8", tarKind, tarOf(t, &tar.Header{Name: "l\u00e4ufer.exe", Size: 1, Format: tar.FormatPAX}), "l\u00e4ufer.exe 1 \"\\x00\"", ""},
		{"tar that ends inside a file", tarKind, tarOf(t, &tar.Header{Name: "a", Size: 2000})[:1024], "", "read a: unexpected EOF"},
		{"tar without its two empty blocks", tarKind, tarOf(t, &tar.Header{Name: "a", Size: 512})[:1024], `a 512 "\x00\x00\x00\x00\x00\x00\x00\x00"`, ""},

		{"zstd with a skippable frame before the content, as pzstd writes it", zstdKind, []byte("\x50\x2a\x4d\x18\x04\x00\x00\x00abcd" + frame + zstdBlock(0, 5, true, "hello")), `5 "hello"`, ""},
		{"zstd in frames", zstdKind, []byte(frame + zstdBlock(0, 2, true, "ab") + frame + zstdBlock(0, 2, true, "cd")), `4 "abcd"`, ""},
		{"zstd in blocks", zstdKind, []byte(frame + zstdBlock(0, 2, false, "ab") + zstdBlock(0, 2, true, "cd")), `4 "abcd"`, ""},
		{"zstd with a repeated octet", zstdKind, []byte(frame + zstdBlock(1, 20, true, "x")), `20 "xxxxxxxx"`, ""},
		{"zstd of nothing", zstdKind, []byte(frame + zstdBlock(0, 0, true, "")), `0 ""`, ""},
		{"zstd that ends inside a block", zstdKind, []byte(frame + zstdBlock(0, 5, true, "hel")), "", "unexpected EOF"},
		{"zstd that ends before a block", zstdKind, []byte(frame), "", "unexpected EOF"},
		{"text after a zstd", zstdKind, []byte(frame + zstdBlock(0, 5, true, "hello") + "and more text"), "", "damaged zstd"},
		{"a zstd header alone", zstdKind, []byte("\x28\xb5\x2f\xfd"), "", "damaged zstd"},

		{"xz followed by padding", xzKind, append(bytes.Clone(hello), make([]byte, 8)...), `6 "hello\n"`, ""},
		{"xz streams with padding between them", xzKind, bytes.Join([][]byte{hello, make([]byte, 4), hello}, nil), `12 "hello\nhe"`, ""},
		{"xz with padding of an odd length", xzKind, append(bytes.Clone(hello), 0, 0, 0), "", "damaged xz"},
		{"xz without blocks", xzKind, archivetest.XZ(0), `0 ""`, ""},
		{"xz with a block of more than one chunk", xzKind, archivetest.XZ(20, make([]byte, 70_000)), `70000 "\x00\x00\x00\x00\x00\x00\x00\x00"`, ""},
		{"xz with a damaged stream header", xzKind, edited(hello, 8, "xxxx"), "", "damaged xz: not a header"},
		{"xz with a damaged block header", xzKind, edited(hello, 20, "xxxx"), "", "damaged xz: check sum of a block header"},
		{"xz with a dictionary size that does not exist", xzKind, archivetest.XZ(41, []byte("x")), "", "damaged xz: dictionary size"},
		{"xz cut after its header", xzKind, hello[:12], "", "damaged xz"},
		{"xz cut in its index", xzKind, hello[:len(hello)-14], "", "damaged xz"},
		{"xz whose first chunk needs an earlier dictionary", xzKind, edited(hello, 24, "\x02"), "", "damaged xz: no new dictionary"},

		{"lzma cut in its header", lzmaKind, testdata(t, "big.lzma")[:10], "", "damaged lzma"},
		{"lzma with impossible properties", lzmaKind, edited(testdata(t, "big.lzma"), 0, "\xff"), "", "damaged lzma"},
		{"lzma cut in its content", lzmaKind, testdata(t, "big.lzma")[:100], "", "read : "},

		{"RAR 5 whose names are encrypted", rarKind, rarOf(rarBlock(append([]byte{4, 0, 0, 0, 15}, make([]byte, 16)...)...)), "", archive.ErrEncrypted.Error()},
		{"RAR 5 without files", rarKind, archivetest.RAR5(), "", ""},
		{"RAR 5 with a damaged header", rarKind, edited(archivetest.RAR5(archivetest.File{Name: "a", Data: []byte("hello")}), 8, "xxxx"), "", "damaged rar"},
		{"RAR 5 with the name in UTF-8", rarKind, archivetest.RAR5(archivetest.File{Name: "l\u00e4ufer.exe", Data: []byte("x")}), "l\u00e4ufer.exe 1 \"x\"", ""},
		{"an empty file in RAR 5", rarKind, archivetest.RAR5(archivetest.File{Name: "a"}), `a 0 ""`, ""},
		{"a file that continues in the next volume", rarKind, rarOf(rarBlock(1, 0, 1), rarSplit("a", "hello")), "", "read a: unexpected EOF"},

		{"a cabinet that begins beyond its end", cabKind, edited(archivetest.Cabinet(archivetest.File{Name: "a"}), 16, "\xff\xff\xff\x00"), "", "damaged cabinet"},
		{"a cabinet whose files begin in its header", cabKind, edited(archivetest.Cabinet(archivetest.File{Name: "a"}), 16, "\x08\x00\x00\x00"), "", "damaged cabinet"},
		{"a cabinet with an unnamed file", cabKind, archivetest.Cabinet(archivetest.File{Name: ""}), "", "damaged cabinet"},
		{"a cabinet with a name too long", cabKind, archivetest.Cabinet(archivetest.File{Name: strings.Repeat("x", 300)}), "", "damaged cabinet"},
		{"a cabinet without files", cabKind, archivetest.Cabinet(), "", archive.ErrNamesOnly.Error()},
	} {
		t.Run(c.name, func(t *testing.T) {
			budget := memory.New(24 << 20)
			got, err := listing(t, c.kind, c.data, archive.Options{Memory: budget.Share(0)})
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

// rarSplit is a stored file that continues in the next volume.
func rarSplit(name, data string) []byte {
	const file, hasData, splitAfter, hasCRC, unix = 2, 2, 16, 4, 1
	b := []byte{file, hasData | splitAfter, byte(len(data)), hasCRC, byte(len(data) + 10), 0}
	b = binary.LittleEndian.AppendUint32(b, crc32.ChecksumIEEE([]byte(data)))
	b = append(b, 0, unix, byte(len(name)))
	return append(rarBlock(append(b, name...)...), data...)
}

// TestImages reads ISO images with directories that a careless reader would
// misread, loop in, or miss.
func TestImages(t *testing.T) {
	sole := func(entries ...archivetest.Record) func(*archivetest.Image) {
		return func(i *archivetest.Image) {
			root := i.Directory("", entries...)
			i.Descriptor(0, 1, root)
			i.Descriptor(1, 1, root)
		}
	}
	for _, c := range []struct {
		name string
		edit func(*archivetest.Image)
		want string
		err  string
	}{
		{"a version is not part of a name", func(i *archivetest.Image) { sole(i.Store("RUN.EXE;12", []byte("x")))(i) }, `RUN.EXE 1 "x"`, ""},
		{"a name without a version", func(i *archivetest.Image) { sole(i.Store("RUN.EXE", []byte("x")))(i) }, `RUN.EXE 1 "x"`, ""},
		{"a file larger than the image", sole(archivetest.Record{Name: "A", Extent: 40, Size: 1 << 30}), "A unread: damaged image", ""},
		{"a file that begins beyond the image", sole(archivetest.Record{Name: "A", Extent: 1 << 20, Size: 1}), "A unread: damaged image", ""},
		{"an empty file", sole(archivetest.Record{Name: "A", Extent: 33}), `A 0 ""`, ""},
		{"a directory beyond the image", sole(archivetest.Record{Name: "D", Extent: 1 << 20, Size: 2048, Folder: true}), "", "damaged image"},
		{"a directory of more than a MiB", sole(archivetest.Record{Name: "D", Extent: 33, Size: 2 << 20, Folder: true}), "", archive.ErrFiles.Error()},
		{"an empty directory", func(i *archivetest.Image) { sole(i.Directory("D"))(i) }, "", ""},
		{"the same file in two places", func(i *archivetest.Image) {
			f := i.Store("A.EXE", []byte("x"))
			again := f
			again.Name = "B.EXE"
			sole(f, again)(i)
		}, `A.EXE 1 "x"`, ""},
		{"the same content under another extension", func(i *archivetest.Image) {
			f := i.Store("A.TXT", []byte("x"))
			again := f
			again.Name = "A.EXE"
			sole(f, again)(i)
		}, "A.TXT 1 \"x\"\nA.EXE 1 \"x\"", ""},
		{"directories nested deeper than a disc can have", func(i *archivetest.Image) {
			dir := i.Directory("D", i.Store("RUN.EXE", []byte("x")))
			for range 40 {
				dir = i.Directory("D", dir)
			}
			sole(dir)(i)
		}, "", "nested too deeply"},
		{"directories as deep as Joliet allows", func(i *archivetest.Image) {
			dir := i.Directory("D", i.Store("RUN.EXE", []byte("x")))
			for range 7 {
				dir = i.Directory("D", dir)
			}
			sole(dir)(i)
		}, strings.Repeat("D/", 8) + `RUN.EXE 1 "x"`, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := listing(t, isoKind, image(c.edit), archive.Options{Memory: memory.New(24 << 20).Share(0)})
			if c.err == "" && (err != nil || got != c.want) {
				t.Errorf("got %s, %v; want %s", got, err, c.want)
			}
			if c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
				t.Errorf("error %v, want %s", err, c.err)
			}
		})
	}
}

// TestFormats checks the name that a compressed file's content gets: the
// extension decides whether the content is forbidden.
func TestFormats(t *testing.T) {
	for kind, want := range map[string]string{
		gzipKind: ".gz", bzipKind: ".bz2", xzKind: ".xz", lzmaKind: ".lzma", zstdKind: ".zst", tarKind: "", rarKind: "", sevenZ: "", cabKind: "", isoKind: "",
	} {
		f := archive.Find(kind)
		if f == nil || f.Suffix != want {
			t.Errorf("%s: %+v, want the suffix %q", kind, f, want)
		}
	}
	for _, kind := range []string{"", "application/zip", "APPLICATION/GZIP", "text/plain"} {
		if archive.Find(kind) != nil {
			t.Errorf("%s is read as an archive", kind)
		}
	}
}

// TestCancelled checks that a walk that waits for memory ends with its context.
func TestCancelled(t *testing.T) {
	budget := memory.New(8 << 20)
	all := budget.Share(8 << 20)
	if !all.TryTake(8 << 20) {
		t.Fatal("the budget is in use")
	}
	defer all.Close()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for kind, data := range map[string][]byte{gzipKind: gz("a", nil), tarKind: tarOf(t, &tar.Header{Name: "a"}), xzKind: archivetest.XZ(20, []byte("x")), rarKind: archivetest.RAR5(), sevenZ: testdata(t, "copy.7z")} {
		in := archive.Input{Reader: bytes.NewReader(data), At: bytes.NewReader(data), Size: int64(len(data))}
		err := archive.Find(kind).Walk(ctx, in, archive.Options{Memory: budget.Share(0)}, func(e archive.Entry) error {
			_, err := io.Copy(io.Discard, e.Body)
			return err
		})
		if !errors.Is(err, context.Canceled) && !errors.Is(err, memory.ErrFull) {
			t.Errorf("%s: %v", kind, err)
		}
	}
}
