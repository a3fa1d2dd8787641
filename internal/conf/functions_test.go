package conf

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// env and file read a value from the environment and from a file.
func TestFunctions(t *testing.T) {
	t.Setenv("CONF_TEST", "from the environment")
	t.Setenv("CONF_EMPTY", "")
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("plain", "from a file")
	write("newline", "ends in a line break\n")
	write("crlf", "ends in CRLF\r\n\r\n")
	write("lines", "one\ntwo\n")
	write("spaces", " kept  \n")
	write("empty", "")
	write("largest", strings.Repeat("x", maxValue))
	write("large", strings.Repeat("x", maxValue+1))
	if err := os.Mkdir(filepath.Join(dir, "folder"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ expr, want, err string }{
		{`env("CONF_TEST")`, "from the environment", ""},
		{`env("CONF_EMPTY")`, "", ""},
		{`"<${env("CONF_TEST")}>"`, "<from the environment>", ""},
		{`env("CONF_UNSET")`, "", "string: the environment variable CONF_UNSET is not set"},
		{`env()`, "", "string: Function \"env\" expects 1 argument(s). Missing value for \"name\""},
		{`file("plain")`, "from a file", ""},
		{`file("` + dir + `/plain")`, "from a file", ""},
		{`file("./folder/../plain")`, "from a file", ""},
		{`file("newline")`, "ends in a line break", ""},
		{`file("crlf")`, "ends in CRLF", ""},
		{`file("lines")`, "one\ntwo", ""},
		{`file("spaces")`, " kept  ", ""},
		{`file("empty")`, "", ""},
		{`file("largest")`, strings.Repeat("x", maxValue), ""},
		{`file("large")`, "", "is larger than 64KiB"},
		{`file("missing")`, "", "no such file or directory"},
		{`file("folder")`, "", "is not a regular file"},
	} {
		var v values
		f := Parse(filepath.Join(dir, "relay.hcl"), []byte("string = "+c.expr+"\n"))
		f.Decode(&v)
		all := f.Diags.All()
		switch {
		case c.err == "" && (len(all) > 0 || v.String != c.want):
			t.Errorf("%s: %.60q, %v", c.expr, v.String, f.Diags.Err())
		case c.err != "" && (len(all) != 1 || !strings.HasSuffix(all[0].Summary, c.err) || v.String != ""):
			t.Errorf("%s: %.60q, %+v; want %s", c.expr, v.String, all, c.err)
		}
	}
}

// Functions work in the elements of lists and maps, and in inner blocks.
func TestFunctionsInside(t *testing.T) {
	t.Setenv("CONF_NET", "192.0.2.0/24")
	v, diags := decodeValues(`
prefixes = ["2001:db8::/32", env("CONF_NET")]
map      = { net = env("CONF_NET") }
`)
	if err := diags.Err(); err != nil || v.Prefixes[1].String() != "192.0.2.0/24" || v.Map["net"] != "192.0.2.0/24" {
		t.Errorf("%v, %v, %v", v.Prefixes, v.Map, err)
	}
}
