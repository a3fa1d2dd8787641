package imap

import (
	"bytes"
	"cmp"
	"errors"
	"slices"

	"hoplite/imap/wire"
	"hoplite/internal/parallel"
	"hoplite/maildrop"
)

// doSort runs SORT and UID SORT (RFC 5256, RFC 5267, RFC 5957).
func (s *session) doSort(uid bool) error {
	s.p.SP()
	args := s.p.Sort()
	if !s.end() {
		return nil
	}
	if args.Return.Save {
		s.sel.saved = []uint32{}
	}
	found, err := s.search(&args)
	if err != nil || s.p.Err() != nil {
		return err
	}
	if args.Return.Save {
		s.save(args.Return, found)
	}
	rows, err := s.rows(found, slices.ContainsFunc(args.Sort, sortsByEntry))
	if err != nil {
		return err
	}
	slices.SortFunc(rows, func(a, b row) int {
		for _, k := range args.Sort {
			if c := compareRows(k.Name, &a, &b); c != 0 {
				if k.Reverse {
					return -c
				}
				return c
			}
		}
		return a.i - b.i
	})
	found = found[:0]
	for _, r := range rows {
		found = append(found, r.i)
	}
	s.result("SORT", &args, found, uid)
	if err := s.poll(uid); err != nil {
		return err
	}
	s.tagged("OK SORT completed")
	return nil
}

// row is a message to be sorted or threaded.
type row struct {
	i    int // in the view
	m    *maildrop.Message
	e    entry
	sent int64
	came int64 // the internal date
}

func sortsByEntry(k wire.SortKey) bool { return k.Name != "ARRIVAL" && k.Name != "SIZE" }

// rows reads what sorting compares. Entries that nobody has asked for yet are
// made by several workers.
func (s *session) rows(found []int, entries bool) ([]row, error) {
	rows := make([]row, 0, len(found))
	folder := s.sel.folder
	if entries {
		if err := s.warm(found, false); err != nil {
			return nil, err
		}
	}
	for _, i := range found {
		r := row{i: i, m: s.sel.view.Messages[i]}
		r.came = r.m.InternalDate().Unix()
		if entries {
			var err error
			if r.e, err = entryOf(folder, r.m, false); errors.Is(err, maildrop.ErrNoMessage) {
				continue
			} else if err != nil {
				return nil, err
			}
			r.sent, _ = r.e.sent(r.m)
		}
		rows = append(rows, r)
	}
	return rows, nil
}

// warm makes the entries that are not there yet, with several workers.
func (s *session) warm(idx []int, whole bool) error {
	folder := s.sel.folder
	var msgs []*maildrop.Message
	for _, i := range idx {
		m := s.sel.view.Messages[i]
		if e := entry(folder.Cached(m)); !e.valid() || whole && !e.whole() {
			msgs = append(msgs, m)
		}
	}
	if len(msgs) < 2 {
		return nil
	}
	ctx, cancel := s.patience()
	defer cancel()
	return parallel.Do(len(msgs), func(i int) error {
		if ctx.Err() != nil {
			return errSearchLimit
		}
		_, err := entryOf(folder, msgs[i], whole)
		if errors.Is(err, maildrop.ErrNoMessage) {
			return nil // the one who asks for it will see
		}
		return err
	})
}

func compareRows(key string, a, b *row) int {
	switch key {
	case "ARRIVAL":
		return cmp.Compare(a.came, b.came)
	case "SIZE":
		return cmp.Compare(a.m.Wire, b.m.Wire)
	case "DATE":
		return cmp.Compare(a.sent, b.sent)
	}
	i := sortTexts[key]
	return bytes.Compare(a.e.text(i), b.e.text(i))
}

var sortTexts = map[string]int{
	"SUBJECT": eSubject, "FROM": eMailFrom, "TO": eMailTo, "CC": eMailCc, "DISPLAYFROM": eShowFrom, "DISPLAYTO": eShowTo,
}
