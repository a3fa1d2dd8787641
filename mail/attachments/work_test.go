package attachments

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"

	"hoplite/internal/memory"
	"hoplite/mail/attachments/archive/archivetest"
)

// Messages whose attachments make their reader allocate again and again are read
// completely, or are unread from some point on. Neither costs much.
func TestAllocations(t *testing.T) {
	const dictionary = 28 // 64 MiB
	tiny := archivetest.XZ(dictionary, []byte("hello"))
	large := archivetest.XZ(dictionary, make([]byte, 200_000))
	growing := make([][]byte, 60)
	for i := range growing {
		growing[i] = make([]byte, 1000*i+1)
	}
	many := func(file func(i int) []byte) []byte {
		var files []string
		for i := range 490 {
			files = append(files, fmt.Sprintf("%d.bin", i), string(file(i)))
		}
		return zipped(t, files...)
	}
	lzma := binary.LittleEndian.AppendUint32([]byte{0x5d}, 64<<20)
	lzma = append(append(lzma, bytes.Repeat([]byte{0xff}, 8)...), make([]byte, 20)...)
	// A frame with a window of 32 MiB, and one raw block.
	zstd := []byte("\x28\xb5\x2f\xfd\x00\x78\x29\x00\x00hello")
	var grown []byte // the same with windows from 1 MiB
	for window := byte(0x50); window <= 0x78; window++ {
		grown = append(append(grown, zstd[:5]...), window)
		grown = append(grown, zstd[6:]...)
	}
	seven, err := os.ReadFile("archive/testdata/default.7z")
	if err != nil {
		t.Fatal(err)
	}
	const solid, method, window = 1 << 6, 3 << 7, 9 << 10 // 64 MiB
	f := archivetest.File{Name: "a", Data: bytes.Repeat([]byte("x"), 100)}
	rar := append([]byte("Rar!\x1a\x07\x01\x00\x33\x92\xb5\xe5\x0a\x01\x05\x06\x00\x05\x01\x01\x80\x80\x00"), archivetest.Head5(f, solid|method|window)...)
	rar = append(rar, f.Data...)
	packed := gzipped(t, "a", exe)
	for name, c := range map[string]struct {
		data   func() []byte
		unread string
	}{
		"3,000 streams":                 {func() []byte { return bytes.Repeat(tiny, 3000) }, "too many streams"},
		"900 streams":                   {func() []byte { return bytes.Repeat(tiny, 900) }, ""},
		"streams with large content":    {func() []byte { return bytes.Repeat(large, 30) }, ""},
		"blocks of growing size":        {func() []byte { return archivetest.XZ(dictionary, growing...) }, ""},
		"tiny xz files":                 {func() []byte { return many(func(int) []byte { return tiny }) }, ""},
		"xz files with large content":   {func() []byte { return many(func(int) []byte { return large }) }, memory.ErrSpent.Error()},
		"lzma files":                    {func() []byte { return many(func(int) []byte { return lzma }) }, memory.ErrSpent.Error()},
		"zstd files":                    {func() []byte { return many(func(int) []byte { return zstd }) }, memory.ErrSpent.Error()},
		"bzip2 files":                   {func() []byte { return many(func(int) []byte { return bzip2Exe }) }, memory.ErrSpent.Error()},
		"gzip files":                    {func() []byte { return many(func(int) []byte { return packed }) }, ""},
		"zstd frames with growing size": {func() []byte { return grown }, memory.ErrSpent.Error()},
		"7z files":                      {func() []byte { return many(func(int) []byte { return seven }) }, memory.ErrSpent.Error()},
		"rar files":                     {func() []byte { return many(func(int) []byte { return rar }) }, memory.ErrSpent.Error()},
	} {
		t.Run(name, func(t *testing.T) {
			msg := attached(named("application/octet-stream", "a"), c.data())
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			items := list(t, msg, Limits{})
			runtime.ReadMemStats(&after)
			if spent := after.TotalAlloc - before.TotalAlloc; spent > 9*memory.PerReader {
				t.Errorf("%d MiB allocated", spent>>20)
			} else {
				t.Logf("%d MiB allocated", spent>>20)
			}
			var unread []string
			for _, it := range items {
				if it.Unread != "" {
					unread = append(unread, it.Unread)
				}
			}
			all := strings.Join(unread, "\n")
			if c.unread != "" && !strings.Contains(all, c.unread) || c.unread == "" && all != "" {
				t.Errorf("unread: %.200q, want %q", all, c.unread)
			}
			if left := memory.Content.Used(); left != 0 {
				t.Errorf("%d octets were not returned", left)
			}
		})
	}
}
