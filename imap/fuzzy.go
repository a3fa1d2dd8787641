package imap

import (
	"strings"

	"hoplite/imap/wire"
)

// fuzzyKeys holds the key of SEARCH=FUZZY (RFC 6203).
var fuzzyKeys = map[wire.KeyOp]searchKey{wire.KeyFuzzy: {match: matchFuzzy}}

// The relevancies of messages that match a fuzzy key.
const (
	exactly  = 100 // the text contains the string
	allWords = 50  // the text contains the words of the string
)

// maxWords is the maximum number of words in the fuzzy keys of a search.
const maxWords = 1000

// fuzzyKids returns the keys that must all match for FUZZY k: a string matches if
// all of its words occur, in any order. The first key, if there are several, is
// k itself and only determines the relevancy. Keys without a string are exact.
func (q *query) fuzzyKids(k wire.Key) ([]wire.Key, error) {
	switch k.Op {
	case wire.KeyAnd, wire.KeyOr:
		kids := make([]wire.Key, len(k.Kids))
		for i, kid := range k.Kids {
			kids[i] = wire.Key{Op: wire.KeyFuzzy, Kids: []wire.Key{kid}}
		}
		k.Kids = kids
	case wire.KeyHeader, wire.KeyBody, wire.KeyText:
		words := strings.Fields(k.Str)
		if len(words) < 2 || q.charset != "" && q.charset != "UTF-8" && q.charset != "US-ASCII" {
			break // other charsets may use the octet of a space in characters
		}
		if q.words += len(words); q.words > maxWords {
			return nil, nof("[LIMIT] Too many words")
		}
		kids := []wire.Key{k}
		for _, w := range words {
			k.Str = w
			kids = append(kids, k)
		}
		return kids, nil
	}
	return []wire.Key{k}, nil
}

// matchFuzzy reports whether all words match, and adds the relevancy.
func matchFuzzy(c *candidate, n *node) (bool, error) {
	if len(n.kids) == 1 {
		before := c.rated
		ok, err := c.match(n.kids[0])
		if ok && c.rated == before { // otherwise keys within it have been rated
			c.rate(exactly)
		}
		return ok, err
	}
	for _, k := range n.kids[1:] {
		if ok, err := c.match(k); !ok || err != nil {
			return false, err
		}
	}
	ok, err := c.match(n.kids[0])
	switch {
	case err != nil:
		return false, err
	case ok:
		c.rate(exactly)
	default:
		c.rate(allWords)
	}
	return true, nil
}

// rate adds the relevancy of one key.
func (c *candidate) rate(relevancy int) {
	c.score += relevancy
	c.rated++
}

// relevancy returns the message's relevancy: the mean of those of the fuzzy keys.
func (c *candidate) relevancy() uint8 {
	if c.rated == 0 {
		return exactly
	}
	return uint8(c.score / c.rated)
}
