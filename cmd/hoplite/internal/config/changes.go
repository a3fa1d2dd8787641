package config

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"hoplite/internal/conf"
)

// Changes returns the differences between two configurations, one line per
// block or attribute, and the changes that take effect only after a restart.
func Changes(old, now *Config) (changed, restart []string) {
	changed = []string{} // an empty list in JSON
	a, b := reflect.ValueOf(old).Elem(), reflect.ValueOf(now).Elem()
	for f := range attributes(a.Type()) {
		changed = append(changed, compare(f, a.FieldByIndex(f.index), b.FieldByIndex(f.index))...)
	}
	need := func(what string, differs bool) {
		if differs {
			restart = append(restart, what)
		}
	}
	need("log", differs(old.Log, now.Log))
	need("history", differs(old.History, now.History))
	need("queue: inline", old.Queue.Inline != now.Queue.Inline)
	need("sandbox", old.Sandbox != now.Sandbox)
	if old.Sandbox && now.Sandbox {
		allowed := old.WritableFolders()
		for _, dir := range now.WritableFolders() {
			outside := !slices.ContainsFunc(allowed, func(in string) bool { return dir == in || strings.HasPrefix(dir, strings.TrimSuffix(in, "/")+"/") })
			need("the sandbox, to write to "+dir, outside)
		}
	}
	return changed, restart
}

// attribute is a field of a block that the file may set.
type attribute struct {
	name  string // as in the file
	index []int
}

// attributes returns the attributes and blocks of a struct, including those of
// embedded structs.
func attributes(t reflect.Type) func(func(attribute) bool) {
	return func(yield func(attribute) bool) {
		for _, f := range reflect.VisibleFields(t) {
			tag, ok := f.Tag.Lookup("hcl")
			if !ok || f.Anonymous {
				continue
			}
			name, kind, _ := strings.Cut(tag, ",")
			if strings.HasPrefix(kind, "label") {
				continue
			}
			if !yield(attribute{name, f.Index}) {
				return
			}
		}
	}
}

// compare returns the differences in one attribute or kind of block.
func compare(f attribute, a, b reflect.Value) (lines []string) {
	switch {
	case a.Kind() == reflect.Slice && isBlock(a.Type().Elem()):
		return compareBlocks(f.name, a, b)
	case a.Kind() == reflect.Pointer && isBlock(a.Type()):
		if line := compareBlock(f.name, a, b); line != "" {
			lines = append(lines, line)
		}
	case text(a) != text(b):
		lines = append(lines, f.name+" changed")
	}
	return lines
}

// isBlock reports whether values of a type are blocks.
func isBlock(t reflect.Type) bool {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct {
		return false
	}
	for range attributes(t) {
		return true
	}
	return false
}

// compareBlocks compares blocks by their names.
func compareBlocks(kind string, a, b reflect.Value) (lines []string) {
	before, after := byName(a), byName(b)
	for _, name := range before.names {
		line := compareBlock(title(kind, name), before.blocks[name], after.blocks[name])
		if line != "" {
			lines = append(lines, line)
		}
	}
	for _, name := range after.names {
		if !before.blocks[name].IsValid() {
			lines = append(lines, title(kind, name)+" added")
		}
	}
	return lines
}

// named holds blocks by name, in file order.
type named struct {
	names  []string
	blocks map[string]reflect.Value
}

func byName(list reflect.Value) named {
	n := named{blocks: map[string]reflect.Value{}}
	for i := range list.Len() {
		v := reflect.Indirect(list.Index(i))
		name := v.FieldByName("Name").String()
		n.names = append(n.names, name)
		n.blocks[name] = v
	}
	return n
}

func title(kind, name string) string {
	if name == "" {
		return kind
	}
	return fmt.Sprintf("%s %q", kind, name)
}

// compareBlock returns a line describing the change to one block, or "" if
// nothing has changed. A missing block is nil or invalid.
func compareBlock(title string, a, b reflect.Value) string {
	a, b = block(a), block(b)
	switch {
	case !a.IsValid() && !b.IsValid():
		return ""
	case !a.IsValid():
		return title + " added"
	case !b.IsValid():
		return title + " removed"
	}
	var names []string
	for f := range attributes(a.Type()) {
		if text(a.FieldByIndex(f.index)) != text(b.FieldByIndex(f.index)) {
			names = append(names, f.name)
		}
	}
	if names == nil {
		return ""
	}
	return title + " changed: " + strings.Join(names, ", ")
}

func block(v reflect.Value) reflect.Value {
	if v.IsValid() && v.Kind() == reflect.Pointer {
		return v.Elem() // invalid for nil
	}
	return v
}

func differs(a, b any) bool { return text(reflect.ValueOf(a)) != text(reflect.ValueOf(b)) }

// text returns everything that the file specifies in a value, without
// positions.
func text(v reflect.Value) string {
	var b strings.Builder
	writeText(&b, v)
	return b.String()
}

func writeBody(b *strings.Builder, body conf.Body) {
	fmt.Fprintf(b, "%q", body.Written())
	for _, in := range body.Inner() {
		fmt.Fprintf(b, "{%s ", in.Title)
		writeBody(b, in.Body)
		b.WriteByte('}')
	}
}

func writeText(b *strings.Builder, v reflect.Value) {
	if v.IsValid() && v.CanInterface() {
		if body, ok := v.Interface().(conf.Body); ok {
			writeBody(b, body)
			return
		}
	}
	switch {
	case !v.IsValid():
	case v.Kind() == reflect.Pointer:
		writeText(b, v.Elem())
	case v.Kind() == reflect.Slice:
		for i := range v.Len() {
			b.WriteByte('[')
			writeText(b, v.Index(i))
			b.WriteByte(']')
		}
	case isBlock(v.Type()):
		if name := v.FieldByName("Name"); name.IsValid() {
			fmt.Fprintf(b, "%q", name.String())
		}
		for f := range attributes(v.Type()) {
			b.WriteString("{" + f.name + " ")
			writeText(b, v.FieldByIndex(f.index))
			b.WriteByte('}')
		}
	case v.Kind() == reflect.String: // fmt does not print a Secret
		fmt.Fprintf(b, "%q", v.String())
	default:
		fmt.Fprintf(b, "%v", v.Interface())
	}
}
