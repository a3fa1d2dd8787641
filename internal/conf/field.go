package conf

import (
	"cmp"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/zclconf/go-cty/cty"
)

type kind int

const (
	attribute kind = iota
	block
	label
	remain
)

// field is a tagged field of a Config.
type field struct {
	name     string
	goName   string
	kind     kind
	optional bool
	repeat   bool
	tag      reflect.StructTag
	value    reflect.Value
}

// fieldsOf returns the tagged fields of a struct, including those of embedded
// structs.
func fieldsOf(v reflect.Value) []*field {
	var list []*field
	t := v.Type()
	for i := range t.NumField() {
		sf := t.Field(i)
		tag, ok := sf.Tag.Lookup("hcl")
		if !ok {
			if sf.Anonymous && sf.Type.Kind() == reflect.Struct && sf.Type != reflect.TypeFor[Pos]() {
				list = append(list, fieldsOf(v.Field(i))...)
			}
			continue
		}
		words := strings.Split(tag, ",")
		f := &field{name: words[0], goName: sf.Name, tag: sf.Tag, value: v.Field(i)}
		for _, w := range words[1:] {
			switch w {
			case "optional":
				f.optional = true
			case "repeat":
				f.repeat = true
			case "block":
				f.kind = block
			case "label":
				f.kind = label
			case "remain":
				f.kind = remain
			default:
				panic(fmt.Sprintf("conf: %s.%s: unknown option %q in its tag", t, sf.Name, w))
			}
		}
		if f.name != "-" {
			list = append(list, f)
		}
	}
	return list
}

func find(fields []*field, k kind, name string) *field {
	for _, f := range fields {
		if f.kind == k && (f.name == name || k == remain) {
			return f
		}
	}
	return nil
}

// renamed returns the field that has name among its former names, or nil.
func renamed(fields []*field, name string) *field {
	for _, f := range fields {
		if slices.Contains(strings.Split(f.tag.Get("was"), "|"), name) {
			return f
		}
	}
	return nil
}

func names(fields []*field, k kind) []string {
	var list []string
	for _, f := range fields {
		if f.kind == k {
			list = append(list, f.name)
		}
	}
	return list
}

func posOf(v reflect.Value) (*Pos, bool) {
	t := v.Type()
	for i := range t.NumField() {
		if t.Field(i).Type == reflect.TypeFor[Pos]() {
			return v.Field(i).Addr().Interface().(*Pos), true
		}
	}
	return nil, false
}

// setDefaults sets each attribute to the value of its default tag, including
// the attributes of blocks that always exist.
func setDefaults(v reflect.Value) {
	for _, f := range fieldsOf(v) {
		if f.kind == block && f.value.Kind() == reflect.Struct {
			setDefaults(f.value)
		}
		text, ok := f.tag.Lookup("default")
		if f.kind != attribute || !ok {
			continue
		}
		if err := setText(f, text); err != nil {
			panic(fmt.Sprintf("conf: %s: the default of %s: %v", v.Type(), f.name, err))
		}
	}
}

// setText sets a field from the text of a tag. Lists are written "a, b".
func setText(f *field, text string) error {
	if f.value.Kind() != reflect.Slice {
		return setScalar(f, f.value, cty.StringVal(text))
	}
	var items []cty.Value
	for _, s := range listOf(text) {
		items = append(items, cty.StringVal(s))
	}
	return setValue(f, f.value, cty.TupleVal(items))
}

// newItem returns a struct into which one block of the field is decoded.
func (f *field) newItem() reflect.Value {
	t := f.value.Type()
	if t.Kind() == reflect.Struct {
		return f.value
	}
	if t = t.Elem(); t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return reflect.New(t).Elem()
}

func (f *field) addItem(item reflect.Value) {
	switch t := f.value.Type(); {
	case t.Kind() == reflect.Pointer:
		f.value.Set(item.Addr())
	case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Pointer:
		f.value.Set(reflect.Append(f.value, item.Addr()))
	case t.Kind() == reflect.Slice:
		f.value.Set(reflect.Append(f.value, item))
	}
}

// exampleText returns an example of a value, as it would be written in the
// file.
func (f *field) exampleText() string {
	t, list := f.value.Type(), f.value.Kind() == reflect.Slice
	if list {
		t = t.Elem()
	}
	items := []string{f.tag.Get("example")}
	if items[0] == "" {
		items[0] = f.tag.Get("default")
		if list {
			items = listOf(items[0])
		}
	}
	if len(items) == 0 || items[0] == "" {
		first, _, _ := strings.Cut(f.tag.Get("enum"), "|")
		items = []string{cmp.Or(first, exampleOf(t))}
	}
	for i, text := range items {
		if !plain(t) && !strings.Contains(text, `("`) {
			items[i] = strconv.Quote(text)
		}
	}
	if list {
		return "[" + strings.Join(items, ", ") + "]"
	}
	return items[0]
}

// listOf returns the items of a list written "a, b" in a tag.
func listOf(text string) []string {
	var items []string
	for s := range strings.SplitSeq(text, ",") {
		if s = strings.TrimSpace(s); s != "" {
			items = append(items, s)
		}
	}
	return items
}

// plain reports whether values of t are written without quotes.
func plain(t reflect.Type) bool {
	switch t {
	case reflect.TypeFor[time.Duration](), reflect.TypeFor[Bytes]():
		return false
	}
	switch t.Kind() {
	case reflect.Bool, reflect.Int, reflect.Int64, reflect.Int32, reflect.Float64, reflect.Uint16:
		return true
	}
	return false
}

func exampleOf(t reflect.Type) string {
	switch t {
	case reflect.TypeFor[time.Duration]():
		return "5m"
	case reflect.TypeFor[Bytes]():
		return "25MiB"
	case reflect.TypeFor[Rate]():
		return "30/1m"
	case reflect.TypeFor[netip.Prefix]():
		return "192.0.2.0/24"
	case reflect.TypeFor[netip.Addr]():
		return "192.0.2.1"
	case reflect.TypeFor[netip.AddrPort]():
		return "192.0.2.1:53"
	case reflect.TypeFor[Listen]():
		return "127.0.0.1:2525"
	case reflect.TypeFor[Secret]():
		return `env("NAME")`
	}
	switch t.Kind() {
	case reflect.Bool:
		return "true"
	case reflect.String:
		return "example.org"
	}
	return "10"
}
