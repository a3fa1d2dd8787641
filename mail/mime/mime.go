// Package mime parses the structure of messages. A single bounded pass over a
// message finds the start and end of the header and body of each part. The
// package also parses header fields, parameters, encoded words, charsets,
// transfer encodings and address lists. Start with [Walk] or [WalkBytes].
//
// Malformed messages do not cause errors; anything malformed or above a limit
// is noted in the Tree. Every function uses linear time and bounded memory. The
// package never writes or changes a message.
package mime

import "strings"

// Limits of a walk. Parts that exceed them are included in the sizes of the
// enclosing parts, but not parsed.
const (
	// MaxDepth is the maximum nesting depth of parts. The message itself
	// has depth 1.
	MaxDepth = 50
	// MaxParts is the maximum number of parts in a tree.
	MaxParts = 1000
	// MaxPartHeader is the maximum number of octets read from a part's
	// header.
	MaxPartHeader = 64 << 10
	// MaxHeader is the maximum number of octets read from the message's own
	// header.
	MaxHeader = 1 << 20
	// maxTreeParams is the maximum number of parameters kept in a tree.
	maxTreeParams = 20_000
	// maxHeaders is the maximum total size of the headers kept in a tree.
	maxHeaders = 2 << 20
	// maxBoundary is the maximum length of a boundary. RFC 2046, 5.1.1
	// allows 70 octets; some senders use more.
	maxBoundary = 990
)

// maxTree is the approximate maximum memory used by a tree, in octets: headers,
// parts and parameters.
const maxTree = 12 << 20

// Memory returns the maximum memory needed for the tree of a message of size
// octets.
func Memory(size int64) int64 {
	// A parameter may be as short as four octets, but each needs a Param.
	return min(64<<10+size*24, maxTree)
}

// Mark is a position in a message: the number of octets, of line endings, and
// of line endings without a CR before it.
type Mark struct {
	Off   int64 // octets as stored
	Lines int64 // line endings, LF or CRLF
	Bare  int64 // line endings that are a lone LF
}

// Wire returns the position's offset when line endings are CRLF.
func (m Mark) Wire() int64 { return m.Off + m.Bare }

// Span is the range between two Marks.
type Span struct{ From, To Mark }

// Size returns the length as stored, in octets.
func (s Span) Size() int64 { return s.To.Off - s.From.Off }

// WireSize returns the length when line endings are CRLF.
func (s Span) WireSize() int64 { return s.To.Wire() - s.From.Wire() }

// Lines returns the number of line endings.
func (s Span) Lines() int64 { return s.To.Lines - s.From.Lines }

// Notes is a set of problems found during a walk.
type Notes uint

// The problems noted during a walk.
const (
	TooDeep        Notes = 1 << iota // parts below MaxDepth were not parsed
	TooManyParts                     // parts after MaxParts were not parsed
	HeaderTooBig                     // a header exceeded its limit
	NoBoundary                       // a multipart had no usable boundary
	Unclosed                         // a multipart had no closing delimiter
	HeaderUnclosed                   // a header was not followed by an empty line
)

// Tree is the structure of one message.
type Tree struct {
	Root  *Part
	Parts int   // number of parts, including Root
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
	Body   Span // without the line ending that belongs to the next delimiter

	// For a multipart, Preamble is the start of the first delimiter line,
	// and Epilogue the start of the text after the closing delimiter. Each
	// equals Body.To if there is no such delimiter.
	Preamble Mark
	Epilogue Mark
	Closed   bool // the closing delimiter was found

	Raw []byte // the header as stored, subject to the limits above

	Type, Subtype string  // lower case; "text", "plain" if absent or malformed
	Params        []Param // of Content-Type
	Encoding      string  // lower case; "7bit" if absent
	Disposition   string  // lower case; "" if absent
	DispParams    []Param // of Content-Disposition
}

// Is reports whether the part has the given media type, as in Is("text",
// "html").
func (p *Part) Is(typ, subtype string) bool { return p.Type == typ && p.Subtype == subtype }

// Multipart reports whether the part is a multipart in which parts were found.
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

// Charset returns the part's charset in lower case. The default is "us-ascii".
func (p *Part) Charset() string {
	if cs := Get(p.Params, "charset"); cs != "" {
		return strings.ToLower(cs)
	}
	return "us-ascii"
}

// Filename returns the part's decoded file name, or "". The sender chooses it,
// so it may contain anything, including path separators.
func (p *Part) Filename() string {
	name := Get(p.DispParams, "filename")
	if name == "" {
		name = Get(p.Params, "name")
	}
	return DecodeWords(name)
}

// Field returns the unfolded value of the part's first header field with that
// name, or "".
func (p *Part) Field(name string) string {
	v, _ := Lookup(p.Raw, name)
	return v
}

// Find returns the part with the given IMAP section number (RFC 9051, 6.4.5.1),
// or nil if there is none. For example, Find(1, 2) returns part 1.2, and Find()
// the message itself. A number below a message/rfc822 part refers to the parts
// of the message in it.
func (t *Tree) Find(path ...int) *Part { return t.Root.find(path) }

// find looks up path in the message p.
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
			return nil // a message's only part has no parts below it
		}
		cur, rest = cur.child(rest[0]), rest[1:]
	}
	return cur
}

// child returns the n-th part of a multipart, counting from 1, or nil if there
// is none.
func (p *Part) child(n int) *Part {
	if n < 1 || n > len(p.Children) || !p.Multipart() {
		return nil
	}
	return p.Children[n-1]
}
