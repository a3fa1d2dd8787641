// Package mime is the house's one reader of message structure: a single
// bounded pass over a message's octets that says where each part's header and
// body begin and end, and the small parsers that go with it - header fields,
// parameters, encoded words, charsets, transfer encodings, address lists.
//
// It reads whatever arrives. Nothing in a message is an error; what a limit
// cut off or what was malformed is noted in the Tree. Every function takes
// linear time and bounded memory. Nothing here writes or changes a message.
package mime

import "strings"

// The limits of a walk. What lies beyond them is still counted in the sizes of
// the parts around it, but it is not looked into.
const (
	// MaxDepth is the deepest nesting that is followed; the message is 1.
	MaxDepth = 50
	// MaxParts is the largest number of parts in a tree.
	MaxParts = 1000
	// MaxPartHeader is how much of a part's header is read, in octets.
	MaxPartHeader = 64 << 10
	// MaxHeader is how much of the message's own header is read, in octets.
	MaxHeader = 1 << 20
	// maxHeaders is how much header text a tree keeps in all.
	maxHeaders = 2 << 20
	// maxBoundary is the longest boundary that is looked for. RFC 2046, 5.1.1
	// allows 70 octets; some senders use more.
	maxBoundary = 990
)

// Mark is a place in a message: how many octets, line ends, and line ends
// without a CR lie before it.
type Mark struct {
	Off   int64 // octets as they are stored
	Lines int64 // line ends, LF or CRLF
	Bare  int64 // line ends that are a lone LF
}

// Wire is the place's offset once every line ends in CRLF.
func (m Mark) Wire() int64 { return m.Off + m.Bare }

// Span is a run of octets between two marks.
type Span struct{ From, To Mark }

// Size is the length as stored, in octets.
func (s Span) Size() int64 { return s.To.Off - s.From.Off }

// WireSize is the length once every line ends in CRLF.
func (s Span) WireSize() int64 { return s.To.Wire() - s.From.Wire() }

// Lines is the number of line ends inside.
func (s Span) Lines() int64 { return s.To.Lines - s.From.Lines }

// Notes are the things a walk found wrong or left out.
type Notes uint

// What a walk may note.
const (
	TooDeep        Notes = 1 << iota // parts below MaxDepth were not looked into
	TooManyParts                     // parts after MaxParts were not looked into
	HeaderTooBig                     // a header was longer than is read
	NoBoundary                       // a multipart named no usable boundary
	Unclosed                         // a multipart had no closing delimiter
	HeaderUnclosed                   // a header had no empty line after it
)

// Tree is the structure of one message.
type Tree struct {
	Root  *Part
	Parts int   // how many parts Root holds, itself included
	Size  Span  // the whole message
	Notes Notes // what was wrong or left out
}

// Part is one entity: the message, a part of a multipart, or the message
// inside a message/rfc822 part.
type Part struct {
	Parent   *Part
	Children []*Part // a multipart's parts; of a message/rfc822 the one message inside
	Depth    int     // 1 is the message

	Header Span // with the empty line that ends it
	Body   Span // without the line end that belongs to a following delimiter

	// Of a multipart: where the first delimiter line begins and where the
	// epilogue begins, behind the closing delimiter. Body.To when there is none.
	Preamble Mark
	Epilogue Mark
	Closed   bool // the closing delimiter was seen

	Raw []byte // the header's octets as stored, within the limits above

	Type, Subtype string  // lower case; "text", "plain" when absent or malformed
	Params        []Param // of Content-Type
	Encoding      string  // lower case; "7bit" when absent
	Disposition   string  // lower case; "" when absent
	DispParams    []Param // of Content-Disposition
}

// Is tells whether the part has the media type, as in Is("text", "html").
func (p *Part) Is(typ, subtype string) bool { return p.Type == typ && p.Subtype == subtype }

// Multipart tells whether the part is a multipart whose parts were found.
func (p *Part) Multipart() bool { return p.Type == "multipart" && len(p.Children) > 0 }

// Message returns the message inside a message/rfc822 part, or nil.
func (p *Part) Message() *Part {
	if p.Type == "message" && len(p.Children) == 1 {
		return p.Children[0]
	}
	return nil
}

// IsMessage tells whether the part is a message of its own: the root, or what
// a message/rfc822 part holds.
func (p *Part) IsMessage() bool { return p.Parent == nil || p.Parent.Message() == p }

// Charset returns the part's charset in lower case, "us-ascii" when it names none.
func (p *Part) Charset() string {
	if cs := Get(p.Params, "charset"); cs != "" {
		return strings.ToLower(cs)
	}
	return "us-ascii"
}

// Filename returns the name a sender gave to the part, decoded, or "".
// It comes from the sender and may hold anything, path separators included.
func (p *Part) Filename() string {
	name := Get(p.DispParams, "filename")
	if name == "" {
		name = Get(p.Params, "name")
	}
	return DecodeWords(name)
}

// Field returns the unfolded value of the part's first header field of that
// name, or "".
func (p *Part) Field(name string) string {
	v, _ := Lookup(p.Raw, name)
	return v
}

// Find returns the part with an IMAP section number (RFC 9051, 6.4.5.1), as in
// Find(1, 2) for "1.2", or nil. Find() is the message itself. A number below a
// message/rfc822 part counts the parts of the message inside it.
func (t *Tree) Find(path ...int) *Part { return t.Root.find(path) }

// find looks for path in the message p.
func (p *Part) find(path []int) *Part {
	if len(path) == 0 {
		return p
	}
	cur, rest := p, path[1:]
	if p.Multipart() {
		cur = p.child(path[0])
	} else if path[0] != 1 {
		return nil
	}
	for len(rest) > 0 && cur != nil {
		if m := cur.Message(); m != nil {
			return m.find(rest)
		}
		if cur == p {
			return nil // the only part of a message has no parts below it
		}
		cur, rest = cur.child(rest[0]), rest[1:]
	}
	return cur
}

// child returns the n-th part of a multipart, counted from 1, or nil.
func (p *Part) child(n int) *Part {
	if n < 1 || n > len(p.Children) || !p.Multipart() {
		return nil
	}
	return p.Children[n-1]
}
