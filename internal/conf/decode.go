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
	"github.com/zclconf/go-cty/cty"

	"hoplite/mail/safe"
)

// Pos is embedded in a Config and holds the position of its block in the file.
type Pos struct {
	block Range
	attrs map[string]Range
}

// Range returns the range of the block's header, or the start of the file for
// the zero Pos.
func (p *Pos) Range() Range { return p.block }

// Attr returns the range of an attribute, or Range if the file does not set it.
func (p *Pos) Attr(name string) Range {
	if r, ok := p.attrs[name]; ok {
		return r
	}
	return p.block
}

// Element returns the range of the i-th element of a list, or Attr.
func (p *Pos) Element(name string, i int) Range {
	if r, ok := p.attrs[elementOf(name, i)]; ok {
		return r
	}
	return p.Attr(name)
}

func elementOf(name string, i int) string { return fmt.Sprintf("%s[%d]", name, i) }

// IsSet reports whether the file sets an attribute.
func (p *Pos) IsSet(name string) bool {
	_, ok := p.attrs[name]
	return ok
}

// Body is the part of a block that its struct does not define. The package that
// owns the contents decodes it later.
type Body struct {
	d     decoder
	body  *hclsyntax.Body
	where place
	taken []*field
}

// Decode decodes the body into the struct that into points to, and reports
// whether it is free of mistakes.
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

// Report adds a mistake found after the block was decoded. An error created by
// Field or At is reported at its own position, any other error at the block's
// header. The errors in an errors.Join are reported separately. A nil err is
// ignored.
func (b Body) Report(err error) {
	if err != nil && b.body != nil {
		b.d.report(b.body, b.where, err)
	}
}

// Warn adds a warning at the header of a block after it was decoded.
func (b Body) Warn(summary, detail string) {
	if b.body != nil {
		b.d.diags.Warn(b.where.at, summary, detail)
	}
}

// Written returns the attributes that the file sets in the block, in file
// order, one string each, for example max = "25MiB". Passwords are hidden.
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

// Inner is a block within the body.
type Inner struct {
	// Title is the block's header, for example limit "address".
	Title string
	Body
}

// Inner returns the blocks within the block, in the order of the file.
func (b Body) Inner() []Inner {
	if b.body == nil {
		return nil
	}
	var list []Inner
	for _, x := range b.body.Blocks {
		title := x.Type
		for _, l := range x.Labels {
			title += fmt.Sprintf(" %q", safe.Line(l))
		}
		list = append(list, Inner{title, Body{d: b.d, body: x.Body}})
	}
	return list
}

// place holds the name of a block in error messages, and its position.
type place struct {
	name string
	at   Range
}

type decoder struct {
	diags *Diagnostics
	dir   string
}

// body decodes the body of one block. taken lists the fields that an outer
// struct has already read from it.
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
		d.unknown(b, where, known)
	}
	for _, f := range fields {
		switch f.kind {
		case attribute:
			d.attribute(b, where, f)
		case block:
			d.blocks(b, f)
		}
	}
	switch {
	case d.diags.Mistakes() > before:
		d.checkSet(b, where, v)
	default:
		d.check(b, where, v)
	}
}

// unknown reports the attributes and blocks that match no field.
func (d decoder) unknown(b *hclsyntax.Body, where place, known []*field) {
	for name, a := range b.Attributes {
		if find(known, attribute, name) != nil {
			continue
		}
		detail := didYouMean(name, names(known, attribute))
		if f := renamed(known, name); f != nil {
			detail = fmt.Sprintf("Did you mean %q, the new name of %q?", f.name, name)
		} else if find(known, block, name) != nil {
			detail = fmt.Sprintf("%s is a block: write %s { ... } without an equals sign.", name, name)
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
			d.diags.Add(where.at, fmt.Sprintf("%s lacks %s", where.name, f.name), "For example: "+f.name+" = "+f.exampleText()+".")
		}
		return
	}
	// A list is read element by element, so that each mistake is reported at
	// its own position.
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

// value evaluates an expression and stores the value in v, or reports a
// mistake.
func (d decoder) value(f *field, v reflect.Value, expr hcl.Expression) {
	if word := hcl.ExprAsKeyword(expr); word != "" && word != "true" && word != "false" && word != "null" {
		d.diags.Add(expr.Range(), fmt.Sprintf("%s: %s must be in quotes", f.name, word), fmt.Sprintf("Write %q.", word))
		return
	}
	value, diags := expr.Value(d.functions())
	if diags.HasErrors() {
		// The first error is the cause of the others.
		d.diags.Add(expr.Range(), f.name+": "+valueProblem(diags[0]), valueHint(f))
		return
	}
	if err := setValue(f, v, value); err != nil {
		d.diags.Add(expr.Range(), f.name+": "+err.Error(), valueHint(f))
		return
	}
	if b, ok := v.Interface().(Bytes); ok && b > 0 && b < 1000 && value.Type() == cty.Number {
		d.diags.Warn(expr.Range(), fmt.Sprintf("%s: %d without a unit is a number of octets", f.name, b),
			fmt.Sprintf("Write \"%dMiB\", or \"%dB\" if octets are meant.", b, b))
	}
}

// valueProblem describes the problem with an expression in plain language.
func valueProblem(h *hcl.Diagnostic) string {
	if h.Summary == "Error in function call" {
		if _, cause, ok := strings.Cut(h.Detail, ": "); ok {
			return strings.TrimSuffix(cause, ".")
		}
	}
	if h.Summary == "Variables not allowed" {
		return "not a value; strings must be in quotes"
	}
	return strings.TrimSuffix(h.Detail, ".")
}

func valueHint(f *field) string {
	return "For example: " + f.name + " = " + f.exampleText() + "."
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
				fmt.Sprintf("The first is on line %d; only one is allowed.", first.DefRange().Start.Line))
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

// nameOf returns the header of a block, for example smtp "inbound".
func nameOf(b *hclsyntax.Block) string {
	name := b.Type
	for _, l := range b.Labels {
		name += fmt.Sprintf(" %q", l)
	}
	return name
}

// labels sets the labels of a block and reports duplicates.
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
			fmt.Sprintf("The first is on line %d; each needs a name of its own.", before.Start.Line))
	}
	seen[key] = b.DefRange()
	return true
}

// check runs the Check method of the struct, if it has one.
func (d decoder) check(b *hclsyntax.Body, where place, v reflect.Value) {
	c, ok := v.Addr().Interface().(Checker)
	if !ok {
		return
	}
	if err := c.Check(); err != nil {
		d.report(b, where, err)
	}
}

// checkSet is like check, but for a block with other mistakes. Errors about
// attributes that are set and have no mistake yet are still valid, so only
// those are reported.
func (d decoder) checkSet(b *hclsyntax.Body, where place, v reflect.Value) {
	c, ok := v.Addr().Interface().(Checker)
	if !ok {
		return
	}
	wrong := map[int]bool{}
	for _, one := range d.diags.list {
		wrong[one.Where.Start.Line] = wrong[one.Where.Start.Line] || !one.Warning
	}
	for _, err := range split(c.Check()) {
		var fe *FieldError
		if !errors.As(err, &fe) {
			continue
		}
		if a, ok := b.Attributes[fe.Name]; ok && !wrong[a.SrcRange.Start.Line] {
			d.report(b, where, err)
		}
	}
}

// split returns the errors combined by errors.Join, or err itself.
func split(err error) (list []error) {
	if err == nil {
		return nil
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []error{err}
	}
	for _, one := range joined.Unwrap() {
		list = append(list, split(one)...)
	}
	return list
}

// report adds an error at its position, or each error in it if it was created
// by errors.Join.
func (d decoder) report(b *hclsyntax.Body, where place, err error) {
	if list := split(err); len(list) != 1 || list[0] != err {
		for _, one := range list {
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
