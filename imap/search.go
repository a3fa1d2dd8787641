package imap

import (
	"context"
	"strconv"

	"hoplite/imap/wire"
	"hoplite/mail/mime"
)

// doSearch runs SEARCH and UID SEARCH (RFC 9051, 6.4.4; RFC 4731, 5032, 5182).
func (s *session) doSearch(uid bool) error {
	s.p.SP()
	args := s.p.Search()
	if !s.end() {
		return nil
	}
	if args.Charset != "" && s.utf8 {
		s.p.Fail("no CHARSET after ENABLE UTF8=ACCEPT") // RFC 6855, 3
		return nil
	}
	if args.Return.Save {
		s.sel.saved = []uint32{} // what an unsuccessful search leaves
	}
	found, err := s.search(&args)
	if err != nil || s.p.Err() != nil {
		return err
	}
	if args.Return.Save {
		s.save(args.Return, found)
	}
	s.result("SEARCH", &args, found, uid)
	if err := s.poll(uid); err != nil {
		return err
	}
	s.tagged("OK SEARCH completed")
	return nil
}

// save keeps a result for "$" (RFC 5182, 2.1).
func (s *session) save(r wire.ReturnOpts, found []int) {
	if !r.All && !r.Count && (r.Min || r.Max) && len(found) > 0 {
		var ends []int
		if r.Min {
			ends = append(ends, found[0])
		}
		if last := found[len(found)-1]; r.Max && (len(ends) == 0 || last != ends[0]) {
			ends = append(ends, last)
		}
		found = ends
	}
	s.sel.saved = s.uidsOf(found)
}

// result sends what SEARCH or SORT found, in the order given.
func (s *session) result(what string, args *wire.Search, found []int, uid bool) {
	nums := make([]uint32, len(found))
	var modseq uint64
	for i, n := range found {
		m := s.sel.view.Messages[n]
		nums[i] = uint32(n + 1)
		if uid {
			nums[i] = m.UID
		}
		modseq = max(modseq, m.ModSeq)
	}
	if args.Return.Given || s.rev2 && what == "SEARCH" {
		s.esearch(args, nums, modseq, uid)
		return
	}
	b := append(append(s.w.Room(64), "* "...), what...)
	for _, n := range nums {
		if len(b) > 4000 {
			s.w.Took(b)
			b = s.w.Room(64)
		}
		b = strconv.AppendUint(append(b, ' '), uint64(n), 10)
	}
	if args.ModSeq && len(nums) > 0 {
		b = strconv.AppendUint(append(b, " (MODSEQ "...), modseq, 10)
		b = append(b, ')')
	}
	s.w.Took(append(b, "\r\n"...))
}

// esearch sends an ESEARCH response (RFC 4731, 3.1; RFC 5267, 3).
func (s *session) esearch(args *wire.Search, nums []uint32, modseq uint64, uid bool) {
	r := args.Return
	if !r.Given {
		r.All = true
	}
	if r.Save && !r.Min && !r.Max && !r.All && !r.Count {
		return
	}
	s.w.WriteString("* ESEARCH (TAG ")
	s.w.Write(wire.AppendString(nil, s.tag, false))
	s.w.WriteString(")")
	var b []byte
	if uid {
		b = append(b, " UID"...)
	}
	if len(nums) > 0 {
		if r.Min {
			b = appendInt(append(b, " MIN "...), int64(nums[0]))
		}
		if r.Max {
			b = appendInt(append(b, " MAX "...), int64(nums[len(nums)-1]))
		}
		if r.All {
			b = wire.AppendNumbers(append(b, " ALL "...), nums)
		}
	}
	if r.Count {
		b = appendInt(append(b, " COUNT "...), int64(len(nums)))
	}
	if args.ModSeq && len(nums) > 0 {
		b = strconv.AppendUint(append(b, " MODSEQ "...), modseq, 10)
	}
	s.w.Write(append(b, "\r\n"...))
}

// errSearchLimit is the answer to a search that takes too long.
var errSearchLimit = no{"[LIMIT] search takes too long"}

// patience bounds a search: by its time, and by its client's going away.
func (s *session) patience() (context.Context, context.CancelFunc) {
	ctx, stop := s.conn.Watched(s.ctx)
	ctx, cancel := context.WithTimeout(ctx, s.srv.cfg.SearchTimeout)
	return ctx, func() { cancel(); stop() }
}

// search returns the indexes in the view of all messages that match, ascending.
func (s *session) search(args *wire.Search) ([]int, error) {
	if args.Charset != "" && !mime.KnownCharset(args.Charset) {
		return nil, nof("[BADCHARSET (US-ASCII UTF-8)] charset is not supported")
	}
	q := s.query(args)
	if args.ModSeq {
		s.enableCondstore()
	}
	msgs := s.sel.view.Messages
	hit := make([]bool, len(msgs))
	ctx, cancel := s.patience()
	defer cancel()
	if err := q.run(ctx, msgs, hit); err != nil {
		return nil, err
	}
	found := make([]int, 0, 64)
	for i, h := range hit {
		if h {
			found = append(found, i)
		}
	}
	return found, nil
}
