package maildir

import (
	"slices"
	"strings"
)

// Flags holds the system flags of a message (RFC 9051, 2.3.2).
type Flags uint8

// The flags, named as in RFC 9051. The letters are those used in file names.
const (
	Seen     Flags = 1 << iota // S
	Answered                   // R
	Flagged                    // F
	Deleted                    // T
	Draft                      // D
)

// letters lists the letters of the flags in the order used in file names.
var letters = []struct {
	c byte
	f Flags
}{{'D', Draft}, {'F', Flagged}, {'R', Answered}, {'S', Seen}, {'T', Deleted}}

// MaxLetters is the maximum number of keywords in a folder that can have a
// letter in file names.
const MaxLetters = 26

// Info is the part of a file name after the base name.
type Info struct {
	Flags Flags
	// Letters holds the keyword letters: bit 0 is a, bit 25 is z.
	Letters uint32
	// Other holds letters that this package does not interpret, such as P for
	// passed.
	Other string
	// More is the text from the second comma on, including that comma.
	More string
}

// ParseInfo parses the info in a file name, such as ":2,FS". Text in any other
// form has no flags.
func ParseInfo(info string) Info {
	text, ok := strings.CutPrefix(info, ":2,")
	if !ok {
		return Info{}
	}
	var in Info
	if i := strings.IndexByte(text, ','); i >= 0 {
		text, in.More = text[:i], text[i:]
	}
next:
	for i := range len(text) {
		c := text[i]
		if c >= 'a' && c <= 'z' {
			in.Letters |= 1 << (c - 'a')
			continue
		}
		for _, l := range letters {
			if l.c == c {
				in.Flags |= l.f
				continue next
			}
		}
		if strings.IndexByte(in.Other, c) < 0 {
			in.Other += text[i : i+1]
		}
	}
	other := []byte(in.Other)
	slices.Sort(other)
	in.Other = string(other)
	return in
}

// String returns the info with its colon. The letters are in ASCII order, as
// the Maildir specification requires.
func (in Info) String() string {
	b := make([]byte, 0, 16)
	for _, l := range letters {
		if in.Flags&l.f != 0 {
			b = append(b, l.c)
		}
	}
	for i := range MaxLetters {
		if in.Letters&(1<<i) != 0 {
			b = append(b, byte('a'+i))
		}
	}
	if in.Other != "" {
		b = append(b, in.Other...)
		slices.Sort(b)
	}
	return ":2," + string(b) + in.More
}
