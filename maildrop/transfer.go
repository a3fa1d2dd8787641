package maildrop

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"hoplite/mail"
	"hoplite/maildrop/maildir"
)

// Transferred counts what an import or export did.
type Transferred struct {
	Folders, Messages int
	// Known are messages that an earlier run had brought over.
	Known int
}

// importBatch is how many messages an import stores at once.
const importBatch = 50

// ImportMbox adds the messages of an mbox to a folder, which is made when it
// isn't there. Running it again brings over only what is missing: the file
// names say where a message came from. progress hears how far it read.
func (b *Box) ImportMbox(ctx context.Context, folder string, r io.Reader, progress func(offset int64)) (done Transferred, err error) {
	if err := b.Create(folder, ""); err != nil && !errors.Is(err, ErrExists) {
		return done, err
	}
	f, err := b.Folder(folder)
	if err != nil {
		return done, err
	}
	defer f.Close()
	s, err := f.Sync()
	if err != nil {
		return done, err
	}
	known := map[string]bool{}
	for _, m := range s.Messages {
		name, _, _ := strings.Cut(m.Base(), ",")
		known[name] = true
	}
	done.Folders = 1
	in := newMboxReader(r)
	var batch []*NewMessage
	defer func() {
		for _, n := range batch {
			n.Discard()
		}
	}()
	for {
		msg, err := in.next()
		if err == nil {
			err = ctx.Err()
		}
		if err != nil && err != io.EOF {
			return done, fmt.Errorf("read mbox: %w", err)
		}
		if err == nil {
			name := msg.name()
			if known[name] {
				done.Known++
			} else {
				known[name] = true
				n, err := f.imported(msg, name)
				if err != nil {
					return done, err
				}
				batch = append(batch, n)
			}
		}
		if len(batch) == importBatch || err == io.EOF && len(batch) > 0 {
			if _, _, err := f.Append(batch...); err != nil {
				return done, err
			}
			done.Messages += len(batch)
			batch = nil
		}
		progress(in.offset)
		if err == io.EOF {
			return done, nil
		}
	}
}

// name is the base name of a message from an mbox: the same at every run.
func (msg *mboxMessage) name() string {
	sum := sha256.Sum256(msg.text)
	return fmt.Sprintf("%d.M%dH%x.mbox", msg.date.Unix(), msg.offset, sum[:8])
}

func (f *Folder) imported(msg *mboxMessage, name string) (*NewMessage, error) {
	n, err := f.NewMessage()
	if err != nil {
		return nil, err
	}
	n.as, n.Date, n.Flags = name, msg.date, msg.flags
	n.Keywords = slices.DeleteFunc(msg.keywords, func(k string) bool { return !maildir.ValidKeyword(k) })
	if _, err := n.Write(msg.text); err != nil {
		n.Discard()
		return nil, err
	}
	return n, nil
}

// ExportMbox writes a folder as mbox.
func (f *Folder) ExportMbox(ctx context.Context, out io.Writer, progress func(messages int)) (int, error) {
	s, err := f.Sync()
	if err != nil {
		return 0, err
	}
	w := bufio.NewWriterSize(out, 256<<10)
	count := 0
	for _, m := range s.Messages {
		if err := ctx.Err(); err != nil {
			return count, err
		}
		err := writeMbox(w, f, s, m)
		if errors.Is(err, ErrNoMessage) {
			continue
		}
		if err != nil {
			return count, fmt.Errorf("export message %d: %w", m.UID, err)
		}
		count++
		progress(count)
	}
	return count, w.Flush()
}

// sideFiles are what belongs to a folder besides its messages.
var sideFiles = []string{maildir.UIDListFile, maildir.KeywordsFile, maildir.CourierUIDListFile, maildir.CourierSizesFile}

// boxFiles are what belongs to a box besides its folders.
var boxFiles = []string{maildir.SubscriptionsFile, maildir.CourierSubscriptionsFile, specialUseFile}

// CopyMaildir copies a Maildir++ tree with UIDs, flags, keywords,
// subscriptions and dates, as far as it is not there yet: run it again after
// an interruption, or to bring over what came since. Nobody may change the
// destination meanwhile. progress hears of each message.
func CopyMaildir(ctx context.Context, from, to string, progress func()) (done Transferred, err error) {
	src, err := openTree(from)
	if err != nil {
		return done, err
	}
	defer src.Close()
	if err := os.MkdirAll(to, 0o700); err != nil {
		return done, err
	}
	dst, err := openTree(to)
	if err != nil {
		return done, err
	}
	defer dst.Close()
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

func openTree(path string) (*maildir.Dir, error) {
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	return maildir.OpenDir(root, ".")
}

// copyFiles copies files that the destination does not have, or has an older
// state of.
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
			if err := dst.Replace(name, text, true); err != nil {
				return err
			}
		}
	}
	return nil
}

// grew tells whether a uidlist is the continuation of an older one: the copy
// is then brought up to date.
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

// copyFolder copies one folder; ok is false for directories that are none.
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
	// The lists come last: with them, but without their messages, an
	// interrupted copy would look as if the messages had been expunged.
	return true, copyFiles(from, to, sideFiles)
}

// basesOf are the base names of all messages of a folder.
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
			continue // its server moved it; the next run brings it over
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
	name := maildir.Unique()
	w, err := tmp.Create(name, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(w, r)
	if err == nil {
		err = w.Sync()
	}
	err = errors.Join(err, w.Close())
	if err == nil {
		err = tmp.SetTimes(name, st.MTime)
	}
	if err == nil {
		err = tmp.Rename(name, dst, target)
	}
	if err != nil {
		tmp.Remove(name)
	}
	return err
}

// courierLetters turns Courier's keywords into letters of dovecot-keywords,
// by base name, and writes that file if there is none.
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
	return letters, to.Replace(maildir.KeywordsFile, k.Bytes(), true)
}

// Path is where the box of an account lies.
func (s *Store) Path(a mail.Address) string { return filepath.Join(s.root.Name(), s.boxPath(a)) }
