package conf

import (
	"net/netip"
	"reflect"
	"strings"
	"time"
)

// FieldInfo describes a label, attribute or block of a Config for documentation.
type FieldInfo struct {
	// Name is its name in the file; GoName is the name of the struct's field.
	Name, GoName string
	// Block is the type of the struct that a block is decoded into, or nil if
	// the field is not a block.
	Block reflect.Type
	// Label is set if the field is a label of the block.
	Label bool
	// Type describes an attribute's values, for example "list of strings".
	Type string
	// Enum lists the allowed values of an attribute, if they are limited.
	Enum []string
	// Default is the value of an absent attribute, as written in the file. It
	// is empty if there is none.
	Default string
	// Example is a value as written in the file; HasExample is set if it comes
	// from the Config's example tag.
	Example    string
	HasExample bool
	// Required is set if the attribute must be present.
	Required bool
	// List is set if the attribute is a list.
	List bool
}

// Fields describes the fields of a Config type in order.
func Fields(t reflect.Type) []FieldInfo {
	var list []FieldInfo
	for _, f := range fieldsOf(reflect.New(t).Elem()) {
		d := FieldInfo{Name: f.name, GoName: f.goName, Label: f.kind == label}
		switch f.kind {
		case block:
			d.Block = f.newItem().Type()
		case attribute:
			d.describe(f)
		case remain:
			continue
		}
		list = append(list, d)
	}
	return list
}

func (d *FieldInfo) describe(f *field) {
	t := f.value.Type()
	d.Type, d.Example, d.Required, d.List = kindName(t), f.exampleText(), !f.optional, t.Kind() == reflect.Slice
	d.HasExample = f.tag.Get("example") != ""
	if enum := f.tag.Get("enum"); enum != "" {
		d.Enum = strings.Split(strings.TrimSuffix(enum, "|"), "|")
	}
	text, ok := f.tag.Lookup("default")
	switch {
	case ok && d.List:
		words := listOf(text)
		for i, w := range words {
			words[i] = `"` + w + `"`
		}
		d.Default = "[" + strings.Join(words, ", ") + "]"
	case ok && !plain(t):
		d.Default = `"` + text + `"`
	case ok:
		d.Default = text
	case d.Required || d.HasExample:
	case t.Kind() == reflect.Bool:
		d.Default = "false"
	case t.Kind() == reflect.Int:
		d.Default = "0"
	}
}

// kindName returns the name of type t in error messages and documentation.
func kindName(t reflect.Type) string {
	switch t {
	case reflect.TypeFor[time.Duration]():
		return "duration"
	case reflect.TypeFor[Bytes]():
		return "size"
	case reflect.TypeFor[Rate]():
		return "rate"
	case reflect.TypeFor[netip.Prefix]():
		return "network"
	case reflect.TypeFor[netip.Addr]():
		return "IP address"
	case reflect.TypeFor[netip.AddrPort]():
		return "IP address with port"
	case reflect.TypeFor[Listen]():
		return "listen address"
	case reflect.TypeFor[Secret]():
		return "secret"
	}
	switch t.Kind() {
	case reflect.Slice:
		return "list of " + plural(kindName(t.Elem()))
	case reflect.Map:
		return "map of " + plural(kindName(t.Elem()))
	case reflect.Pointer:
		return kindName(t.Elem())
	case reflect.Bool:
		return "boolean"
	case reflect.String:
		return "string"
	case reflect.Float64:
		return "number"
	case reflect.Int, reflect.Int32, reflect.Int64, reflect.Uint16:
		return "integer"
	}
	return "value"
}

func plural(noun string) string {
	switch {
	case strings.HasPrefix(noun, "list of "):
		return "lists of " + strings.TrimPrefix(noun, "list of ")
	case strings.HasSuffix(noun, "address"):
		return noun + "es"
	case strings.HasSuffix(noun, " with port"):
		return plural(strings.TrimSuffix(noun, " with port")) + " with ports"
	}
	return noun + "s"
}
