package maildrop

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"hoplite/maildrop/maildir"
)

// quotaFile holds a box's limits and what it uses (Maildir++).
const quotaFile = "maildirsize"

// The rules of maildirsize.
const (
	quotaFileMax = 5120
	quotaOld     = 15 * time.Minute
)

// Quota is what a box uses and may use; a limit of 0 is none.
type Quota struct {
	Size, Messages           int64
	SizeLimit, MessagesLimit int64
}

// full tells whether so much more would be too much.
func (q Quota) full(size, messages int64) bool {
	return q.SizeLimit > 0 && q.Size+size > q.SizeLimit || q.MessagesLimit > 0 && q.Messages+messages > q.MessagesLimit
}

// quota is the state of a box's maildirsize.
type quota struct {
	mu sync.Mutex
}

// Quota returns what the box uses. Without any limit it only adds up when
// asked.
func (b *Box) Quota() (Quota, error) {
	b.quota.mu.Lock()
	defer b.quota.mu.Unlock()
	q, known, err := b.readQuota()
	if err != nil || known {
		return q, err
	}
	return b.recount(q)
}

// limits are the box's limits by setting; found are those in its maildirsize.
func (b *Box) limits(found Quota) (size, messages int64) {
	set := b.store.set.Load()
	size, messages = int64(set.Quota), set.QuotaMessages
	if set.account != nil {
		if a, ok := set.account(b.account); ok && a.Quota > 0 {
			size = a.Quota
		}
	}
	if size == 0 && messages == 0 {
		return found.SizeLimit, found.MessagesLimit
	}
	return size, messages
}

// fits tells whether the box has room; ErrQuota when it hasn't.
func (b *Box) fits(size, messages int64) error {
	b.quota.mu.Lock()
	defer b.quota.mu.Unlock()
	q, known, err := b.readQuota()
	if err != nil {
		return err
	}
	if q.SizeLimit == 0 && q.MessagesLimit == 0 {
		return nil
	}
	if !known {
		if q, err = b.recount(q); err != nil {
			return err
		}
	}
	if q.full(size, messages) {
		return ErrQuota
	}
	return nil
}

// used adds to what the box uses. It only keeps a file that is there: without
// a limit nobody needs one.
func (b *Box) used(size, messages int64) {
	if size == 0 && messages == 0 {
		return
	}
	b.quota.mu.Lock()
	defer b.quota.mu.Unlock()
	if _, err := b.dir.Stat(quotaFile); err != nil {
		return
	}
	w, err := b.dir.Append(quotaFile, 0o600)
	if err == nil {
		_, err = fmt.Fprintf(w, "%d %d\n", size, messages)
		err = errors.Join(err, w.Close())
	}
	if err != nil {
		b.store.log.Warn().Err(err).Str("box", b.path).Msg("maildirsize not updated")
	}
}

// readQuota reads maildirsize. known is false when the sums must be made
// anew: no file, other limits, too long, or over quota for a while.
func (b *Box) readQuota() (q Quota, known bool, err error) {
	text, err := b.dir.ReadFile(quotaFile, 64<<10)
	if err != nil && !isNot(err) {
		return q, false, err
	}
	missing := err != nil
	q, lines, ok := parseQuota(string(text))
	sizeLimit, messagesLimit := b.limits(q)
	same := sizeLimit == q.SizeLimit && messagesLimit == q.MessagesLimit
	q.SizeLimit, q.MessagesLimit = sizeLimit, messagesLimit
	if missing || !ok || !same || len(text) > quotaFileMax {
		return q, false, nil
	}
	if q.full(0, 0) && lines > 1 {
		return q, false, nil
	}
	if st, err := b.dir.Stat(quotaFile); q.full(0, 0) && err == nil && time.Since(st.MTime) > quotaOld {
		return q, false, nil
	}
	return q, true, nil
}

// parseQuota reads the text of a maildirsize file: limits, then differences.
func parseQuota(text string) (q Quota, lines int, ok bool) {
	head, rest, ok := strings.Cut(text, "\n")
	if !ok {
		return q, 0, false
	}
	for field := range strings.SplitSeq(strings.TrimSpace(head), ",") {
		if field == "" {
			continue
		}
		n, err := strconv.ParseInt(field[:len(field)-1], 10, 64)
		switch {
		case err != nil || n < 0:
			return q, 0, false
		case field[len(field)-1] == 'S':
			q.SizeLimit = n
		case field[len(field)-1] == 'C':
			q.MessagesLimit = n
		}
	}
	for line := range strings.Lines(rest) {
		f := strings.Fields(line)
		if len(f) != 2 {
			return q, lines, false
		}
		size, err1 := strconv.ParseInt(f[0], 10, 64)
		count, err2 := strconv.ParseInt(f[1], 10, 64)
		if err1 != nil || err2 != nil {
			return q, lines, false
		}
		q.Size += size
		q.Messages += count
		lines++
	}
	return q, lines, lines > 0 && q.Size >= 0 && q.Messages >= 0
}

// recount adds up the whole box and writes maildirsize when there is a limit.
func (b *Box) recount(q Quota) (Quota, error) {
	q, err := b.sum(q)
	if err != nil || q.SizeLimit == 0 && q.MessagesLimit == 0 {
		return q, err
	}
	var head []string
	if q.SizeLimit > 0 {
		head = append(head, fmt.Sprintf("%dS", q.SizeLimit))
	}
	if q.MessagesLimit > 0 {
		head = append(head, fmt.Sprintf("%dC", q.MessagesLimit))
	}
	return q, b.dir.Replace(quotaFile, fmt.Appendf(nil, "%s\n%d %d\n", strings.Join(head, ","), q.Size, q.Messages))
}

// sum adds up the whole box.
func (b *Box) sum(q Quota) (Quota, error) {
	q.Size, q.Messages = 0, 0
	dirs, err := b.dir.Dirs()
	if err != nil {
		return q, err
	}
	for _, name := range append(dirs, ".") {
		if _, ok := maildir.FolderName(name); !ok {
			continue
		}
		dir := b.dir
		if name != "." {
			if dir, err = b.dir.Sub(name); err != nil {
				continue
			}
		}
		size, count := addUp(dir)
		q.Size += size
		q.Messages += count
		if dir != b.dir {
			dir.Close()
		}
	}
	return q, nil
}

// addUp adds up the messages of one folder, by their names where they say.
func addUp(folder *maildir.Dir) (size, count int64) {
	for _, sub := range []string{"new", "cur"} {
		dir, err := folder.Sub(sub)
		if err != nil {
			continue
		}
		names, _ := dir.Files()
		for _, name := range names {
			n, _ := maildir.Sizes(maildir.Base(name))
			if n < 0 {
				st, err := dir.Stat(name)
				if err != nil {
					continue
				}
				n = st.Size
			}
			size += n
			count++
		}
		dir.Close()
	}
	return size, count
}
