package command

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/spf13/pflag"
)

// JSON is the flag --json. A command that prints a list prints one array, or
// one object per line with --json=lines. Other commands print one object, which
// is on a single line with --json=lines.
type JSON struct{ form string }

// jsonType is the type of the flag, which the help formats specially.
const jsonType = "json"

// JSONFlag adds --json to flags.
func JSONFlag(flags *pflag.FlagSet) *JSON {
	j := &JSON{}
	flags.Var(j, "json", "print JSON; with lines, one object a line")
	flags.Lookup("json").NoOptDefVal = "array"
	return j
}

// On reports whether the flag is set.
func (j *JSON) On() bool { return j.form != "" }

// Lines reports whether one object per line is wanted.
func (j *JSON) Lines() bool { return j.form == "lines" }

// String implements pflag.Value.
func (j *JSON) String() string { return j.form }

// Set implements pflag.Value.
func (j *JSON) Set(s string) error {
	switch s {
	case "array", "true":
		j.form = "array"
	case "lines":
		j.form = "lines"
	case "false":
		j.form = ""
	default:
		return fmt.Errorf("write --json or --json=lines")
	}
	return nil
}

// Type implements pflag.Value.
func (j *JSON) Type() string { return jsonType }

// One prints one object.
func (j *JSON) One(w io.Writer, v any) error {
	out := json.NewEncoder(w)
	out.SetEscapeHTML(false)
	if !j.Lines() {
		out.SetIndent("", "  ")
	}
	return out.Encode(v)
}

// List prints a list as an array, which may be empty, or as one element per
// line.
func List[T any](w io.Writer, j *JSON, list []T) error {
	if !j.Lines() {
		if list == nil {
			list = []T{}
		}
		return j.One(w, list)
	}
	for i := range list {
		if err := j.One(w, &list[i]); err != nil {
			return err
		}
	}
	return nil
}
