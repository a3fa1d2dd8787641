package archive_test

import (
	"archive/tar"
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hoplite/internal/memory"
	"hoplite/mail/attachments/archive"
	"hoplite/mail/attachments/archive/archivetest"
)

const (
	program = "MZ\x90\x00\x03\x00\x00\x00 this is no program"
	rarKind = "application/vnd.rar"
	sevenZ  = "application/x-7z-compressed"
	xzKind  = "application/x-xz"
	isoKind = "application/x-iso9660-image"
	cabKind = "application/vnd.ms-cab-compressed"
)

// listing describes the entries of an archive, one per line.
func listing(t testing.TB, kind string, data []byte, o archive.Options) (string, error) {
	t.Helper()
	f := archive.Find(kind)
	if f == nil {
		t.Fatalf("no format %s", kind)
	}
	var out []string
	err := f.Walk(context.Background(), archive.Input{Reader: bytes.NewReader(data), At: bytes.NewReader(data), Size: int64(len(data))}, o,
		func(e archive.Entry) error {
			line := e.Name
			switch {
			case e.Link:
				line += " link"
			case e.Encrypted:
				line += " encrypted"
			case e.Body == nil:
				line += " unread: " + e.Unread
			default:
				content, err := io.ReadAll(e.Body)
				if err != nil {
					return fmt.Errorf("read %s: %w", e.Name, err)
				}
				if e.Packed != nil && len(content) > 0 && e.Packed() <= 0 {
					t.Errorf("%s: %d octets packed", e.Name, e.Packed())
				}
				line += fmt.Sprintf(" %d %.8q", len(content), content)
			}
			out = append(out, strings.TrimSpace(line))
			return nil
		})
	return strings.Join(out, "\n"), err
}

func testdata(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func gz(name string, data []byte) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	z.Name = name
	z.Write(data)
	z.Close()
	return b.Bytes()
}

func tarOf(t testing.TB, headers ...*tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range headers {
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(make([]byte, h.Size)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// image returns an image with two directories: one with DOS names and one with
// Joliet names.
func image(edit func(*archivetest.Image)) []byte {
	i := archivetest.NewImage()
	run := i.Store("RUN.EXE;1", []byte(program))
	text := i.Store("README.TXT;1", []byte("hello\n"))
	only := i.Store("OLD.COM;1", []byte("old"))
	i.Descriptor(0, 1, i.Directory("", text, only, i.Directory("DIR", run)))
	run.Name, text.Name = archivetest.Joliet("Run Me.exe"), archivetest.Joliet("readme.txt")
	i.Descriptor(1, 2, i.Directory("", text, i.Directory(archivetest.Joliet("Directory"), run)))
	if edit != nil {
		edit(i)
	}
	return i.Bytes()
}

func TestWalk(t *testing.T) {
	run := archivetest.File{Name: "dir/run.exe", Data: []byte(program)}
	text := archivetest.File{Name: "a.txt", Data: []byte("hello\n")}
	const (
		a      = `a.txt 6 "hello\n"`
		exe    = `dir/run.exe 27 "MZ\x90\x00\x03\x00\x00\x00"`
		empty  = `empty.txt 0 ""`
		tarred = `10240 "a.txt\x00\x00\x00"`
	)
	seven := empty + "\n" + a + "\n" + exe
	for _, c := range []struct {
		name, kind string
		data       []byte
		want       string
		err        error
	}{
		{"gzip", "application/gzip", gz("a.txt", []byte("hello\n")), a, nil},
		{"gzip without a name", "application/gzip", gz("", []byte("hello\n")), `6 "hello\n"`, nil},
		{"tar", "application/x-tar", tarOf(t, &tar.Header{Name: "f", Size: 3, Mode: 0o644}, &tar.Header{Name: "d", Typeflag: tar.TypeDir},
			&tar.Header{Name: "l", Typeflag: tar.TypeSymlink, Linkname: "f"}), "f 3 \"\\x00\\x00\\x00\"\nl link", nil},
		{"xz", xzKind, testdata(t, "t.tar.xz"), tarred, nil},
		{"xz in blocks", xzKind, testdata(t, "blocks.xz"), `132000 "the quic"`, nil},
		{"xz in streams", xzKind, testdata(t, "streams.xz"), `18 "hello\nhe"`, nil},
		{"xz with a filter", xzKind, testdata(t, "x86.xz"), "", archive.ErrMethod},
		{"lzma", "application/x-lzma", testdata(t, "big.lzma"), `132000 "the quic"`, nil},
		{"zstd", "application/zstd", testdata(t, "t.tar.zst"), tarred, nil},
		{"zstd with a large window", "application/zstd", testdata(t, "long.zst"), `132000 "the quic"`, nil},
		{"7z", sevenZ, testdata(t, "default.7z"), empty + "\n" + a + "\n" + `big.txt 132000 "the quic"` + "\n" + exe, nil},
		{"7z by LZMA", sevenZ, testdata(t, "lzma.7z"), seven, nil},
		{"7z by LZMA2", sevenZ, testdata(t, "lzma2.7z"), seven, nil},
		{"7z with a dictionary of 4 GiB, of which the files need 33 octets", sevenZ, replaced(t, "\x21\x21\x01\x00", "\x21\x21\x01\x28"), seven, nil},
		{"xz with a dictionary of 4 GiB, of which the content needs 6 octets", xzKind, archivetest.XZ(40, []byte("hello\n")), `6 "hello\n"`, nil},
		{"xz in blocks with dictionaries of several sizes", xzKind, archivetest.XZ(18, []byte("hello\n"), make([]byte, 8192), []byte("hello\n")), "8204 \"hello\\n\\x00\\x00\"", nil},
		{"7z by PPMd", sevenZ, testdata(t, "ppmd.7z"), seven, nil},
		{"7z by bzip2", sevenZ, testdata(t, "bzip2.7z"), seven, nil},
		{"7z by Deflate", sevenZ, testdata(t, "deflate.7z"), seven, nil},
		{"7z stored", sevenZ, testdata(t, "copy.7z"), seven, nil},
		{"7z with a plain directory", sevenZ, testdata(t, "plain.7z"), seven, nil},
		{"7z with BCJ2", sevenZ, testdata(t, "bcj2.7z"), a + "\n" + exe, nil},
		{"7z, content encrypted", sevenZ, testdata(t, "content-encrypted.7z"), "a.txt encrypted\ndir/run.exe encrypted", nil},
		{"7z, all encrypted", sevenZ, testdata(t, "names-encrypted.7z"), "", archive.ErrEncrypted},
		{"RAR 5", rarKind, archivetest.RAR5(text, run), a + "\n" + exe, nil},
		{"RAR 5 with a folder", rarKind, archivetest.RAR5(archivetest.File{Name: "d", Flags: 1}, text), a, nil},
		{"RAR 4", rarKind, archivetest.RAR4(text, run), "a.txt unread: compressed in a RAR format before version 5\n" +
			"dir/run.exe unread: compressed in a RAR format before version 5", nil},
		{"RAR 4, encrypted", rarKind, archivetest.RAR4(archivetest.File{Name: "a.txt", Data: []byte("hello\n"), Flags: 4}), "a.txt encrypted", nil},
		{"cabinet", cabKind, testdata(t, "a.cab"), "a.txt unread: only the list of files was read\ndir\\run.exe unread: only the list of files was read", archive.ErrNamesOnly},
		{"packed cabinet", cabKind, testdata(t, "packed.cab"), "a.txt unread: only the list of files was read\ndir\\run.exe unread: only the list of files was read\n" +
			"big.txt unread: only the list of files was read", archive.ErrNamesOnly},
		{"names in a cabinet", cabKind, archivetest.Cabinet(archivetest.File{Name: "gr\xfc\xdfe.exe"}, archivetest.File{Name: "grüße.exe", Flags: 0x80}),
			"grüße.exe unread: only the list of files was read\ngrüße.exe unread: only the list of files was read", archive.ErrNamesOnly},
		{"image", isoKind, image(nil), "readme.txt 6 \"hello\\n\"\nDirectory/Run Me.exe 27 \"MZ\\x90\\x00\\x03\\x00\\x00\\x00\"\nOLD.COM 3 \"old\"", nil},
		{"image with other names in the primary directory", isoKind, image(func(i *archivetest.Image) {
			hidden := i.Store("", []byte(program))
			hidden.Name = archivetest.Joliet("picture.jpg")
			i.Descriptor(1, 2, i.Directory("", hidden))
			hidden.Name = "RUN.EXE;1"
			i.Descriptor(0, 1, i.Directory("", hidden))
		}), "picture.jpg 27 \"MZ\\x90\\x00\\x03\\x00\\x00\\x00\"\nRUN.EXE 27 \"MZ\\x90\\x00\\x03\\x00\\x00\\x00\"", nil},
		{"image with UDF", isoKind, image(func(i *archivetest.Image) { i.Mark(4, "NSR02") }),
			"readme.txt 6 \"hello\\n\"\nDirectory/Run Me.exe 27 \"MZ\\x90\\x00\\x03\\x00\\x00\\x00\"\nOLD.COM 3 \"old\"", errors.New("an image with a second directory (UDF), which is not read")},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := memory.Content.Used()
			share := memory.Content.Share(0)
			got, err := listing(t, c.kind, c.data, archive.Options{Memory: share})
			if got != c.want {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
			if !errors.Is(err, c.err) && fmt.Sprint(err) != fmt.Sprint(c.err) {
				t.Errorf("error %v, want %v", err, c.err)
			}
			if used := memory.Content.Used() - before; used != 0 {
				t.Errorf("%d octets of memory were not returned", used)
			}
		})
	}
}

// patched changes the plain directory of a 7z file and corrects its checksums.
func patched(t testing.TB, edit func([]byte) []byte) []byte {
	t.Helper()
	b := testdata(t, "plain.7z")
	le := binary.LittleEndian
	at := 32 + int(le.Uint64(b[12:]))
	dir := edit(bytes.Clone(b[at:]))
	b = append(b[:at:at], dir...)
	le.PutUint64(b[20:], uint64(len(dir)))
	le.PutUint32(b[28:], crc32.ChecksumIEEE(dir))
	le.PutUint32(b[8:], crc32.ChecksumIEEE(b[12:32]))
	return b
}

func replaced(t testing.TB, old, new string) []byte {
	return patched(t, func(dir []byte) []byte {
		if bytes.Count(dir, []byte(old)) != 1 {
			t.Fatalf("%d times %x", bytes.Count(dir, []byte(old)), old)
		}
		return bytes.Replace(dir, []byte(old), []byte(new), 1)
	})
}

// TestHostile checks archives that would exhaust their reader, or that cannot
// be read to the end.
func TestHostile(t *testing.T) {
	loop := image(func(i *archivetest.Image) {
		root := i.Directory("")
		again := root
		again.Name = "AGAIN"
		root = i.Directory("", again, archivetest.Record{Name: "SELF", Extent: root.Extent + 1, Size: 2048, Folder: true})
		i.Descriptor(0, 1, root)
		i.Descriptor(1, 1, root)
	})
	many := make([]archivetest.File, 30)
	for i := range many {
		many[i] = archivetest.File{Name: fmt.Sprint(i), Data: []byte("x")}
	}
	compressed := func(dictionary uint64) []byte {
		f := archivetest.File{Name: "a", Data: bytes.Repeat([]byte("x"), 100)}
		head := archivetest.Head5(f, 3<<7|dictionary<<10)
		return append(append([]byte("Rar!\x1a\x07\x01\x00\x33\x92\xb5\xe5\x0a\x01\x05\x06\x00\x05\x01\x01\x80\x80\x00"), head...), f.Data...)
	}
	xzHuge := archivetest.XZ(40, make([]byte, 200_000)) // a dictionary of 4 GiB
	lzmaHuge := testdata(t, "big.lzma")
	binary.LittleEndian.PutUint32(lzmaHuge[1:], 1<<32-1)
	for _, c := range []struct {
		name, kind string
		data       []byte
		files      int
		want       string
	}{
		{"xz with a huge dictionary", xzKind, xzHuge, 0, memory.ErrFull.Error()},
		{"lzma with a huge dictionary", "application/x-lzma", lzmaHuge, 0, memory.ErrFull.Error()},
		{"7z by an unknown method", sevenZ, replaced(t, "\x21\x21\x01\x00", "\x21\x22\x01\x00"), 0, ""},
		{"7z with a million folders", sevenZ, replaced(t, "\x07\x0b\x01\x00", "\x07\x0b\xf0\xff\xff\xff\x0f\x00"), 0, "damaged 7z directory"},
		{"7z with many coders", sevenZ, replaced(t, "\x0b\x01\x00\x01\x21\x21", "\x0b\x01\x00\x11\x21\x21"), 0, "damaged 7z directory"},
		{"7z with a billion files", sevenZ, replaced(t, "\x00\x05\x04", "\x00\x05\xf0\xff\xff\xff\x3f"), 0, "damaged 7z directory"},
		{"7z with a billion files in a folder", sevenZ, replaced(t, "\x0d\x02", "\x0d\xf0\xff\xff\xff\x3f"), 0, "damaged 7z directory"},
		{"7z without a directory", sevenZ, testdata(t, "plain.7z")[:40], 0, "damaged 7z directory"},
		{"a magic of 7z", sevenZ, []byte("7z\xbc\xaf\x27\x1c"), 0, "damaged 7z directory"},
		{"many files in a 7z", sevenZ, testdata(t, "default.7z"), 2, archive.ErrFiles.Error()},
		{"rar with a dictionary of 4 GiB, of which the file needs 100 octets", rarKind, compressed(15), 0, "corrupt decode header"},
		{"rar that ends early", rarKind, archivetest.RAR5(archivetest.File{Name: "a", Data: []byte("hello")})[:45], 0, "damaged rar"},
		{"many files in a rar", rarKind, archivetest.RAR5(many...), 20, archive.ErrFiles.Error()},
		{"many files in a cabinet", cabKind, archivetest.Cabinet(many...), 20, archive.ErrFiles.Error()},
		{"a cabinet that ends early", cabKind, archivetest.Cabinet(many...)[:80], 0, "damaged cabinet"},
		{"a magic of a cabinet", cabKind, []byte("MSCF"), 0, "damaged cabinet"},
		{"an image with a loop", isoKind, loop, 0, ""},
		{"many files in an image", isoKind, image(nil), 1, archive.ErrFiles.Error()},
		{"an image that ends early", isoKind, image(nil)[:33*2048], 0, "damaged image"},
		{"an image without directories", isoKind, make([]byte, 40*2048), 0, "damaged image"},
		{"a damaged tar", "application/x-tar", []byte(strings.Repeat("x", 512)), 0, "damaged tar"},
		{"a damaged gzip", "application/gzip", []byte("\x1f\x8b"), 0, "damaged gzip"},
		{"a damaged xz", xzKind, []byte("\xfd7zXZ\x00\x00\x00\x00\x00\x00\x00"), 0, "damaged xz"},
		{"text after an xz", xzKind, append(testdata(t, "streams.xz"), "hello, world"...), 0, "damaged xz"},
		{"an xz that ends early", xzKind, testdata(t, "blocks.xz")[:500], 0, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			share := memory.New(16 << 20).Share(0)
			_, err := listing(t, c.kind, c.data, archive.Options{Memory: share, Files: c.files})
			if c.want == "" {
				return // it must end without a panic
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %s", err, c.want)
			}
		})
	}
}

// TestIncomplete checks that if visit abandons a file in a solid archive, the
// rest of that file is not unpacked just to reach the next one.
func TestIncomplete(t *testing.T) {
	data := testdata(t, "default.7z")
	for _, c := range []struct {
		kind string
		data []byte
	}{{sevenZ, data}, {rarKind, archivetest.RAR5(archivetest.File{Name: "a", Data: make([]byte, 1000)}, archivetest.File{Name: "b", Data: []byte("b")})}} {
		n := 0
		err := archive.Find(c.kind).Walk(context.Background(), archive.Input{At: bytes.NewReader(c.data), Size: int64(len(c.data))}, archive.Options{},
			func(e archive.Entry) error {
				if n++; e.Size > 100 {
					_, err := io.ReadFull(e.Body, make([]byte, 10))
					return err
				}
				_, err := io.Copy(io.Discard, e.Body)
				return err
			})
		if !errors.Is(err, archive.ErrIncomplete) {
			t.Errorf("%s: %v after %d files", c.kind, err, n)
		}
	}
}

func TestVisitError(t *testing.T) {
	stop := errors.New("stop")
	for kind, data := range map[string][]byte{
		"application/gzip": gz("a", nil), "application/x-tar": tarOf(t, &tar.Header{Name: "a"}), sevenZ: testdata(t, "copy.7z"), isoKind: image(nil),
		rarKind: archivetest.RAR5(archivetest.File{Name: "a", Data: []byte("a")}), cabKind: testdata(t, "a.cab"), xzKind: testdata(t, "t.tar.xz"),
	} {
		n := 0
		err := archive.Find(kind).Walk(context.Background(), archive.Input{Reader: bytes.NewReader(data), At: bytes.NewReader(data), Size: int64(len(data))},
			archive.Options{}, func(archive.Entry) error { n++; return stop })
		if !errors.Is(err, stop) || n != 1 {
			t.Errorf("%s: %v after %d entries", kind, err, n)
		}
	}
	if archive.Find("text/plain") != nil {
		t.Error("text was taken for an archive")
	}
}

func FuzzWalk(f *testing.F) {
	files, err := filepath.Glob("testdata/*.*")
	if err != nil || len(files) == 0 {
		f.Fatal(files, err)
	}
	kinds := []string{"application/gzip", "application/x-bzip2", xzKind, "application/x-lzma", "application/zstd", "application/x-tar", rarKind, sevenZ, cabKind, isoKind}
	for _, name := range files {
		for n, kind := range kinds {
			if format := archive.Find(kind); strings.HasSuffix(name, format.Name) || format.Suffix != "" && strings.HasSuffix(name, format.Suffix) {
				f.Add(uint8(n), testdata(f, filepath.Base(name)))
			}
		}
	}
	f.Add(uint8(6), archivetest.RAR5(archivetest.File{Name: "a", Data: []byte("hello")}))
	f.Add(uint8(6), archivetest.RAR4(archivetest.File{Name: "a", Data: []byte("hello")}))
	f.Add(uint8(9), image(nil)[16*2048:40*2048])
	// Little memory and content, so that inputs that need much of them do not slow
	// fuzzing down.
	f.Fuzz(func(t *testing.T, n uint8, data []byte) {
		if len(data) > 64<<10 {
			return
		}
		kind := kinds[int(n)%len(kinds)]
		if kind == isoKind { // the sectors before the first descriptor are ignored
			data = append(make([]byte, 16*2048), data...)
		}
		most := map[string]int64{rarKind: 9 << 20, sevenZ: 8 << 20, "application/x-bzip2": 4 << 20}
		budget := memory.New(cmp.Or(most[kind], 2<<20))
		share := budget.Share(0)
		left := int64(256 << 10)
		archive.Find(kind).Walk(context.Background(), archive.Input{Reader: bytes.NewReader(data), At: bytes.NewReader(data), Size: int64(len(data))},
			archive.Options{Memory: share, Files: 50}, func(e archive.Entry) error {
				if e.Body == nil {
					return nil
				}
				n, err := io.Copy(io.Discard, io.LimitReader(e.Body, left))
				if left -= n; left <= 0 {
					return io.ErrShortBuffer
				}
				return err
			})
		if budget.Used() != 0 {
			t.Fatalf("%d octets of memory were not returned", budget.Used())
		}
	})
}
