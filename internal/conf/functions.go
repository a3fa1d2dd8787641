package conf

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
)

// functions returns the functions that a configuration can call: env and file.
func (d decoder) functions() *hcl.EvalContext {
	one := func(name string, f func(string) (string, error)) function.Function {
		return function.New(&function.Spec{
			Params: []function.Parameter{{Name: name, Type: cty.String}},
			Type:   function.StaticReturnType(cty.String),
			Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
				s, err := f(args[0].AsString())
				if err != nil {
					return cty.NilVal, err
				}
				return cty.StringVal(s), nil
			},
		})
	}
	return &hcl.EvalContext{Functions: map[string]function.Function{
		"env": one("name", func(name string) (string, error) {
			if s, ok := os.LookupEnv(name); ok {
				return s, nil
			}
			return "", fmt.Errorf("the environment variable %s is not set", name)
		}),
		"file": one("path", func(path string) (string, error) {
			if !filepath.IsAbs(path) {
				path = filepath.Join(d.dir, path)
			}
			return readValue(path)
		}),
	}}
}

// maxValue is the maximum size of a file that file("...") reads.
const maxValue = 64 << 10

// readValue reads the text of a file without trailing line breaks.
func readValue(path string) (string, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return "", err
	case !info.Mode().IsRegular():
		return "", fmt.Errorf("%s is not a regular file", path)
	case info.Size() > maxValue:
		return "", fmt.Errorf("%s is larger than %s", path, Bytes(maxValue))
	}
	b, err := os.ReadFile(path)
	return strings.TrimRight(string(b), "\r\n"), err
}
