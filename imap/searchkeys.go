package imap

import (
	"bytes"
	"strings"

	"hoplite/imap/summary"
	"hoplite/imap/wire"
	"hoplite/mail/mime"
	"hoplite/maildrop"
)

// baseKeys holds the search keys of IMAP4rev1 and IMAP4rev2. Keys of an
// extension are listed with the extension.
var baseKeys = map[wire.KeyOp]searchKey{
	wire.KeyAll:        {match: matchAll},
	wire.KeyAnd:        {match: matchAnd},
	wire.KeyOr:         {match: matchOr},
	wire.KeyFlag:       {match: matchFlag, compile: compileFlag},
	wire.KeyRecent:     {match: matchRecent},
	wire.KeyNew:        {match: matchNew},
	wire.KeySeq:        {match: matchNumber, compile: compileNumbers},
	wire.KeyUID:        {match: matchUID, compile: compileUIDs},
	wire.KeyLarger:     {match: func(c *candidate, n *node) (bool, error) { return c.msg.Wire > int64(n.num), nil }},
	wire.KeySmaller:    {match: func(c *candidate, n *node) (bool, error) { return c.msg.Wire < int64(n.num), nil }},
	wire.KeyBefore:     {match: internalDay(before)},
	wire.KeyOn:         {match: internalDay(on)},
	wire.KeySince:      {match: internalDay(since)},
	wire.KeySentBefore: {need: needHeader, match: sentDay(before)},
	wire.KeySentOn:     {need: needHeader, match: sentDay(on)},
	wire.KeySentSince:  {need: needHeader, match: sentDay(since)},
	wire.KeyHeader:     {need: needHeader, match: matchHeader, compile: compileHeader},
	wire.KeyBody:       {need: needFile, match: matchText, compile: compileText},
	wire.KeyText:       {need: needFile, match: matchText, compile: compileText},
}

// saveDateKeys holds the keys of SAVEDATE (RFC 8514).
var saveDateKeys = map[wire.KeyOp]searchKey{
	wire.KeySavedBefore:       {match: savedDay(before)},
	wire.KeySavedOn:           {match: savedDay(on)},
	wire.KeySavedSince:        {match: savedDay(since)},
	wire.KeySaveDateSupported: {match: matchAll},
}

// withinKeys holds the keys of WITHIN (RFC 5032).
var withinKeys = map[wire.KeyOp]searchKey{
	wire.KeyYounger: {match: func(c *candidate, n *node) (bool, error) {
		return c.msg.InternalDate().Unix() >= c.q.now-interval(n), nil
	}},
	wire.KeyOlder: {match: func(c *candidate, n *node) (bool, error) {
		return c.msg.InternalDate().Unix() <= c.q.now-interval(n), nil
	}},
}

// interval returns the number of seconds in a WITHIN key, limited so that time
// arithmetic cannot overflow.
func interval(n *node) int64 { return int64(min(n.num, 1<<40)) }

// objectIDKeys holds the keys of OBJECTID (RFC 8474). Ids are compared exactly.
var objectIDKeys = map[wire.KeyOp]searchKey{
	wire.KeyEmailID: {compile: compileExact, match: func(c *candidate, n *node) (bool, error) {
		return string(n.needle) == emailID(c.msg), nil
	}},
	wire.KeyThreadID: {need: needHeader, compile: compileExact, match: func(c *candidate, n *node) (bool, error) {
		s, err := c.summary()
		return err == nil && string(n.needle) == threadID(c.msg, s), err
	}},
}

// modSeqKeys holds the keys of CONDSTORE (RFC 7162, 3.1.5).
var modSeqKeys = map[wire.KeyOp]searchKey{
	wire.KeyModSeq: {match: func(c *candidate, n *node) (bool, error) { return c.msg.ModSeq >= n.num, nil }},
}

func matchAll(*candidate, *node) (bool, error) { return true, nil }

func matchAnd(c *candidate, n *node) (bool, error) {
	for _, k := range n.kids {
		if ok, err := c.match(k); !ok || err != nil {
			return false, err
		}
	}
	return true, nil
}

func matchOr(c *candidate, n *node) (bool, error) {
	for _, k := range n.kids {
		if ok, err := c.match(k); ok || err != nil {
			return ok, err
		}
	}
	return false, nil
}

func compileFlag(q *query, n *node, k *wire.Key) error {
	if !strings.HasPrefix(k.Str, `\`) {
		n.keywords = q.view.keywordMask(k.Str)
		return nil
	}
	if n.flags = systemFlag(k.Str); n.flags == 0 {
		return badf("Unknown flag %s", k.Str)
	}
	return nil
}

func matchFlag(c *candidate, n *node) (bool, error) {
	return c.msg.Flags&n.flags != 0 || c.msg.Keywords&n.keywords != 0, nil
}

func matchRecent(c *candidate, _ *node) (bool, error) { return c.q.view.isRecent(c.msg.UID), nil }

func matchNew(c *candidate, _ *node) (bool, error) {
	return c.msg.Flags&maildrop.Seen == 0 && c.q.view.isRecent(c.msg.UID), nil
}

func compileNumbers(q *query, n *node, k *wire.Key) error {
	if q.uidOnly && !k.Set.Saved {
		return errUIDRequired
	}
	if k.Set.Saved {
		n.match, n.uids = matchSaved, q.view.saved
	}
	n.set = k.Set.Resolve(uint32(len(q.view.Messages)))
	return nil
}

func compileUIDs(q *query, n *node, k *wire.Key) error {
	if k.Set.Saved {
		n.match, n.uids = matchSaved, q.view.saved
	}
	n.set = k.Set.Resolve(q.view.lastUID())
	return nil
}

func matchNumber(c *candidate, n *node) (bool, error) { return within(n.set, c.number), nil }

func matchUID(c *candidate, n *node) (bool, error) { return within(n.set, c.msg.UID), nil }

func matchSaved(c *candidate, n *node) (bool, error) { return contains(n.uids, c.msg.UID), nil }

// dayTest compares a message's day with the day in a search key.
type dayTest func(day, with int64) bool

func before(day, with int64) bool { return day < with }
func on(day, with int64) bool     { return day == with }
func since(day, with int64) bool  { return day >= with }

// internalDay compares the day of the internal date.
func internalDay(test dayTest) matcher {
	return func(c *candidate, n *node) (bool, error) { return test(summary.Day(c.msg.InternalDate()), n.day), nil }
}

// savedDay compares the day on which the message was stored in the mailbox.
func savedDay(test dayTest) matcher {
	return func(c *candidate, n *node) (bool, error) { return test(summary.Day(c.msg.SaveDate()), n.day), nil }
}

// sentDay compares the day in the Date field. A message without a Date field
// does not match.
func sentDay(test dayTest) matcher {
	return func(c *candidate, n *node) (bool, error) {
		s, err := c.summary()
		if err != nil || !s.Dated() {
			return false, err
		}
		_, day := s.Sent(c.msg.InternalDate())
		return test(day, n.day), nil
	}
}

func compileExact(_ *query, n *node, k *wire.Key) error {
	n.needle = []byte(k.Str)
	return nil
}

// summarised maps header fields to the summary texts that contain them.
var summarised = map[string]summary.Text{
	"SUBJECT": summary.FindSubject, "FROM": summary.FindFrom, "TO": summary.FindTo, "CC": summary.FindCc, "BCC": summary.FindBcc,
}

func compileHeader(_ *query, n *node, k *wire.Key) error {
	// An empty needle tests whether the field exists, which a summary cannot
	// answer.
	if t, ok := summarised[strings.ToUpper(k.Field)]; ok && len(n.needle) > 0 {
		n.find = t
	}
	return nil
}

// matchHeader searches for a field that contains the needle.
func matchHeader(c *candidate, n *node) (bool, error) {
	if n.find != noText {
		s, err := c.summary()
		return err == nil && bytes.Contains(s.Text(n.find), n.needle), err
	}
	src, err := c.open()
	if err != nil {
		return false, err
	}
	header, err := src.head()
	if err != nil {
		return false, err
	}
	for f := range mime.Fields(header) {
		if f.Is(n.field) && bytes.Contains(summary.Fold(mime.DecodeWords(f.Unfolded())), n.needle) {
			return true, nil
		}
	}
	return false, nil
}

func compileText(q *query, n *node, k *wire.Key) error {
	if len(n.needle) == 0 {
		n.match, n.need = matchAll, needIndex // every text contains the empty string
		return nil
	}
	n.text, n.headers = len(q.texts), k.Op == wire.KeyText
	q.texts = append(q.texts, n)
	return nil
}

func matchText(c *candidate, n *node) (bool, error) {
	if !c.read {
		if err := c.readTexts(); err != nil {
			return false, err
		}
	}
	return c.found[n.text], nil
}
