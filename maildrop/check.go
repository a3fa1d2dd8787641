package maildrop

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"hoplite/maildrop/maildir"
)

// Finding is a problem found in a box.
type Finding struct {
	Folder string
	Text   string
	// Plan describes the repair. It is empty if the problem must be solved
	// manually.
	Plan string

	repair func() error
}

// Check looks for problems in a box that affect mail clients or other servers.
// Finding.Repair repairs them.
func (b *Box) Check(ctx context.Context) ([]Finding, error) { return check(ctx, b, time.Now()) }

func check(ctx context.Context, b *Box, now time.Time) ([]Finding, error) {
	list, err := b.List()
	if err != nil {
		return nil, err
	}
	var all []Finding
	for _, info := range list {
		if err := ctx.Err(); err != nil {
			return all, err
		}
		if !info.Exists {
			continue
		}
		found, err := checkFolder(b, info.Name, now)
		all = append(all, found...)
		if err != nil {
			return all, fmt.Errorf("check folder %q: %w", info.Name, err)
		}
	}
	more, err := checkTree(b)
	return append(all, more...), err
}

// Repair carries out the plan.
func (f *Finding) Repair() error {
	if f.repair == nil {
		return errors.New("this problem cannot be repaired automatically")
	}
	return f.repair()
}

// checkTree runs the checks that do not belong to one folder.
func checkTree(b *Box) ([]Finding, error) {
	var all []Finding
	dirs, err := b.dir.Dirs()
	if err != nil {
		return nil, err
	}
	for _, dir := range dirs {
		if _, ok := maildir.FolderName(dir); !ok && strings.HasPrefix(dir, ".") && b.isFolder(dir) {
			f := Finding{Text: fmt.Sprintf("directory %q has no valid folder name and is not shown", dir)}
			if strings.HasPrefix(dir, "..") {
				f.Text = fmt.Sprintf("%q is left over from deleting a folder", dir)
				f.Plan, f.repair = "remove it", func() error { return removeTree(b.dir, dir) }
			}
			all = append(all, f)
		}
	}
	links, err := b.dir.Links()
	if err != nil {
		return nil, err
	}
	for _, name := range links {
		if folder, ok := maildir.FolderName(name); ok {
			all = append(all, Finding{Text: fmt.Sprintf("folder %q is a symbolic link and is not shown; mount its directory there instead", folder)})
		}
	}
	noted, counted, err := b.quota.compare()
	if err != nil || noted.Size == counted.Size && noted.Messages == counted.Messages {
		return all, err
	}
	return append(all, Finding{
		Text:   fmt.Sprintf("maildirsize records %d octets in %d messages, but there are %d in %d", noted.Size, noted.Messages, counted.Size, counted.Messages),
		Plan:   "count again",
		repair: b.quota.repair,
	}), nil
}

// checkFolder checks a folder's files before reading the folder, which would
// repair them.
func checkFolder(b *Box, name string, now time.Time) ([]Finding, error) {
	f, err := b.Folder(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	c := checker{f: f, name: name, now: now}
	for _, step := range []func() error{c.list, c.lock, c.leftovers, c.files} {
		if err := step(); err != nil {
			return c.all, err
		}
	}
	return c.all, nil
}

// checker collects the findings of one folder.
type checker struct {
	f    *Folder
	name string
	now  time.Time
	all  []Finding
}

func (c *checker) add(plan string, repair func() error, format string, args ...any) {
	c.all = append(c.all, Finding{Folder: c.name, Text: fmt.Sprintf(format, args...), Plan: plan, repair: repair})
}

// open opens the folder. This repairs most problems, because reading the folder
// adopts the existing files.
func (c *checker) open() error {
	b := c.f.box
	f, err := b.Folder(c.name)
	if err != nil {
		return err
	}
	defer f.Close()
	f.fresh.Store(true)
	_, err = f.Sync()
	return err
}

// list checks the uidlist.
func (c *checker) list() error {
	text, err := c.f.dir.ReadFile(maildir.UIDListFile, maildir.MaxUIDList)
	if isNot(err) {
		c.add("create it", c.open, "the uidlist is missing")
		return nil
	}
	if err != nil {
		return err
	}
	list, err := maildir.ParseUIDList(string(text))
	if err != nil {
		c.add("keep the valid part, assign new UIDs to the rest", c.open, "%v", err)
		return nil
	}
	seen := map[string]bool{}
	for _, e := range list.Entries {
		if seen[e.Base] {
			c.add("", nil, "the uidlist contains %s twice", e.Base)
		}
		seen[e.Base] = true
	}
	return nil
}

// lock looks for a stale lock.
func (c *checker) lock() error {
	const name = maildir.UIDListFile + ".lock"
	st, err := c.f.dir.Stat(name)
	if err != nil {
		return ignoreMissing(err)
	}
	if age := c.now.Sub(st.MTime); age > 2*time.Minute {
		c.add("remove it", func() error { return c.f.dir.Remove(name) }, "%s is %s old", name, age.Round(time.Minute))
	}
	return nil
}

// leftovers looks for files in tmp that abandoned deliveries left behind.
func (c *checker) leftovers() error {
	names, err := c.f.tmp.Files()
	if err != nil {
		return err
	}
	old := 0
	for _, n := range names {
		if st, err := c.f.tmp.Stat(n); err == nil && leftover(st, c.now) {
			old++
		}
	}
	if old > 0 {
		c.add("remove them", func() error { return c.f.cleanTmp(c.now) }, "%d deliveries in tmp were abandoned more than 36 hours ago", old)
	}
	return nil
}

// files checks the messages for foreign files, duplicate names and wrong sizes.
func (c *checker) files() error {
	seen := map[string]bool{}
	for _, dir := range []*maildir.Dir{c.f.new, c.f.cur} {
		names, err := dir.All()
		if err != nil {
			return err
		}
		for _, n := range names {
			st, err := dir.Stat(n)
			if isNot(err) {
				continue
			}
			if err != nil {
				return err
			}
			c.file(dir, n, st, seen)
		}
	}
	return nil
}

func (c *checker) file(dir *maildir.Dir, n string, st maildir.Stat, seen map[string]bool) {
	base := maildir.Base(n)
	switch {
	case st.Mode&fs.ModeSymlink != 0:
		c.add("", nil, "%q is a symbolic link and is not shown", n)
		return
	case !st.Mode.IsRegular():
		c.add("", nil, "%q is not a regular file and is not shown", n)
		return
	case strings.HasPrefix(n, "."):
		return
	case seen[base]:
		c.add("rename one of them", c.open, "two files have the base name %s", base)
	}
	seen[base] = true
	size, _ := maildir.Sizes(base)
	if size >= 0 && size != st.Size {
		c.add("rename it", func() error { return c.rename(base) }, "%q has %d octets, its name states another size", n, st.Size)
	}
}

// rename gives a message a file name with the correct sizes. The message keeps
// its UID.
func (c *checker) rename(base string) error {
	f, err := c.f.box.Folder(c.name)
	if err != nil {
		return err
	}
	defer f.Close()
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.sync(); err != nil {
		return err
	}
	l, err := f.lockList(lockWait)
	if err != nil {
		return err
	}
	defer l.release()
	r := round{Folder: f, list: l}
	if err := r.refresh(true); err != nil {
		return err
	}
	was := f.known.Named(base)
	if was == nil {
		return nil // it no longer exists
	}
	next := *was
	if next.Size, next.Wire, err = f.measure(was); err != nil {
		return ignoreMissing(err)
	}
	_, info := maildir.Split(was.File)
	name, _, _ := strings.Cut(base, ",")
	next.File, next.Exact = maildir.WithSizes(name, next.Size, next.Wire)+info, true
	if maildir.ExtKey(next.Ext, 'G') == "" {
		next.Ext = strings.TrimSpace(next.Ext + " G" + base) // keep the old base as GUID
	}
	if next.Base() == base {
		return nil // the file with the wrong size had the same base name
	}
	if f.known.Named(next.Base()) != nil {
		return fmt.Errorf("rename %s: %s exists", base, next.Base())
	}
	if err := f.files.rename(was, f.in(fileOf(was)), next.File); err != nil {
		return err
	}
	i, _ := f.known.Find(was.UID)
	changes := f.known.Describe(i, &next)
	f.index.items.drop([]uint32{was.UID})
	return errors.Join(l.write(&f.known, f.known.List(nil), nil), f.finish(l, changes))
}

// Reindex deletes the index of every folder and, if rebuild is set, builds it
// again. It returns the number of messages.
func (b *Box) Reindex(rebuild bool) (messages int, err error) {
	list, err := b.List()
	if err != nil {
		return 0, err
	}
	for _, info := range list {
		if !info.Exists {
			continue
		}
		f, err := b.Folder(info.Name)
		if err != nil {
			return messages, err
		}
		f.mu.Lock()
		f.index.erase(f.known.GUID)
		f.forget()
		f.mu.Unlock()
		if rebuild {
			s, err := f.Sync()
			if err != nil {
				f.Close()
				return messages, err
			}
			messages += len(s.Messages)
		}
		f.Close()
	}
	return messages, nil
}
