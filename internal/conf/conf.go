// Package conf reads relay.hcl into Go structs.
//
// A package that wants a block of the file writes a struct and tags its fields:
//
//	hcl:"max"              an attribute that must be there
//	hcl:"max,optional"     an attribute that may be left out
//	hcl:"name,label"       a label of the block: smtp "name" { ... }
//	hcl:"name,label,optional"
//	hcl:"kind,label,repeat" a label that may occur twice, as in filter "headers"
//	hcl:"dns,block"        a block: a struct (at most one), a pointer (nil when absent) or a slice
//	hcl:",remain"          a Body: all that the struct itself does not name, decoded later
//	default:"25MiB"        the value of an absent attribute
//	enum:"a|b"             the only strings that are allowed
//	example:"mail.old.lan" what an error message and the reference show
//	was:"tls|cert"         former names, reported as mistakes that give the new one
//
// Embedding a Pos lets later checks point at the place in the file; a Check
// method looks over the fields together. Structs embedded without a tag lend
// their fields. All mistakes of a file are found in one run: every step adds
// to one Diagnostics instead of returning the first error.
//
// What the values mean, and whether a chain of that name exists, is left to
// the packages and to cmd/hoplite.
package conf

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"

	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// maxFile bounds a config file; a larger one is surely something else.
const maxFile = 4 << 20

// Checker is a Config with rules between its fields. Check runs after all of
// its attributes were read without a mistake; errors made by Field point at an
// attribute, several go through errors.Join.
type Checker interface {
	Check() error
}

// File is one parsed config file.
type File struct {
	// Name is the path as given, shown in front of every mistake.
	Name string
	// Diags collects the mistakes of all steps.
	Diags *Diagnostics

	body *hclsyntax.Body
}

// Load reads the file at path. Mistakes in its syntax are in Diags; the error is
// only for a file that cannot be read at all.
func Load(path string) (*File, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxFile {
		return nil, fmt.Errorf("%s: %s is too large for a config file", path, Bytes(info.Size()))
	}
	src, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return Parse(path, src), nil
}

// Parse reads src as the file called name. Paths in file("...") are relative
// to its folder.
func Parse(name string, src []byte) *File {
	diags := &Diagnostics{}
	diags.addSource(name, src)
	return &File{Name: name, Diags: diags, body: parseBody(name, src, diags)}
}

// Decode fills into, a pointer to a struct, from the whole file. It reports
// whether this step found no mistake.
func (f *File) Decode(into any) bool {
	if f.body == nil {
		return false
	}
	d := decoder{diags: f.Diags, dir: filepath.Dir(f.Name)}
	before := f.Diags.Mistakes()
	d.body(f.body, place{name: "this file"}, nil, structOf(into))
	return f.Diags.Mistakes() == before
}

// Parsed tells whether the syntax was good enough for Decode to do anything.
func (f *File) Parsed() bool { return f.body != nil }

// Defaults fills into, a pointer to a struct, with what an empty file gives.
// Required attributes stay zero.
func Defaults(into any) {
	setDefaults(structOf(into))
}

func structOf(into any) reflect.Value {
	v := reflect.ValueOf(into)
	if v.Kind() != reflect.Pointer || v.Elem().Kind() != reflect.Struct {
		panic(fmt.Sprintf("conf: want a pointer to a struct, not %T", into))
	}
	return v.Elem()
}
