package wire

import (
	"strconv"
	"strings"
)

// ItemKind is the kind of a FETCH item.
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
	ItemSection       // BODY[...] and RFC822 forms
	ItemBinary        // BINARY[...] (RFC 9051; RFC 3516)
	ItemBinarySize
	ItemModSeq   // RFC 7162
	ItemEmailID  // RFC 8474
	ItemThreadID //
	ItemPreview  // RFC 8970
	ItemSaveDate // RFC 8514

	ItemKinds // the number of kinds
)

// SectionText selects the text of a part in a section.
type SectionText uint8

// The section texts.
const (
	Whole SectionText = iota
	Header
	HeaderFields
	HeaderFieldsNot
	Text
	MIME
)

// Item is one item of a FETCH.
type Item struct {
	Kind ItemKind
	// Label is the item's name in the response, for example BODY[HEADER]<0>.
	Label string
	Peek  bool // do not set \Seen
	Lazy  bool // PREVIEW (LAZY)

	Path    []int
	Text    SectionText
	Fields  []string // of HeaderFields and HeaderFieldsNot
	Partial bool
	Off     uint64
	Len     uint32
}

// Cut returns the span that the item requests in a text of the given size.
func (it *Item) Cut(size int64) (off, n int64) {
	if !it.Partial {
		return 0, size
	}
	off = int64(min(it.Off, uint64(size)))
	return off, min(size-off, int64(it.Len))
}

// Fetch holds the arguments of FETCH.
type Fetch struct {
	Set          Set
	Items        []Item
	ChangedSince uint64 // RFC 7162; 0 if absent
	Vanished     bool
	Partial      Page // RFC 9394
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
		p.need(Condstore, w)
		p.SP()
		if f.ChangedSince = p.Number64(); f.ChangedSince == 0 {
			p.fail("CHANGEDSINCE must not be 0")
		}
	case "VANISHED":
		p.need(QResync, w)
		f.Vanished = true
	case "PARTIAL":
		p.need(Partial, w)
		p.SP()
		f.Partial = page(p)
	default:
		p.fail("Unknown FETCH modifier %q", w)
	}
}

// macros maps each macro to its items (RFC 9051, 6.4.5).
var macros = map[string][]ItemKind{
	"FAST": {ItemFlags, ItemInternalDate, ItemSize},
	"ALL":  {ItemFlags, ItemInternalDate, ItemSize, ItemEnvelope},
	"FULL": {ItemFlags, ItemInternalDate, ItemSize, ItemEnvelope, ItemBody},
}

// macro reads a macro or a single item.
func (p *Parser) macro() []Item {
	start := p.i
	kinds, ok := macros[p.label()]
	if c := p.peek(); ok && (c == 0 || c == ' ') {
		items := make([]Item, 0, len(kinds))
		for _, k := range kinds {
			items = append(items, ItemOf(k))
		}
		return items
	}
	p.i = start
	return []Item{p.item()}
}

// plainItems holds the items without arguments.
var plainItems = map[string]Item{
	"FLAGS":         {Kind: ItemFlags},
	"UID":           {Kind: ItemUID},
	"ENVELOPE":      {Kind: ItemEnvelope},
	"INTERNALDATE":  {Kind: ItemInternalDate},
	"RFC822.SIZE":   {Kind: ItemSize},
	"BODY":          {Kind: ItemBody},
	"BODYSTRUCTURE": {Kind: ItemBodyStructure},
	"MODSEQ":        {Kind: ItemModSeq},
	"EMAILID":       {Kind: ItemEmailID},
	"THREADID":      {Kind: ItemThreadID},
	"SAVEDATE":      {Kind: ItemSaveDate},
	"PREVIEW":       {Kind: ItemPreview},
	"RFC822":        {Kind: ItemSection},
	"RFC822.HEADER": {Kind: ItemSection, Text: Header, Peek: true},
	"RFC822.TEXT":   {Kind: ItemSection, Text: Text},
}

// itemsOfKind holds the plain items by kind, with their labels.
var itemsOfKind = func() (t [ItemKinds]Item) {
	for name, it := range plainItems {
		it.Label = name
		plainItems[name] = it
		if it.Kind != ItemSection {
			t[it.Kind] = it
		}
	}
	return t
}()

// ItemOf returns the item of the given kind without arguments.
func ItemOf(k ItemKind) Item { return itemsOfKind[k] }

// item reads one item.
func (p *Parser) item() Item {
	name := p.label()
	if it, ok := plainItems[name]; ok && p.peek() != '[' {
		if it.Kind == ItemPreview {
			it.Lazy = p.lazy()
		}
		return it
	}
	switch name {
	case "BODY", "BODY.PEEK":
		p.want('[')
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
	}
	p.fail("Unknown FETCH item %q", name+p.near())
	return Item{}
}

// lazy reads the PREVIEW modifier, if any (RFC 8970, 3.1).
func (p *Parser) lazy() bool {
	start := p.i
	if !p.take(' ') || !p.take('(') {
		p.i = start
		return false
	}
	if w := p.word(); w != "LAZY" {
		p.fail("Unknown PREVIEW modifier %q", w)
	}
	p.want(')')
	return true
}

// path reads the part numbers of a section and reports whether a dot follows.
func (p *Parser) path(it *Item) (dot bool) {
	for digit(p.peek()) {
		n := p.Number()
		if n == 0 || n > 1<<30 || len(it.Path) == maxPath {
			p.fail("Invalid section")
			return false
		}
		it.Path = append(it.Path, int(n))
		if dot = p.take('.'); !dot {
			return false
		}
	}
	return dot
}

// section reads the section text and the closing bracket.
func (p *Parser) section(it *Item) {
	if dot := p.path(it); p.peek() != ']' || dot {
		if len(it.Path) > 0 && !dot {
			p.fail("Invalid section")
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
			p.fail("Unknown section %q", w)
		}
	}
	p.want(']')
}

// Section parses the text between the brackets of BODY[...].
func Section(text string) (Item, error) {
	p := NewParser([]byte(text+"]"), AllForms)
	it := Item{Kind: ItemSection, Peek: true}
	p.section(&it)
	it.label("BODY")
	return it, p.End()
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
		p.fail("A partial FETCH needs a length of at least 1")
	}
	p.want('>')
}

// label sets the label of an item with a section.
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

// StoreOp is the operation of a STORE.
type StoreOp byte

// The operations of STORE.
const (
	Replace StoreOp = 0
	Add     StoreOp = '+'
	Remove  StoreOp = '-'
)

// Store holds the arguments of STORE.
type Store struct {
	Set            Set
	Op             StoreOp
	Silent         bool
	Flags          []string
	UnchangedSince uint64 // RFC 7162
	Conditional    bool   // UNCHANGEDSINCE was given; its value may be 0
}

// Store reads "set [(UNCHANGEDSINCE n)] FLAGS flags".
func (p *Parser) Store() Store {
	var s Store
	s.Set = p.Set()
	p.SP()
	if p.peek() == '(' {
		p.list(false, func() {
			if w := p.word(); w != "UNCHANGEDSINCE" {
				p.fail("Unknown STORE modifier %q", w)
			}
			p.need(Condstore, "UNCHANGEDSINCE")
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
		p.fail("Unknown STORE item %q", w)
	}
	p.SP()
	s.Flags = p.flagsOrList()
	return s
}
