package received

import "strings"

// kind is the type of a token. A field is split into words, comments and
// semicolons in one pass. Quoted strings, domain literals and addresses in
// angle brackets are single words, including any spaces in them.
type kind uint8

const (
	word kind = iota
	comment
	semicolon
)

type token struct {
	kind       kind
	key        keyword
	start, end int32 // for a comment, without its parentheses
}

type keyword uint8

const (
	notKey keyword = iota
	kFrom
	kBy
	kVia
	kWith
	kID
	kFor
)

// class classifies bytes for the scanner's inner loop.
var class [256]uint8

const (
	plain uint8 = iota
	space
	special
)

func init() {
	for i := range 33 {
		class[i] = space
	}
	class[127] = space
	for _, c := range `()[]<>;"` {
		class[c] = special
	}
}

// scanner splits a text into tokens.
type scanner struct {
	s       string
	toks    []token
	defects Defects
	// Each is set once a search for a closing bracket has failed, so that
	// the search is not repeated at every opening bracket.
	noQuote, noSquare, noAngle, broken bool
}

// reset prepares the scanner for another text, reusing its token list.
func (sc *scanner) reset(s string) {
	*sc = scanner{s: s, toks: sc.toks[:0]}
}

// all splits the text into tokens.
func (sc *scanner) all() {
	s, i := sc.s, 0
	for i < len(s) {
		if len(sc.toks) >= maxTokens {
			sc.defects |= TooManyTokens
			return
		}
		switch c := s[i]; {
		case class[c] == space:
			if c < ' ' && c != '\t' && c != '\r' && c != '\n' || c == 127 {
				sc.defects |= ControlCharacter
			}
			i++
		case c == '(':
			i = sc.comment(i)
		case c == ')':
			sc.defects |= StrayParen
			i++
		case c == ';':
			sc.toks = append(sc.toks, token{kind: semicolon, start: int32(i), end: int32(i + 1)})
			i++
		case c == ',':
			i++
		default:
			i = sc.word(i)
		}
	}
}

// comment reads the comment that opens at i and returns the position after it.
func (sc *scanner) comment(i int) int {
	if sc.broken {
		return i + 1
	}
	s, depth := sc.s, 1
	for j := i + 1; j < len(s); j++ {
		switch s[j] {
		case '\\':
			j++
		case '(':
			if depth++; depth > maxDepth {
				sc.defects |= DeepComment
			}
		case ')':
			if depth--; depth == 0 {
				sc.toks = append(sc.toks, token{kind: comment, start: int32(i + 1), end: int32(j)})
				return j + 1
			}
		}
	}
	// The comment is never closed. It ends where the date begins, and
	// further parentheses are ignored.
	sc.broken = true
	sc.defects |= UnclosedComment
	end := len(s)
	if semi := strings.IndexByte(s[i:], ';'); semi > 0 {
		end = i + semi
	}
	sc.toks = append(sc.toks, token{kind: comment, start: int32(i + 1), end: int32(end)})
	return end
}

// word reads the word that begins at i and returns the position after it.
func (sc *scanner) word(i int) int {
	s, j := sc.s, i
	high := byte(0)
loop:
	for j < len(s) {
		c := s[j]
		if class[c] == plain {
			high |= c
			j++
			continue
		}
		if class[c] == space {
			break
		}
		switch c {
		case '(', ')', ';':
			break loop
		case '"':
			j = sc.upTo(j, '"', &sc.noQuote, 256)
		case '[':
			j = sc.upTo(j, ']', &sc.noSquare, 80)
		case '<':
			if j > i { // for<ann@example.org>
				break loop
			}
			j = sc.upTo(j, '>', &sc.noAngle, 1024)
		case '>':
			j++
			for j < len(s) && s[j] == '>' {
				j++
			}
			break loop
		default:
			j++
		}
	}
	if high >= 128 {
		sc.defects |= EightBit
	}
	t := token{kind: word, start: int32(i), end: int32(j)}
	for t.end > t.start+1 && s[t.end-1] == ',' {
		t.end--
	}
	if n := t.end - t.start; n >= 2 && n <= 4 {
		t.key = keywordOf(s[t.start:t.end])
	}
	sc.toks = append(sc.toks, t)
	return j
}

// upTo returns the position after the bracket that closes the one at i, if it
// is close enough.
func (sc *scanner) upTo(i int, partner byte, none *bool, within int) int {
	if *none {
		return i + 1
	}
	rest := sc.s[i+1 : min(len(sc.s), i+1+within)]
	n := strings.IndexByte(rest, partner)
	if n < 0 {
		*none = len(rest) < within
		return i + 1
	}
	if partner != '"' && strings.IndexByte(rest[:n], ';') >= 0 {
		return i + 1
	}
	if partner == '>' { // stop before it: <<a@b>> is one word
		return i + 1 + n
	}
	return i + n + 2
}

func keywordOf(s string) keyword {
	switch len(s) {
	case 2:
		switch s[0] | 0x20 {
		case 'b':
			if s[1]|0x20 == 'y' {
				return kBy
			}
		case 'i':
			if s[1]|0x20 == 'd' {
				return kID
			}
		}
	case 3:
		if fold(s, "via") {
			return kVia
		}
		if fold(s, "for") {
			return kFor
		}
	case 4:
		if fold(s, "from") {
			return kFrom
		}
		if fold(s, "with") {
			return kWith
		}
	}
	return notKey
}

// fold reports whether s equals the lower-case ASCII text low, ignoring case.
func fold(s, low string) bool {
	return len(s) == len(low) && foldPrefix(s, low)
}

// foldPrefix reports whether s begins with low, ignoring case. A space in low
// matches any white space character, because the field may be folded there.
func foldPrefix(s, low string) bool {
	if len(s) < len(low) {
		return false
	}
	for i := range len(low) {
		c := s[i]
		if c >= 'A' && c <= 'Z' {
			c |= 0x20
		}
		if c != low[i] && (low[i] != ' ' || class[s[i]] != space) {
			return false
		}
	}
	return true
}

// phrase reports whether s begins with the words in low, ignoring case and
// separated by any white space, and returns the position after them.
func phrase(s, low string) (end int, ok bool) {
	for i := range len(low) {
		if end == len(s) {
			return 0, false
		}
		c := s[end]
		if c >= 'A' && c <= 'Z' {
			c |= 0x20
		}
		switch {
		case c == low[i]:
		case low[i] != ' ' || class[c] != space:
			return 0, false
		}
		end++
		if low[i] == ' ' {
			for end < len(s) && class[s[end]] == space {
				end++
			}
		}
	}
	return end, true
}

// foldIndex returns the index of the lower-case ASCII text low in s, ignoring
// case, or -1.
func foldIndex(s, low string) int {
	first := low[0]
	for i := 0; i+len(low) <= len(s); i++ {
		if c := s[i]; (c == first || c|0x20 == first) && foldPrefix(s[i:], low) {
			return i
		}
	}
	return -1
}
