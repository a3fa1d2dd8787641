// Package conftest generates docs/config.md from the comments above the Config
// structs. Only tests import it: one of them compares the file with the source.
package conftest

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"

	"hoplite/internal/conf"
)

// width is the width of the generated lines.
const width = 80

// Section is a block that no struct field refers to, because it is decoded into
// a conf.Body, for example filter "size".
type Section struct {
	// Title is the header of the block as written in the file.
	Title string
	// Config is a pointer to the struct that the block is decoded into.
	Config any
}

// Reference returns the part of docs/config.md that follows its introduction: a
// section for each block that root, a pointer to a Config, refers to, and then
// the given ones. The text is taken from the comments in the Go source under
// module, the folder of the hoplite module. A field without a comment is an
// error.
func Reference(module string, root any, more ...Section) (string, error) {
	r := &reference{module: module, packages: map[string]map[string]comments{}, seen: map[reflect.Type]string{}}
	r.section(topLevel, reflect.TypeOf(root).Elem(), 2)
	for _, s := range more {
		r.section("`"+s.Title+"`", reflect.TypeOf(s.Config).Elem(), 2)
	}
	if r.err == nil && len(r.bare) > 0 {
		r.err = fmt.Errorf("no comment above %s", strings.Join(r.bare, ", "))
	}
	return r.out.String(), r.err
}

// topLevel is the title of the section for attributes outside all blocks.
const topLevel = "Top level"

type reference struct {
	module   string
	packages map[string]map[string]comments
	seen     map[reflect.Type]string
	bare     []string
	out      strings.Builder
	err      error
}

// section writes the attributes of t, then the blocks in it.
func (r *reference) section(title string, t reflect.Type, level int) {
	fmt.Fprintf(&r.out, "\n%s %s\n\n", strings.Repeat("#", min(level, 4)), title)
	if before, ok := r.seen[t]; ok {
		fmt.Fprintf(&r.out, "Same as %s.\n", before)
		return
	}
	r.seen[t] = title
	if about := aboutBlock(r.typeDoc(t)); about != "" && title != topLevel {
		r.paragraph(about, "", "")
		r.out.WriteString("\n")
	}
	fields := conf.Fields(t)
	for _, f := range fields {
		if f.Block == nil && !f.Label {
			r.attribute(t, f)
		}
	}
	for _, f := range fields {
		if f.Block != nil {
			r.section("`"+blockTitle(f.Name, f.Block)+"`"+inside(title), f.Block, level+1)
		}
	}
}

// inside returns the part of a title that identifies the outer block.
func inside(title string) string {
	if title == topLevel {
		return ""
	}
	outer, _, _ := strings.Cut(title, "` in ")
	return " in `" + strings.Trim(outer, "`") + "`"
}

// blockTitle returns the header of a block, for example smtp "NAME".
func blockTitle(name string, t reflect.Type) string {
	for _, f := range conf.Fields(t) {
		if f.Label {
			name += ` "` + strings.ToUpper(f.Name) + `"`
		}
	}
	return name
}

func (r *reference) attribute(t reflect.Type, f conf.FieldInfo) {
	text := r.fieldDoc(t, f.GoName)
	if text == "" {
		r.bare = append(r.bare, t.String()+"."+f.GoName)
	}
	// The comment uses the name of the Go field, but readers of the reference
	// know only the attribute.
	if rest, ok := strings.CutPrefix(text, f.GoName+" "); ok {
		text = "`" + f.Name + "` " + rest
	}
	r.paragraph("**`"+f.Name+"`** — "+describe(f)+". "+text, "- ", "  ")
}

// describe returns the type of an attribute, its default, and whether it is
// required.
func describe(f conf.FieldInfo) string {
	text := f.Type
	if len(f.Enum) > 0 {
		text = "`\"" + strings.Join(f.Enum, "\"`, `\"") + "\"`"
		if f.List {
			text = "list of " + text
		}
	}
	switch {
	case f.Default != "":
		return text + "; default `" + f.Default + "`"
	case f.Required:
		return text + "; required; for example `" + f.Name + " = " + f.Example + "`"
	case f.HasExample:
		return text + "; for example `" + f.Example + "`"
	}
	return text
}

func (r *reference) paragraph(text, first, next string) {
	for _, line := range conf.Wrap(text, first, next, width) {
		r.out.WriteString(line + "\n")
	}
}

// goOpening matches the start of a Go comment that names its type.
var goOpening = regexp.MustCompile(`^[A-Za-z]*Config is (?:the|what|how|where|who)\b`)

// aboutBlock removes the name of the type from "Config is the x { ... } block".
func aboutBlock(text string) string {
	return goOpening.ReplaceAllStringFunc(text, func(s string) string {
		word := s[strings.LastIndex(s, " ")+1:]
		return strings.ToUpper(word[:1]) + word[1:]
	})
}

func (r *reference) typeDoc(t reflect.Type) string { return r.find(t).text }

// fieldDoc returns the comment above a field of t or of a struct embedded in it.
func (r *reference) fieldDoc(t reflect.Type, name string) string {
	sf, ok := t.FieldByName(name)
	if !ok {
		return ""
	}
	for _, i := range sf.Index[:len(sf.Index)-1] {
		t = t.Field(i).Type
	}
	return r.find(t).fields[name]
}

// joinLines joins each paragraph into one line, so that it can be wrapped
// again.
func joinLines(text string) string {
	paragraphs := strings.Split(strings.TrimSpace(text), "\n\n")
	for i, p := range paragraphs {
		paragraphs[i] = strings.Join(strings.Fields(p), " ")
	}
	return strings.Join(paragraphs, "\n\n")
}

func (r *reference) find(t reflect.Type) comments {
	path := t.PkgPath()
	if _, ok := r.packages[path]; !ok {
		read, err := readComments(filepath.Join(r.module, strings.TrimPrefix(path, "hoplite")))
		if err != nil {
			r.err = fmt.Errorf("read comments of %s: %w", path, err)
		}
		r.packages[path] = read
	}
	return r.packages[path][t.Name()]
}

// comments holds the comments above a struct type and above its fields.
type comments struct {
	text   string
	fields map[string]string
}

// readComments reads the comments on the struct types in a folder's Go files.
func readComments(dir string) (map[string]comments, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return nil, err
	}
	all := map[string]comments{}
	for _, name := range files {
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		if err != nil {
			return nil, err
		}
		for _, decl := range f.Decls {
			if gen, ok := decl.(*ast.GenDecl); ok && gen.Tok == token.TYPE {
				structComments(gen, all)
			}
		}
	}
	return all, nil
}

func structComments(gen *ast.GenDecl, all map[string]comments) {
	for _, spec := range gen.Specs {
		ts := spec.(*ast.TypeSpec)
		st, ok := ts.Type.(*ast.StructType)
		if !ok {
			continue
		}
		text := ts.Doc.Text()
		if text == "" && len(gen.Specs) == 1 {
			text = gen.Doc.Text()
		}
		c := comments{text: joinLines(text), fields: map[string]string{}}
		for _, f := range st.Fields.List {
			for _, id := range f.Names {
				c.fields[id.Name] = joinLines(f.Doc.Text())
			}
		}
		all[ts.Name.Name] = c
	}
}
