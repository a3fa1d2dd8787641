package maildrop

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"hoplite/maildrop/maildir"
)

// quotaFile is the file with the limits and the usage of a box (Maildir++).
const quotaFile = "maildirsize"

// The limits that Maildir++ sets for maildirsize.
const (
	quotaFileMax = 5120
	quotaOld     = 15 * time.Minute
)

// Quota is the usage and limits of a box. A limit of 0 means no limit.
type Quota struct {
	Size, Messages           int64
	SizeLimit, MessagesLimit int64
}

// full reports whether adding the given amounts would exceed a limit.
func (q Quota) full(size, messages int64) bool {
	return q.SizeLimit > 0 && q.Size+size > q.SizeLimit || q.MessagesLimit > 0 && q.Messages+messages > q.MessagesLimit
}

// quota manages a box's maildirsize file.
type quota struct {
	dir *maildir.Dir // the box's directory
	log zerolog.Logger
	// set returns the configured limits, or 0 for no limit.
	set func() (size, messages int64)

	mu sync.Mutex
}

// get returns usage and limits.
func (k *quota) get() (Quota, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	q, known, err := k.read()
	if err != nil || known {
		return q, err
	}
	return k.recount(q)
}

// limits returns the limits of the box. If none are configured, those found in
// maildirsize apply.
func (k *quota) limits(found Quota) (size, messages int64) {
	if size, messages = k.set(); size == 0 && messages == 0 {
		return found.SizeLimit, found.MessagesLimit
	}
	return size, messages
}

// fits returns ErrQuota if the box does not have room for the given amounts.
func (k *quota) fits(size, messages int64) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	q, known, err := k.read()
	if err != nil {
		return err
	}
	if q.SizeLimit == 0 && q.MessagesLimit == 0 {
		return nil
	}
	if !known {
		if q, err = k.recount(q); err != nil {
			return err
		}
	}
	if q.full(size, messages) {
		return ErrQuota
	}
	return nil
}

// add adds the given amounts to the usage. It updates only an existing file,
// because none is needed without a limit.
func (k *quota) add(size, messages int64) {
	if size == 0 && messages == 0 {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if _, err := k.dir.Stat(quotaFile); err != nil {
		return
	}
	w, err := k.dir.Append(quotaFile, 0o600)
	if err == nil {
		_, err = fmt.Fprintf(w, "%d %d\n", size, messages)
		err = errors.Join(err, w.Close())
	}
	if err != nil {
		k.log.Warn().Err(err).Msg("maildirsize not updated")
	}
}

// read reads maildirsize. known is false if the usage must be counted again
// because the file does not exist, the limits have changed, the file is too
// long, or the box has been over quota for a while.
func (k *quota) read() (q Quota, known bool, err error) {
	text, err := k.dir.ReadFile(quotaFile, 64<<10)
	if err != nil && !isNot(err) {
		return q, false, err
	}
	missing := err != nil
	q, lines, ok := parseQuota(string(text))
	sizeLimit, messagesLimit := k.limits(q)
	same := sizeLimit == q.SizeLimit && messagesLimit == q.MessagesLimit
	q.SizeLimit, q.MessagesLimit = sizeLimit, messagesLimit
	if missing || !ok || !same || len(text) > quotaFileMax {
		return q, false, nil
	}
	if q.full(0, 0) && lines > 1 {
		return q, false, nil
	}
	if st, err := k.dir.Stat(quotaFile); q.full(0, 0) && err == nil && time.Since(st.MTime) > quotaOld {
		return q, false, nil
	}
	return q, true, nil
}

// parseQuota parses a maildirsize file: a line with the limits, followed by
// differences.
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

// recount counts the usage of the whole box and writes maildirsize if there is
// a limit.
func (k *quota) recount(q Quota) (Quota, error) {
	q, err := k.sum(q)
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
	return q, k.dir.Replace(quotaFile, fmt.Appendf(nil, "%s\n%d %d\n", strings.Join(head, ","), q.Size, q.Messages))
}

// sum counts the usage of the whole box.
func (k *quota) sum(q Quota) (Quota, error) {
	q.Size, q.Messages = 0, 0
	dirs, err := k.dir.Dirs()
	if err != nil {
		return q, err
	}
	for _, name := range append(dirs, ".") {
		if _, ok := maildir.FolderName(name); !ok {
			continue
		}
		dir := k.dir
		if name != "." {
			if dir, err = k.dir.Sub(name); err != nil {
				continue
			}
		}
		size, count := addUp(dir)
		q.Size += size
		q.Messages += count
		if dir != k.dir {
			dir.Close()
		}
	}
	return q, nil
}

// addUp counts the messages in one folder. It takes sizes from the file names
// if they contain them.
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

// compare returns the usage recorded in maildirsize and the actual usage. They
// are equal if the file has no valid record.
func (k *quota) compare() (noted, counted Quota, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	noted, known, err := k.read()
	if err != nil || !known {
		return noted, noted, err
	}
	counted, err = k.sum(noted)
	return noted, counted, err
}

// repair counts the usage again.
func (k *quota) repair() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	q, _, err := k.read()
	if err == nil {
		_, err = k.recount(q)
	}
	return err
}
