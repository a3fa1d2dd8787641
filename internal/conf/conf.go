// Package conf reads relay.hcl into Go structs.
//
// The package that owns a block of the file declares a struct and tags its
// fields:
//
//	hcl:"max"              a required attribute
//	hcl:"max,optional"     an optional attribute
//	hcl:"name,label"       a label of the block: smtp "name" { ... }
//	hcl:"name,label,optional"
//	hcl:"kind,label,repeat" a label that several blocks may share, as in filter "headers"
//	hcl:"dns,block"        a block: a struct (at most one), a pointer (nil if absent) or a slice
//	hcl:",remain"          a Body: everything that the struct does not name, decoded later
//	default:"25MiB"        the value of an absent attribute
//	enum:"a|b"             the only strings that are allowed
//	example:"mail.old.lan" the example in error messages and in docs/config.md
//	was:"tls|cert"         former names; using one is a mistake, reported with the new name
//
// A struct that embeds Pos records the position of its block, for later checks;
// a Check method validates the fields together. The fields of structs embedded
// without a tag belong to the outer struct. All mistakes in a file are found in
// one run: each step adds to a shared Diagnostics instead of returning the
// first error.
//
// The meaning of the values, and checks such as whether a named chain exists,
// are left to the other packages and cmd/hoplite. Start with File.
package conf

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"

	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// maxFile is the maximum size of a configuration file.
const maxFile = 4 << 20

// Checker is a Config with rules that involve several fields. Check runs if all
// of its attributes were read without a mistake. An error created by Field
// refers to an attribute; several errors are combined with errors.Join.
type Checker interface {
	Check() error
}

// File is one parsed config file.
type File struct {
	// Name is the path as passed to Load or Parse; it precedes every mistake in
	// the output.
	Name string
	// Diags holds the mistakes of all steps.
	Diags *Diagnostics

	body *hclsyntax.Body
}

// Load reads the file at path. Syntax mistakes are collected in Diags; an error
// means that the file could not be read at all.
func Load(path string) (*File, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxFile {
		return nil, fmt.Errorf("%s: %s is too large for a configuration file", path, Bytes(info.Size()))
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

// Decode decodes the whole file into the struct that into points to. It reports
// whether the file is free of mistakes.
func (f *File) Decode(into any) bool {
	if f.body == nil {
		return false
	}
	d := decoder{diags: f.Diags, dir: filepath.Dir(f.Name)}
	before := f.Diags.Mistakes()
	d.body(f.body, place{name: "this file"}, nil, structOf(into))
	return f.Diags.Mistakes() == before
}

// Parsed reports whether the file could be parsed and thus can be decoded.
func (f *File) Parsed() bool { return f.body != nil }

// Defaults fills the struct that into points to with the values of an empty
// block. Required attributes stay zero.
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
