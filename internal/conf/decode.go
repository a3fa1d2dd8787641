package conf

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"hoplite/mail/safe"
)

// Pos is embedded in a Config to remember where its block stands.
type Pos struct {
	block Range
	attrs map[string]Range
}

// Range is the head of the block, or the start of the file.
func (p *Pos) Range() Range { return p.block }

// Attr is where an attribute stands, or Range when the file does not set it.
func (p *Pos) Attr(name string) Range {
	if r, ok := p.attrs[name]; ok {
		return r
	}
	return p.block
}

// Element is where the i-th element of a list stands, or Attr.
func (p *Pos) Element(name string, i int) Range {
	if r, ok := p.attrs[elementOf(name, i)]; ok {
		return r
	}
	return p.Attr(name)
}

func elementOf(name string, i int) string { return fmt.Sprintf("%s[%d]", name, i) }

// IsSet tells whether the file sets an attribute.
func (p *Pos) IsSet(name string) bool {
	_, ok := p.attrs[name]
	return ok
}

// Body is the part of a block that its struct does not name. It is decoded
// later, by the one who knows what belongs there.
type Body struct {
	d     decoder
	body  *hclsyntax.Body
	where place
	taken []*field
}

// Decode fills into from the body, and reports whether it found no mistake.
func (b Body) Decode(into any) bool {
	v := structOf(into)
	if b.body == nil {
		setDefaults(v)
		return true
	}
	before := b.d.diags.Mistakes()
	b.d.body(b.body, b.where, b.taken, v)
	return b.d.diags.Mistakes() == before
}

// Report notes what was found wrong with a block after it was decoded: an error
// of Field or At at its place, others at the head of the block, each error of
// an errors.Join on its own. A nil err is nothing.
func (b Body) Report(err error) {
	if err != nil && b.body != nil {
		b.d.report(b.body, b.where, err)
	}
}

// Warn notes at the head of a decoded block something that works but is probably
// not meant.
func (b Body) Warn(summary, detail string) {
	if b.body != nil {
		b.d.diags.Warn(b.where.at, summary, detail)
	}
}

// Written is what the file says in the block, attribute by attribute in the
// order of the file and on one line each, passwords hidden: max = "25MiB".
func (b Body) Written() []string {
	if b.body == nil {
		return nil
	}
	attrs := slices.SortedFunc(maps.Values(b.body.Attributes), func(x, y *hclsyntax.Attribute) int {
		return x.SrcRange.Start.Byte - y.SrcRange.Start.Byte
	})
	var out []string
	for _, a := range attrs {
		text := b.d.diags.text(a.Expr.Range())
		line := a.Name + " = " + strings.Join(strings.Fields(text), " ")
		out = append(out, safe.Line(secretValue.ReplaceAllString(line, `$1"***"`)))
	}
	return out
}

// place is a block as error messages call it.
type place struct {
	name string
	at   Range
}

type decoder struct {
	diags *Diagnostics
	dir   string
}

// body decodes one block body. Taken are the fields that an outer struct has
// already read from it.
func (d decoder) body(b *hclsyntax.Body, where place, taken []*field, v reflect.Value) {
	before := d.diags.Mistakes()
	fields := fieldsOf(v)
	setDefaults(v)
	if p, ok := posOf(v); ok {
		p.block, p.attrs = where.at, map[string]Range{}
		for name, a := range b.Attributes {
			p.attrs[name] = a.SrcRange
			items, _ := hcl.ExprList(a.Expr)
			for i, item := range items {
				p.attrs[elementOf(name, i)] = item.Range()
			}
		}
	}
	known := append(append([]*field(nil), taken...), fields...)
	if rest := find(fields, remain, ""); rest != nil {
		rest.value.Set(reflect.ValueOf(Body{d, b, where, known}))
	} else {
		d.strangers(b, where, known)
	}
	for _, f := range fields {
		switch f.kind {
		case attribute:
			d.attribute(b, where, f)
		case block:
			d.blocks(b, f)
		}
	}
	if d.diags.Mistakes() == before {
		d.check(b, where, v)
	}
}

// strangers reports the attributes and blocks that nobody knows.
func (d decoder) strangers(b *hclsyntax.Body, where place, known []*field) {
	for name, a := range b.Attributes {
		if find(known, attribute, name) != nil {
			continue
		}
		detail := didYouMean(name, names(known, attribute))
		if f := renamed(known, name); f != nil {
			detail = fmt.Sprintf("Did you mean %q, the new name of %q?", f.name, name)
		} else if find(known, block, name) != nil {
			detail = fmt.Sprintf("%s is a block: write %s { ... } without =.", name, name)
		}
		d.diags.Add(a.NameRange, fmt.Sprintf("%s has no attribute %q", where.name, name), detail)
	}
	for _, inner := range b.Blocks {
		if find(known, block, inner.Type) != nil {
			continue
		}
		detail := didYouMean(inner.Type, names(known, block))
		if f := renamed(known, inner.Type); f != nil {
			detail = fmt.Sprintf("Did you mean %q, the new name of %q?", f.name, inner.Type)
		} else if find(known, attribute, inner.Type) != nil {
			detail = fmt.Sprintf("%s is an attribute: write %s = ...", inner.Type, inner.Type)
		}
		d.diags.Add(inner.TypeRange, fmt.Sprintf("%s has no block %q", where.name, inner.Type), detail)
	}
}

func (d decoder) attribute(b *hclsyntax.Body, where place, f *field) {
	a, ok := b.Attributes[f.name]
	if !ok {
		if !f.optional {
			d.diags.Add(where.at, fmt.Sprintf("%s lacks %s", where.name, f.name), "Write "+f.name+" = "+f.exampleText()+".")
		}
		return
	}
	// A list is judged element by element, each at its own place.
	if items, diags := hcl.ExprList(a.Expr); !diags.HasErrors() && f.value.Kind() == reflect.Slice {
		list := reflect.MakeSlice(f.value.Type(), len(items), len(items))
		for i, item := range items {
			d.value(f, list.Index(i), item)
		}
		f.value.Set(list)
		return
	}
	d.value(f, f.value, a.Expr)
}

// value stores what an expression gives in v, or reports why it can't.
func (d decoder) value(f *field, v reflect.Value, expr hcl.Expression) {
	if word := hcl.ExprAsKeyword(expr); word != "" && word != "true" && word != "false" && word != "null" {
		d.diags.Add(expr.Range(), fmt.Sprintf("%s: %s lacks its quotes", f.name, word), fmt.Sprintf("Write %q.", word))
		return
	}
	value, diags := expr.Value(d.functions())
	if diags.HasErrors() {
		// The first error is the cause; hcl adds others about its value.
		d.diags.Add(expr.Range(), f.name+": "+valueProblem(diags[0]), valueHint(f))
		return
	}
	if err := setValue(f, v, value); err != nil {
		d.diags.Add(expr.Range(), f.name+": "+err.Error(), valueHint(f))
	}
}

// valueProblem is what went wrong in an expression, in our words.
func valueProblem(h *hcl.Diagnostic) string {
	if h.Summary == "Error in function call" {
		if _, cause, ok := strings.Cut(h.Detail, ": "); ok {
			return strings.TrimSuffix(cause, ".")
		}
	}
	if h.Summary == "Variables not allowed" {
		return "this is no value; texts stand in quotes"
	}
	return strings.TrimSuffix(h.Detail, ".")
}

func valueHint(f *field) string {
	return "Write, for instance, " + f.name + " = " + f.exampleText() + "."
}

func (d decoder) blocks(b *hclsyntax.Body, f *field) {
	var first *hclsyntax.Block
	seen := map[string]Range{}
	for _, inner := range b.Blocks {
		if inner.Type != f.name {
			continue
		}
		if first != nil && f.value.Kind() != reflect.Slice {
			d.diags.Add(inner.DefRange(), fmt.Sprintf("a second %s block", f.name),
				fmt.Sprintf("The first stands in line %d; only one is allowed.", first.DefRange().Start.Line))
			continue
		}
		first = inner
		item := f.newItem()
		if d.labels(inner, item, seen) {
			d.body(inner.Body, place{nameOf(inner), inner.DefRange()}, nil, item)
		}
		f.addItem(item)
	}
	if first == nil && !f.optional && f.value.Kind() == reflect.Struct {
		setDefaults(f.value)
	}
}

// nameOf is a block as messages call it: smtp "inbound".
func nameOf(b *hclsyntax.Block) string {
	name := b.Type
	for _, l := range b.Labels {
		name += fmt.Sprintf(" %q", l)
	}
	return name
}

// labels fills in the labels of a block, and reports doubled ones.
func (d decoder) labels(b *hclsyntax.Block, v reflect.Value, seen map[string]Range) bool {
	var want []*field
	for _, f := range fieldsOf(v) {
		if f.kind == label {
			want = append(want, f)
		}
	}
	for i, f := range want {
		if i < len(b.Labels) {
			f.value.SetString(b.Labels[i])
		} else if !f.optional {
			d.diags.Add(b.DefRange(), fmt.Sprintf("%s needs a %s", b.Type, f.name),
				fmt.Sprintf("Write %s \"%s\" { ... }.", b.Type, strings.Trim(f.exampleText(), `"`)))
			return false
		}
	}
	if len(b.Labels) > len(want) {
		d.diags.Add(b.LabelRanges[len(want)], fmt.Sprintf("%s has too many labels", b.Type), "")
		return false
	}
	key := strings.Join(b.Labels, "\x00")
	repeat := len(want) > 0 && want[len(want)-1].repeat
	if before, ok := seen[key]; ok && len(want) > 0 && !repeat {
		d.diags.Add(b.DefRange(), fmt.Sprintf("a second %s", nameOf(b)),
			fmt.Sprintf("The first stands in line %d; each needs a name of its own.", before.Start.Line))
	}
	seen[key] = b.DefRange()
	return true
}

// check runs the struct's own rules.
func (d decoder) check(b *hclsyntax.Body, where place, v reflect.Value) {
	c, ok := v.Addr().Interface().(Checker)
	if !ok {
		return
	}
	if err := c.Check(); err != nil {
		d.report(b, where, err)
	}
}

// report notes an error, or all that it joins, each at its place.
func (d decoder) report(b *hclsyntax.Body, where place, err error) {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, one := range joined.Unwrap() {
			d.report(b, where, one)
		}
		return
	}
	at := where.at
	var fe *FieldError
	if errors.As(err, &fe) {
		if a, ok := b.Attributes[fe.Name]; ok {
			at = a.SrcRange
		}
	}
	var pe *PlaceError
	if errors.As(err, &pe) && pe.Where.Filename != "" {
		at = pe.Where
	}
	summary, detail, _ := strings.Cut(err.Error(), ": ")
	if fe != nil && summary == fe.Name {
		summary, detail, _ = strings.Cut(fe.Err.Error(), ": ")
		summary = fe.Name + ": " + summary
	}
	d.diags.Add(at, summary, detail)
}
