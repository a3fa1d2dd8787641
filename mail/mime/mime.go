// Package mime reads the structure of messages: one bounded pass over a message
// finds the beginning and end of the header and body of each part. It also
// parses header fields, parameters, encoded words, charsets, transfer encodings
// and address lists. Start with [Walk] or [WalkBytes].
//
// A malformed message is not an error; anything malformed or above a limit is
// noted in the Tree. Every function takes linear time and bounded memory. The
// package never writes or changes a message.
package mime

import "strings"

// Limits on a walk. Parts beyond them are included in the sizes of the parts
// around them, but not parsed.
const (
	// MaxDepth is the maximum depth of nested parts; the message is at depth 1.
	MaxDepth = 50
	// MaxParts is the largest number of parts in a tree.
	MaxParts = 1000
	// MaxPartHeader is the number of octets of a part's header that are read.
	MaxPartHeader = 64 << 10
	// MaxHeader is the number of octets of the message's own header that are
	// read.
	MaxHeader = 1 << 20
	// maxTreeParams is how many parameters a tree keeps.
	maxTreeParams = 20_000
	// maxHeaders is the total amount of header text kept in a tree.
	maxHeaders = 2 << 20
	// maxBoundary is the length of the longest boundary that is recognised. RFC
	// 2046, 5.1.1 allows 70 octets; some senders use more.
	maxBoundary = 990
)

// maxTree is about the largest amount of memory that a tree needs, in octets:
// header texts, parts and parameters.
const maxTree = 12 << 20

// Memory returns how much memory the tree of a message of size octets may need.
func Memory(size int64) int64 {
	// A parameter of four octets becomes a Param.
	return min(64<<10+size*24, maxTree)
}

// Mark is a position in a message: the number of octets, line ends, and line
// ends without a CR before it.
type Mark struct {
	Off   int64 // octets as they are stored
	Lines int64 // line ends, LF or CRLF
	Bare  int64 // line ends that are a lone LF
}

// Wire returns the offset of the position with CRLF line ends.
func (m Mark) Wire() int64 { return m.Off + m.Bare }

// Span is the range between two marks.
type Span struct{ From, To Mark }

// Size returns the length as stored, in octets.
func (s Span) Size() int64 { return s.To.Off - s.From.Off }

// WireSize returns the length with CRLF line ends.
func (s Span) WireSize() int64 { return s.To.Wire() - s.From.Wire() }

// Lines returns the number of line ends.
func (s Span) Lines() int64 { return s.To.Lines - s.From.Lines }

// Notes is a set of problems found during a walk.
type Notes uint

// The problems that a walk may note.
const (
	TooDeep        Notes = 1 << iota // parts below MaxDepth were not parsed
	TooManyParts                     // parts after MaxParts were not parsed
	HeaderTooBig                     // a header exceeded its limit
	NoBoundary                       // a multipart had no usable boundary
	Unclosed                         // a multipart had no closing delimiter
	HeaderUnclosed                   // a header had no empty line after it
)

// Tree is the structure of one message.
type Tree struct {
	Root  *Part
	Parts int   // the number of parts, including Root
	Size  Span  // the whole message
	Notes Notes // problems found
}

// Part is one entity: the message, a part of a multipart, or the message inside
// a message/rfc822 part.
type Part struct {
	Parent   *Part
	Children []*Part // the parts of a multipart, or the message in a message/rfc822
	Depth    int     // 1 for the message

	Header Span // including the empty line that ends it
	Body   Span // without the line end that belongs to a following delimiter

	// For a multipart, Preamble is the start of the first delimiter line, and
	// Epilogue the start of the text after the closing delimiter; each is
	// Body.To if there is no such delimiter.
	Preamble Mark
	Epilogue Mark
	Closed   bool // the closing delimiter was seen

	Raw []byte // the header's octets as stored, within the limits above

	Type, Subtype string  // lower case; "text", "plain" if absent or malformed
	Params        []Param // of Content-Type
	Encoding      string  // lower case; "7bit" if absent
	Disposition   string  // lower case; "" if absent
	DispParams    []Param // of Content-Disposition
}

// Is reports whether the part has the media type, as in Is("text", "html").
func (p *Part) Is(typ, subtype string) bool { return p.Type == typ && p.Subtype == subtype }

// Multipart reports whether the part is a multipart whose parts were found.
func (p *Part) Multipart() bool { return p.Type == "multipart" && len(p.Children) > 0 }

// Message returns the message inside a message/rfc822 part, or nil.
func (p *Part) Message() *Part {
	if p.Type == "message" && len(p.Children) == 1 {
		return p.Children[0]
	}
	return nil
}

// IsMessage reports whether the part is a message: the root, or the content of
// a message/rfc822 part.
func (p *Part) IsMessage() bool { return p.Parent == nil || p.Parent.Message() == p }

// Charset returns the part's charset in lower case, or "us-ascii" if it
// declares none.
func (p *Part) Charset() string {
	if cs := Get(p.Params, "charset"); cs != "" {
		return strings.ToLower(cs)
	}
	return "us-ascii"
}

// Filename returns the decoded name of the part, or "". It comes from the
// sender and may contain anything, including path separators.
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

// Find returns the part with an IMAP section number (RFC 9051, 6.4.5.1), for
// example Find(1, 2) for "1.2", or nil. Find() is the message itself. A number
// below a message/rfc822 part counts the parts of the message inside it.
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
