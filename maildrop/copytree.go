package maildrop

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"hoplite/internal/handles"
	"hoplite/mail"
	"hoplite/maildrop/maildir"
)

// sideFiles lists the files in a folder other than its messages.
var sideFiles = []string{maildir.UIDListFile, maildir.KeywordsFile, maildir.CourierUIDListFile, maildir.CourierSizesFile}

// boxFiles lists the files in a box other than its folders.
var boxFiles = []string{maildir.SubscriptionsFile, maildir.CourierSubscriptionsFile, specialUseFile, metadataFile}

// CopyMaildir copies a Maildir++ tree with UIDs, flags, keywords, subscriptions
// and dates. It skips everything that already exists in the destination, so it
// can be run again after an interruption or to copy mail that has arrived
// since. The destination must not be in use. progress is called after each
// message.
func CopyMaildir(ctx context.Context, from, to string, progress func()) (done Transferred, err error) {
	src, closeSource, err := openTree(from)
	if err != nil {
		return done, err
	}
	defer closeSource()
	if err := os.MkdirAll(to, 0o700); err != nil {
		return done, err
	}
	dst, closeTarget, err := openTree(to)
	if err != nil {
		return done, err
	}
	defer closeTarget()
	dirs, err := src.Dirs()
	if err != nil {
		return done, err
	}
	if err := copyFiles(src, dst, boxFiles); err != nil {
		return done, err
	}
	for _, name := range append([]string{"."}, dirs...) {
		if _, ok := maildir.FolderName(name); !ok {
			continue
		}
		ok, err := copyFolder(ctx, src, dst, name, &done, progress)
		if err != nil {
			return done, fmt.Errorf("copy folder %s: %w", name, err)
		}
		if ok {
			done.Folders++
		}
	}
	return done, dst.Sync()
}

// openTree opens a Maildir++ tree and returns a function that closes it.
func openTree(path string) (*maildir.Dir, func(), error) {
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, nil, err
	}
	dir, err := maildir.OpenDir(handles.Share(), root, ".")
	if err != nil {
		root.Close()
		return nil, nil, err
	}
	return dir, func() { dir.Close(); root.Close() }, nil
}

// copyFiles copies files that the destination lacks. It also updates an older
// version of the uidlist.
func copyFiles(src, dst *maildir.Dir, names []string) error {
	for _, name := range names {
		text, err := src.ReadFile(name, maildir.MaxUIDList)
		if isNot(err) {
			continue
		}
		if err != nil {
			return err
		}
		if old, err := dst.ReadFile(name, maildir.MaxUIDList); isNot(err) || name == maildir.UIDListFile && err == nil && grew(string(old), string(text)) {
			if err := dst.Replace(name, text); err != nil {
				return err
			}
		}
	}
	return nil
}

// grew reports whether a uidlist continues an older one, so that it can replace
// the older copy.
func grew(old, now string) bool {
	a, aerr := maildir.ParseUIDList(old)
	b, berr := maildir.ParseUIDList(now)
	if aerr != nil || berr != nil || a.Validity != b.Validity {
		return false
	}
	for _, e := range a.Entries {
		if same, ok := b.Find(e.UID); !ok && e.UID >= b.Next || ok && same.Base != e.Base {
			return false
		}
	}
	return len(b.Entries) > 0
}

// copyFolder copies one folder. ok is false for a directory that is not a
// folder.
func copyFolder(ctx context.Context, src, dst *maildir.Dir, name string, done *Transferred, progress func()) (ok bool, err error) {
	from, to := src, dst
	if name != "." {
		if from, err = src.Sub(name); err != nil {
			return false, err
		}
		defer from.Close()
	}
	if st, err := from.Stat("cur"); err != nil || !st.Mode.IsDir() {
		return false, nil
	}
	if name != "." {
		if err := dst.Mkdir(name); err != nil && !isExist(err) {
			return false, err
		}
		if to, err = dst.Sub(name); err != nil {
			return false, err
		}
		defer to.Close()
	}
	if err := makeDirs(to); err != nil {
		return false, err
	}
	if name != "." {
		if err := markFolder(to); err != nil {
			return false, err
		}
	}
	letters, err := courierLetters(from, to)
	if err != nil {
		return false, err
	}
	known, err := basesOf(to)
	if err != nil {
		return false, err
	}
	for _, sub := range []string{"new", "cur"} {
		if err := copyMessages(ctx, from, to, sub, known, letters, done, progress); err != nil {
			return false, err
		}
	}
	// The lists are copied last, because in a copy with lists but without
	// messages, the messages would seem to have been expunged.
	return true, copyFiles(from, to, sideFiles)
}

// basesOf returns the base names of all messages in a folder.
func basesOf(folder *maildir.Dir) (map[string]bool, error) {
	known := map[string]bool{}
	for _, sub := range []string{"new", "cur"} {
		dir, err := folder.Sub(sub)
		if err != nil {
			return nil, err
		}
		names, err := dir.Files()
		dir.Close()
		if err != nil {
			return nil, err
		}
		for _, n := range names {
			known[maildir.Base(n)] = true
		}
	}
	return known, nil
}

// copyMessages copies the files of new or cur.
func copyMessages(ctx context.Context, from, to *maildir.Dir, sub string, known map[string]bool, letters map[string]uint32, done *Transferred, progress func()) error {
	src, err := from.Sub(sub)
	if err != nil {
		return err
	}
	defer src.Close()
	tmp, err := to.Sub("tmp")
	if err != nil {
		return err
	}
	defer tmp.Close()
	dst, err := to.Sub(sub)
	if err != nil {
		return err
	}
	defer dst.Close()
	names, err := src.Files()
	if err != nil {
		return err
	}
	for _, file := range names {
		if err := ctx.Err(); err != nil {
			return err
		}
		base, text := maildir.Split(file)
		if file[0] == '.' || known[base] {
			done.Known++
			continue
		}
		target := file
		if bits := letters[base]; bits != 0 && sub == "cur" {
			info := maildir.ParseInfo(text)
			info.Letters |= bits
			target = base + info.String()
		}
		if err := copyMessage(src, file, tmp, dst, target); isNot(err) {
			continue // another program renamed it; the next run copies it
		} else if err != nil {
			return err
		}
		done.Messages++
		progress()
	}
	return dst.Sync()
}

func copyMessage(src *maildir.Dir, file string, tmp, dst *maildir.Dir, target string) error {
	r, err := src.Open(file)
	if err != nil {
		return err
	}
	defer r.Close()
	st, err := maildir.FileStat(r)
	if err != nil {
		return err
	}
	return tmp.Place(r, st.MTime, dst, target)
}

// courierLetters maps Courier's keywords to letters in dovecot-keywords, by
// base name. It writes that file if it does not exist.
func courierLetters(from, to *maildir.Dir) (map[string]uint32, error) {
	if _, err := to.Stat(maildir.KeywordsFile); err == nil {
		return nil, nil
	}
	dir, err := from.Sub(maildir.CourierKeywordsDir)
	if err != nil {
		return nil, nil
	}
	defer dir.Close()
	text, err := dir.ReadFile(maildir.CourierKeywordsFile, maildir.MaxUIDList)
	if err != nil {
		return nil, ignoreMissing(err)
	}
	names, byBase := maildir.ParseCourierKeywords(string(text))
	var k maildir.Keywords
	for i, name := range names {
		if i < len(k) && maildir.ValidKeyword(name) {
			k[i] = name
		}
	}
	letters := map[string]uint32{}
	for base, list := range byBase {
		for _, n := range list {
			if n < len(k) && k[n] != "" {
				letters[base] |= 1 << n
			}
		}
	}
	return letters, to.Replace(maildir.KeywordsFile, k.Bytes())
}

// Path returns the path of an account's box.
func (s *Store) Path(a mail.Address) string { return filepath.Join(s.root.Name(), s.boxPath(a)) }
