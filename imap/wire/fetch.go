package wire

import (
	"strconv"
	"strings"
)

// ItemKind is what a FETCH item asks for.
type ItemKind uint8

// The items of FETCH.
const (
	ItemFlags ItemKind = iota
	ItemUID
	ItemEnvelope
	ItemInternalDate
	ItemSize
	ItemBody          // BODY without a section
	ItemBodyStructure //
	ItemSection       // BODY[...], RFC822 and the like
	ItemBinary        // BINARY[...] (RFC 9051; RFC 3516)
	ItemBinarySize
	ItemModSeq   // RFC 7162
	ItemEmailID  // RFC 8474
	ItemThreadID //
	ItemPreview  // RFC 8970
	ItemSaveDate // RFC 8514
)

// SectionText is which text of a part a section means.
type SectionText uint8

// The texts of a part.
const (
	Whole SectionText = iota
	Header
	HeaderFields
	HeaderFieldsNot
	Text
	MIME
)

// Item is one item of a FETCH command.
type Item struct {
	Kind ItemKind
	Peek bool // does not set \Seen
	Lazy bool // PREVIEW (LAZY)

	Path    []int
	Text    SectionText
	Fields  []string // of HeaderFields and HeaderFieldsNot
	Partial bool
	Off     uint64
	Len     uint32

	// Label is the item's name in the response, as in BODY[HEADER]<0>.
	Label string
}

// Fetch is a FETCH command behind its name.
type Fetch struct {
	Set          Set
	Items        []Item
	ChangedSince uint64 // RFC 7162; 0: not given
	Vanished     bool
}

// Fetch reads "set items [modifiers]".
func (p *Parser) Fetch() Fetch {
	var f Fetch
	f.Set = p.Set()
	p.SP()
	if p.peek() == '(' {
		p.list(false, func() { f.Items = append(f.Items, p.item()) })
	} else {
		f.Items = p.macro()
	}
	if p.err == nil && p.i < len(p.b) {
		p.SP()
		p.list(false, func() { p.fetchModifier(&f) })
	}
	if f.Vanished && f.ChangedSince == 0 {
		p.fail("VANISHED needs CHANGEDSINCE")
	}
	return f
}

func (p *Parser) fetchModifier(f *Fetch) {
	switch w := p.word(); w {
	case "CHANGEDSINCE":
		p.SP()
		if f.ChangedSince = p.Number64(); f.ChangedSince == 0 {
			p.fail("CHANGEDSINCE must not be 0")
		}
	case "VANISHED":
		f.Vanished = true
	default:
		p.fail("unknown FETCH modifier %q", w)
	}
}

// macro reads ALL, FAST, FULL or a single item.
func (p *Parser) macro() []Item {
	at := p.i
	n := 0
	switch p.label() {
	case "FAST":
		n = 3
	case "ALL":
		n = 4
	case "FULL":
		n = 5
	}
	if c := p.peek(); n > 0 && (c == 0 || c == ' ') {
		return []Item{{Kind: ItemFlags}, {Kind: ItemInternalDate}, {Kind: ItemSize}, {Kind: ItemEnvelope}, {Kind: ItemBody}}[:n]
	}
	p.i = at
	return []Item{p.item()}
}

var plainItems = map[string]Item{
	"FLAGS":         {Kind: ItemFlags},
	"UID":           {Kind: ItemUID},
	"ENVELOPE":      {Kind: ItemEnvelope},
	"INTERNALDATE":  {Kind: ItemInternalDate},
	"RFC822.SIZE":   {Kind: ItemSize},
	"BODYSTRUCTURE": {Kind: ItemBodyStructure},
	"MODSEQ":        {Kind: ItemModSeq},
	"EMAILID":       {Kind: ItemEmailID},
	"THREADID":      {Kind: ItemThreadID},
	"SAVEDATE":      {Kind: ItemSaveDate},
	"RFC822":        {Kind: ItemSection, Label: "RFC822"},
	"RFC822.HEADER": {Kind: ItemSection, Text: Header, Peek: true, Label: "RFC822.HEADER"},
	"RFC822.TEXT":   {Kind: ItemSection, Text: Text, Label: "RFC822.TEXT"},
}

func (p *Parser) item() Item {
	name := p.label()
	if it, ok := plainItems[name]; ok {
		return it
	}
	switch name {
	case "BODY", "BODY.PEEK":
		if !p.take('[') {
			if name == "BODY.PEEK" {
				p.fail("BODY.PEEK needs a section")
			}
			return Item{Kind: ItemBody}
		}
		it := Item{Kind: ItemSection, Peek: name == "BODY.PEEK"}
		p.section(&it)
		p.partial(&it)
		it.label("BODY")
		return it
	case "BINARY", "BINARY.PEEK", "BINARY.SIZE":
		p.want('[')
		it := Item{Kind: ItemBinary, Peek: name != "BINARY"}
		p.path(&it)
		p.want(']')
		if name == "BINARY.SIZE" {
			it.Kind = ItemBinarySize
			it.label(name)
			return it
		}
		p.partial(&it)
		it.label("BINARY")
		return it
	case "PREVIEW":
		it := Item{Kind: ItemPreview}
		at := p.i
		if p.take(' ') && p.take('(') {
			if w := p.word(); w != "LAZY" {
				p.fail("unknown PREVIEW modifier %q", w)
			}
			p.want(')')
			it.Lazy = true
		} else if p.err == nil {
			p.i = at
		}
		return it
	}
	p.fail("unknown FETCH item %q", name+p.near())
	return Item{}
}

// path reads the numbers of a section; it reports whether a dot follows them.
func (p *Parser) path(it *Item) (dot bool) {
	for digit(p.peek()) {
		n := p.Number()
		if n == 0 || n > 1<<30 || len(it.Path) == maxPath {
			p.fail("bad section")
			return false
		}
		it.Path = append(it.Path, int(n))
		if dot = p.take('.'); !dot {
			return false
		}
	}
	return dot
}

// section reads what stands between the brackets, and the closing one.
func (p *Parser) section(it *Item) {
	if dot := p.path(it); p.peek() != ']' || dot {
		if len(it.Path) > 0 && !dot {
			p.fail("bad section")
		}
		switch w := p.label(); w {
		case "HEADER":
			it.Text = Header
		case "TEXT":
			it.Text = Text
		case "MIME":
			it.Text = MIME
			if len(it.Path) == 0 {
				p.fail("MIME needs a part number")
			}
		case "HEADER.FIELDS", "HEADER.FIELDS.NOT":
			it.Text = HeaderFields
			if w == "HEADER.FIELDS.NOT" {
				it.Text = HeaderFieldsNot
			}
			p.SP()
			p.list(false, func() { it.Fields = append(it.Fields, p.AString()) })
		default:
			p.fail("unknown section %q", w)
		}
	}
	p.want(']')
}

// partial reads "<offset.length>".
func (p *Parser) partial(it *Item) {
	if !p.take('<') {
		return
	}
	it.Partial = true
	it.Off = p.Number64()
	p.want('.')
	if it.Len = p.Number(); it.Len == 0 {
		p.fail("a partial FETCH asks for at least one octet")
	}
	p.want('>')
}

// label writes the item's name for the response.
func (it *Item) label(name string) {
	var b strings.Builder
	b.WriteString(name)
	b.WriteByte('[')
	for i, n := range it.Path {
		if i > 0 {
			b.WriteByte('.')
		}
		b.WriteString(strconv.Itoa(n))
	}
	if len(it.Path) > 0 && it.Text != Whole {
		b.WriteByte('.')
	}
	b.WriteString([...]string{"", "HEADER", "HEADER.FIELDS", "HEADER.FIELDS.NOT", "TEXT", "MIME"}[it.Text])
	for i, f := range it.Fields {
		b.WriteString([...]string{" (", " "}[min(i, 1)])
		b.Write(AppendAString(nil, f))
	}
	if len(it.Fields) > 0 {
		b.WriteByte(')')
	}
	b.WriteByte(']')
	if it.Partial {
		b.WriteByte('<')
		b.WriteString(strconv.FormatUint(it.Off, 10))
		b.WriteByte('>')
	}
	it.Label = b.String()
}

// StoreOp is what STORE does with its flags.
type StoreOp byte

// The operations of STORE.
const (
	Replace StoreOp = 0
	Add     StoreOp = '+'
	Remove  StoreOp = '-'
)

// Store is a STORE command behind its name.
type Store struct {
	Set            Set
	Op             StoreOp
	Silent         bool
	Flags          []string
	UnchangedSince uint64 // RFC 7162
	Conditional    bool   // UNCHANGEDSINCE was given; it may be 0
}

// Store reads "set [(UNCHANGEDSINCE n)] FLAGS flags".
func (p *Parser) Store() Store {
	var s Store
	s.Set = p.Set()
	p.SP()
	if p.peek() == '(' {
		p.list(false, func() {
			if w := p.word(); w != "UNCHANGEDSINCE" {
				p.fail("unknown STORE modifier %q", w)
			}
			p.SP()
			s.UnchangedSince, s.Conditional = p.Number64(), true
		})
		p.SP()
	}
	if p.take('+') {
		s.Op = Add
	} else if p.take('-') {
		s.Op = Remove
	}
	switch w := p.label(); w {
	case "FLAGS":
	case "FLAGS.SILENT":
		s.Silent = true
	default:
		p.fail("unknown STORE item %q", w)
	}
	p.SP()
	s.Flags = p.flagsOrList()
	return s
}
