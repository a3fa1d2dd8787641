package conf

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
)

// Section is a block of the reference that no struct leads to, because a Body
// is decoded into it: filter "size".
type Section struct {
	// Title is the block as written in the file.
	Title string
	// Config is a pointer to what the block is decoded into.
	Config any
}

// Reference writes the part of docs/config.md that follows its introduction:
// one section for each block that root, a pointer to a Config, leads to, and
// then the given ones. The text is taken from the comments in the Go source
// under module, the folder of the module called hoplite; a field without a
// comment is an error.
func Reference(module string, root any, more ...Section) (string, error) {
	r := &reference{module: module, packages: map[string]map[string]comments{}, seen: map[reflect.Type]string{}}
	r.section(fileItself, structOf(root).Type(), 2)
	for _, s := range more {
		r.section("`"+s.Title+"`", structOf(s.Config).Type(), 2)
	}
	if r.err == nil && len(r.bare) > 0 {
		r.err = fmt.Errorf("no comment above %s", strings.Join(r.bare, ", "))
	}
	return r.out.String(), r.err
}

// fileItself is the section of the attributes outside all blocks.
const fileItself = "The file itself"

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
		fmt.Fprintf(&r.out, "The same as %s.\n", before)
		return
	}
	r.seen[t] = title
	if about := aboutBlock(r.typeDoc(t)); about != "" && title != fileItself {
		r.paragraph(about, "", "")
		r.out.WriteString("\n")
	}
	fields := fieldsOf(reflect.New(t).Elem())
	for _, f := range fields {
		if f.kind == attribute {
			r.attribute(t, f)
		}
	}
	for _, f := range fields {
		if f.kind == block {
			elem := f.newItem().Type()
			r.section("`"+blockTitle(f.name, elem)+"`"+inside(title), elem, level+1)
		}
	}
}

// inside says where a block in a block stands.
func inside(title string) string {
	if title == fileItself {
		return ""
	}
	outer, _, _ := strings.Cut(title, "` in ")
	return " in `" + strings.Trim(outer, "`") + "`"
}

// blockTitle is the head of a block: smtp "NAME".
func blockTitle(name string, t reflect.Type) string {
	for _, f := range fieldsOf(reflect.New(t).Elem()) {
		if f.kind == label {
			name += ` "` + strings.ToUpper(f.name) + `"`
		}
	}
	return name
}

func (r *reference) attribute(t reflect.Type, f *field) {
	text := r.fieldDoc(t, f.goName)
	if text == "" {
		r.bare = append(r.bare, t.String()+"."+f.goName)
	}
	// The comment speaks of the Go field, the reader knows the attribute.
	if rest, ok := strings.CutPrefix(text, f.goName+" "); ok {
		text = "`" + f.name + "` " + rest
	}
	r.paragraph("**`"+f.name+"`** — "+f.described()+". "+text, "- ", "  ")
}

// described is the type of an attribute, its default, and whether it must be there.
func (f *field) described() string {
	t := f.value.Type()
	text := kindName(t)
	if enum := f.tag.Get("enum"); enum != "" {
		words := strings.Split(strings.TrimSuffix(enum, "|"), "|")
		for i, w := range words {
			words[i] = "`\"" + w + "\"`"
		}
		text = strings.Join(words, ", ")
		if t.Kind() == reflect.Slice {
			text = "a list of " + text
		}
	}
	def, ok := f.tag.Lookup("default")
	switch {
	case ok && t.Kind() == reflect.Slice:
		words := strings.Split(def, ",")
		for i, w := range words {
			words[i] = `"` + strings.TrimSpace(w) + `"`
		}
		return text + "; default `[" + strings.Join(words, ", ") + "]`"
	case ok && !plain(t):
		return text + "; default `\"" + def + "\"`"
	case ok:
		return text + "; default `" + def + "`"
	case !f.optional:
		return text + "; must be given, as in `" + f.name + " = " + f.exampleText() + "`"
	case f.tag.Get("example") != "":
		return text + "; as in `" + f.exampleText() + "`"
	case t.Kind() == reflect.Bool:
		return text + "; default `false`"
	case t.Kind() == reflect.Int:
		return text + "; default `0`"
	}
	return text
}

func (r *reference) paragraph(text, first, next string) {
	for _, line := range Wrap(text, first, next, width) {
		r.out.WriteString(line + "\n")
	}
}

// goOpening is how a Go comment names its type before it says what it is.
var goOpening = regexp.MustCompile(`^[A-Za-z]*Config is (?:the|what|how|where|who)\b`)

// aboutBlock turns "Config is the block x { ... }" into a sentence for admins.
func aboutBlock(text string) string {
	return goOpening.ReplaceAllStringFunc(text, func(s string) string {
		word := s[strings.LastIndex(s, " ")+1:]
		return strings.ToUpper(word[:1]) + word[1:]
	})
}

func (r *reference) typeDoc(t reflect.Type) string { return r.find(t).text }

// fieldDoc is the comment above a field of t, or of a struct embedded in it.
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

// joinLines makes one line of each paragraph: they are wrapped anew.
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

// comments are the text above a struct type and above its fields.
type comments struct {
	text   string
	fields map[string]string
}

// readComments reads the comments on the struct types of a folder.
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
