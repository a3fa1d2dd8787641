package maildrop

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// Copying or moving three messages, the second of which cannot be transferred,
// never loses the others, also within one folder. If the second message has
// just been expunged by another program, the others are transferred. If its
// file cannot be renamed, nothing is transferred.
func TestTransferInterrupted(t *testing.T) {
	expunge := func(t *testing.T, f *Folder) {
		must(t, os.Remove(filepath.Join(f.dir.Path(), "cur", f.known.Messages[1].File)))
		// The change is not detected before the files are transferred.
		_, err := f.lookDirs(&f.since)
		must(t, err)
	}
	block := func(_ *testing.T, f *Folder) {
		m := *f.known.Messages[1]
		m.File = "not/valid"
		f.known.Messages[1] = &m
	}
	for _, c := range []struct {
		name     string
		prepare  func(*testing.T, *Folder)
		to       string
		transfer func(*Folder, []uint32, *Folder) (Copied, error)
		from     []uint32 // messages transferred
		inbox    int      // files in INBOX afterwards
		archive  int      // files in Archive afterwards
	}{
		{"copy, expunged", expunge, "Archive", (*Folder).Copy, []uint32{1, 3}, 2, 2},
		{"copy within a folder, expunged", expunge, "INBOX", (*Folder).Copy, []uint32{1, 3}, 4, 0},
		{"move, expunged", expunge, "Archive", (*Folder).Move, []uint32{1, 3}, 0, 2},
		{"move within a folder, expunged", expunge, "INBOX", (*Folder).Move, []uint32{1, 3}, 2, 0},
		{"copy, failed", block, "Archive", (*Folder).Copy, nil, 3, 0},
		{"copy within a folder, failed", block, "INBOX", (*Folder).Copy, nil, 3, 0},
		{"move, failed", block, "Archive", (*Folder).Move, nil, 3, 0},
		{"move within a folder, failed", block, "INBOX", (*Folder).Move, nil, 3, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := testStore(t, Config{})
			in, archive := testFolder(t, s, "INBOX"), testFolder(t, s, "Archive")
			for range 3 {
				put(t, in, hello, 0)
			}
			c.prepare(t, in)
			to := archive
			if c.to == "INBOX" {
				to = in
			}
			copied, err := c.transfer(in, []uint32{1, 2, 3}, to)
			if failed := err != nil; failed != (c.from == nil) || !slices.Equal(copied.From, c.from) {
				t.Errorf("transferred %v, %v", copied.From, err)
			}
			for _, f := range []struct {
				*Folder
				files int
			}{{in, c.inbox}, {archive, c.archive}} {
				names, err := f.cur.Files()
				must(t, err)
				if len(names) != f.files {
					t.Errorf("%s contains %q", f.Name(), names)
				}
			}
			snap := syncNow(t, to)
			for _, uid := range copied.To {
				i, ok := snap.Find(uid)
				if !ok {
					t.Fatalf("UID %d is missing", uid)
				}
				readsAs(t, to, snap.Messages[i], hello)
			}
		})
	}
}
