package conf

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// site has a block of each kind.
type site struct {
	Pos
	common
	Single  section    `hcl:"single,block"`
	Pointer *section   `hcl:"pointer,block"`
	List    []section  `hcl:"list,block"`
	Named   []*named   `hcl:"named,block"`
	Kinds   []kindOf   `hcl:"kind,block"`
	Maybe   []maybe    `hcl:"maybe,block"`
	Pairs   []pair     `hcl:"pair,block"`
	Later   []later    `hcl:"later,block"`
	Checked []*checked `hcl:"checked,block"`
	Skipped string     `hcl:"-"`
	None    string
}

// common holds attributes that belong to the outer block.
type common struct {
	Shared string `hcl:"shared,optional" default:"yes"`
}

type section struct {
	Pos
	Size  Bytes   `hcl:"size,optional" default:"1KiB"`
	Inner *nested `hcl:"inner,block"`
}

type nested struct {
	Wait time.Duration `hcl:"wait" example:"3m"`
}

type named struct {
	Pos
	Name string `hcl:"name,label"`
	Text string `hcl:"text,optional" was:"word|phrase"`
}

type kindOf struct {
	Kind string `hcl:"kind,label,repeat"`
}

type maybe struct {
	Name string `hcl:"name,label,optional"`
}

type pair struct {
	First  string `hcl:"first,label" example:"left"`
	Second string `hcl:"second,label"`
}

type later struct {
	Name string `hcl:"name,label"`
	On   bool   `hcl:"on,optional"`
	Body Body   `hcl:",remain"`
}

// checked reports the mistakes listed in its attribute.
type checked struct {
	Pos
	Name string   `hcl:"name,label"`
	Fail []string `hcl:"fail,optional"`
	Max  int      `hcl:"max,optional"`
}

func (c *checked) Check() error {
	var errs []error
	for i, f := range c.Fail {
		switch f {
		case "field":
			errs = append(errs, Fieldf("max", "is too small: use 3"))
		case "absent":
			errs = append(errs, Fieldf("min", "is missing: set it"))
		case "place":
			errs = append(errs, At(c.Element("fail", i), errors.New("this element is wrong: remove it")))
		case "plain":
			errs = append(errs, errors.New("the block is wrong: remove it"))
		case "wrapped":
			errs = append(errs, fmt.Errorf("look: %w", Fieldf("max", "is odd")))
		case "nothing":
			errs = append(errs, nil)
		}
	}
	return errors.Join(errs...)
}

// decodeSite decodes a file with the given text.
func decodeSite(text string) (*site, *Diagnostics) {
	s := &site{}
	f := Parse("site.hcl", []byte(text))
	f.Decode(s)
	return s, f.Diags
}

func TestBlocks(t *testing.T) {
	s, diags := decodeSite(`
single {
  size = "2KiB"
}
pointer {
  inner {
    wait = "5s"
  }
}
list {}
list {
  size = "3KiB"
}
named "a" {}
named "b" {
  text = "hello"
}
kind "x" {}
kind "x" {}
maybe {}
maybe "m" {}
pair "l" "r" {}
`)
	if err := diags.Err(); err != nil {
		t.Fatal(err)
	}
	if s.Shared != "yes" || s.Single.Size != 2048 || s.Single.Inner != nil {
		t.Errorf("single: %+v", s.Single)
	}
	if s.Pointer == nil || s.Pointer.Size != 1024 || s.Pointer.Inner.Wait != 5*time.Second {
		t.Errorf("pointer: %+v", s.Pointer)
	}
	if len(s.List) != 2 || s.List[0].Size != 1024 || s.List[1].Size != 3072 {
		t.Errorf("list: %+v", s.List)
	}
	if len(s.Named) != 2 || s.Named[0].Name != "a" || s.Named[1].Name != "b" || s.Named[1].Text != "hello" {
		t.Errorf("named: %+v", s.Named)
	}
	if len(s.Kinds) != 2 || len(s.Maybe) != 2 || s.Maybe[0].Name != "" || s.Maybe[1].Name != "m" {
		t.Errorf("labels: %+v %+v", s.Kinds, s.Maybe)
	}
	if s.Pairs[0] != (pair{"l", "r"}) {
		t.Errorf("two labels: %+v", s.Pairs)
	}
}

// Absent blocks have their defaults or are nil.
func TestAbsentBlocks(t *testing.T) {
	s, diags := decodeSite("")
	if diags.Err() != nil || s.Single.Size != 1024 || s.Pointer != nil || s.List != nil || s.Shared != "yes" {
		t.Errorf("%+v, %v", s, diags.Err())
	}
	var d site
	Defaults(&d)
	if d.Single.Size != 1024 || d.Shared != "yes" || d.Pointer != nil {
		t.Errorf("Defaults: %+v", d)
	}
}

func TestBlockMistakes(t *testing.T) {
	for _, c := range []struct{ text, summary, detail string }{
		{"single {}\nsingle {}", "a second single block", "The first is on line 1; only one is allowed."},
		{"pointer {}\n\npointer {}", "a second pointer block", "The first is on line 1; only one is allowed."},
		{"named \"a\" {}\nnamed \"a\" {}", `a second named "a"`, "The first is on line 1; each needs a name of its own."},
		{"maybe {}\nmaybe {}", "a second maybe", "The first is on line 1; each needs a name of its own."},
		{`named {}`, "named needs a name", `Write named "example.org" { ... }.`},
		{`pair "l" {}`, "pair needs a second", `Write pair "example.org" { ... }.`},
		{`pair {}`, "pair needs a first", `Write pair "left" { ... }.`},
		{`named "a" "b" {}`, "named has too many labels", ""},
		{`single "a" {}`, "single has too many labels", ""},
		{"pointer {\n  inner {}\n}", "inner lacks wait", `For example: wait = "3m".`},
		{"pointer {\n  inner {\n    wait = 5\n  }\n}", `wait: "5" has no unit; units are ms, s, m, h, d, w`, `For example: wait = "3m".`},
		{`nmaed "a" {}`, `this file has no block "nmaed"`, `Did you mean "named"?`},
		{`zebra {}`, `this file has no block "zebra"`, "Known: checked, kind, later, list, maybe, named, pair, pointer, single."},
		{`shard = "x"`, `this file has no attribute "shard"`, `Did you mean "shared"?`},
		{`zebra = "x"`, `this file has no attribute "zebra"`, "Known: shared."},
		{`pointer = "x"`, `this file has no attribute "pointer"`, "pointer is a block: write pointer { ... } without an equals sign."},
		{`shared {}`, `this file has no block "shared"`, "shared is an attribute: write shared = ..."},
		{"named \"a\" {\n  phrase = \"x\"\n}", `named "a" has no attribute "phrase"`, `Did you mean "text", the new name of "phrase"?`},
		{"named \"a\" {\n  word {}\n}", `named "a" has no block "word"`, `Did you mean "text", the new name of "word"?`},
		{"kind \"k\" {\n  x = 1\n}", `kind "k" has no attribute "x"`, ""},
		{`skipped = "x"`, `this file has no attribute "skipped"`, "Known: shared."},
		{`None = "x"`, `this file has no attribute "None"`, ""},
	} {
		_, diags := decodeSite(c.text + "\n")
		all := diags.All()
		if len(all) != 1 || all[0].Warning || all[0].Summary != c.summary || c.detail != "" && all[0].Detail != c.detail {
			t.Errorf("%s\ngot %+v\nwant %s (%s)", c.text, all, c.summary, c.detail)
		}
	}
}

// All mistakes in a file are found at once, each with its line.
func TestAllAtOnce(t *testing.T) {
	_, diags := decodeSite(`zebra = 1
named {}
named "a" {
  text = ["x"]
  size = 1
}
pointer {
  size = "big"
  inner {}
}
pair "l" {}
unknown {}
checked "c" {
  fail = ["field"]
  max  = 1
}
`)
	var got []string
	for _, one := range diags.All() {
		got = append(got, fmt.Sprintf("%d %s", one.Where.Start.Line, one.Summary))
	}
	want := []string{
		`1 this file has no attribute "zebra"`,
		"2 named needs a name",
		"4 text: must be one value, not a list",
		`5 named "a" has no attribute "size"`,
		`8 size: "big" is not a size; units are KiB, MiB, GiB (1024) and KB, MB, GB (1000)`,
		"9 inner lacks wait",
		"11 pair needs a second",
		`12 this file has no block "unknown"`,
		"15 max: is too small",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if diags.Mistakes() != len(want) {
		t.Errorf("%d mistakes", diags.Mistakes())
	}
}

// An error from Check is reported at the attribute, element or block that it
// refers to.
func TestCheck(t *testing.T) {
	for _, c := range []struct {
		fail string
		want []string
	}{
		{`[]`, nil},
		{`["nothing"]`, nil},
		{`["field"]`, []string{"3:3 max: is too small (use 3)"}},
		{`["absent"]`, []string{"1:1 min: is missing (set it)"}},
		{`["place"]`, []string{"2:11 this element is wrong (remove it)"}},
		{`["nothing", "place"]`, []string{"2:22 this element is wrong (remove it)"}},
		{`["plain"]`, []string{"1:1 the block is wrong (remove it)"}},
		{`["wrapped"]`, []string{"3:3 look (max: is odd)"}},
		{`["plain", "place", "field"]`, []string{
			"1:1 the block is wrong (remove it)", "2:20 this element is wrong (remove it)", "3:3 max: is too small (use 3)",
		}},
		// Check does not run if an attribute is wrong.
		{`["plain", ["x"]]`, []string{"2:20 fail: must be one value, not a list (For example: fail = [\"example.org\"].)"}},
	} {
		_, diags := decodeSite("checked \"c\" {\n  fail = " + c.fail + "\n  max = 1\n}\n")
		var got []string
		for _, one := range diags.All() {
			at := one.Where.Start
			got = append(got, fmt.Sprintf("%d:%d %s (%s)", at.Line, at.Column, one.Summary, one.Detail))
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: got %q, want %q", c.fail, got, c.want)
		}
	}
}

func TestPositions(t *testing.T) {
	s, diags := decodeSite(`shared = "x"
named "a" {
  text = "hello"
}
checked "c" {
  fail = [
    "nothing",
    "nothing",
  ]
}
`)
	if err := diags.Err(); err != nil {
		t.Fatal(err)
	}
	a, c := s.Named[0], s.Checked[0]
	for _, p := range []struct {
		name      string
		at        Range
		line, col int
	}{
		{"file", s.Range(), 0, 0},
		{"attribute of the file", s.Attr("shared"), 1, 1},
		{"block", a.Range(), 2, 1},
		{"attribute", a.Attr("text"), 3, 3},
		{"unset attribute", a.Attr("other"), 2, 1},
		{"element", c.Element("fail", 1), 8, 5},
		{"element beyond the list", c.Element("fail", 2), 6, 3},
		{"element of an unset list", c.Element("none", 0), 5, 1},
		{"element of no list", a.Element("text", 0), 3, 3},
	} {
		if p.at.Start.Line != p.line || p.at.Start.Column != p.col {
			t.Errorf("%s is at %d:%d, want %d:%d", p.name, p.at.Start.Line, p.at.Start.Column, p.line, p.col)
		}
	}
	if !s.IsSet("shared") || !a.IsSet("text") || a.IsSet("other") || c.IsSet("max") {
		t.Error("IsSet does not match the file")
	}
}

// The rest of a block is decoded later, by the package that owns it.
func TestBody(t *testing.T) {
	s, diags := decodeSite(`later "a" {
  on   = true
  size = "2KiB"
  pass = "open sesame"
  nets = ["192.0.2.0/24",
          "2001:db8::/32"]
}
later "b" {
  sizee = "2KiB"
}
`)
	if err := diags.Err(); err != nil {
		t.Fatal(err)
	}
	a, b := s.Later[0].Body, s.Later[1].Body
	if !s.Later[0].On {
		t.Error("the attribute of the outer struct is not set")
	}
	want := []string{`on = true`, `size = "2KiB"`, `pass = "***"`, `nets = ["192.0.2.0/24", "2001:db8::/32"]`}
	if got := a.Written(); !slices.Equal(got, want) {
		t.Errorf("written %q, want %q", got, want)
	}
	var inner struct {
		Size Bytes    `hcl:"size,optional" default:"1KiB"`
		Pass Secret   `hcl:"pass,optional"`
		Nets []string `hcl:"nets,optional"`
	}
	if !a.Decode(&inner) || inner.Size != 2048 || len(inner.Nets) != 2 || string(inner.Pass) != "open sesame" {
		t.Errorf("%+v, %v", inner, diags.Err())
	}
	if b.Decode(&inner) || inner.Size != 1024 {
		t.Errorf("a mistake is not noticed: %+v", inner)
	}
	a.Report(nil)
	a.Report(errors.Join(Fieldf("size", "is even: use 3"), errors.New("no reason: none")))
	a.Warn("size is small", "Use more.")
	var got []string
	for _, one := range diags.All() {
		got = append(got, fmt.Sprintf("%d %s (%s) %v", one.Where.Start.Line, one.Summary, one.Detail, one.Warning))
	}
	wantAll := []string{
		`1 no reason (none) false`,
		`1 size is small (Use more.) true`,
		`3 size: is even (use 3) false`,
		`9 later "b" has no attribute "sizee" (Did you mean "size"?) false`,
	}
	if !slices.Equal(got, wantAll) {
		t.Errorf("got %q\nwant %q", got, wantAll)
	}
}

// The zero Body is an empty block that is not part of a file.
func TestZeroBody(t *testing.T) {
	var b Body
	var inner struct {
		Size Bytes `hcl:"size,optional" default:"1KiB"`
	}
	b.Report(errors.New("ignored"))
	b.Warn("ignored", "")
	if !b.Decode(&inner) || inner.Size != 1024 || b.Written() != nil {
		t.Errorf("%+v, %q", inner, b.Written())
	}
}

// A mistake in a Config struct is a bug, and panics.
func TestConfigMistakes(t *testing.T) {
	for name, f := range map[string]func(){
		"no pointer": func() { Defaults(site{}) },
		"no struct":  func() { Defaults(new(int)) },
		"unknown option": func() {
			Defaults(&struct {
				A string `hcl:"a,optinal"`
			}{})
		},
		"unsupported type": func() {
			Parse("x", []byte("a = 1\n")).Decode(&struct {
				A complex128 `hcl:"a"`
			}{})
		},
		"malformed default": func() {
			Defaults(&struct {
				A time.Duration `hcl:"a,optional" default:"soon"`
			}{})
		},
		"default not in enum": func() {
			Defaults(&struct {
				A string `hcl:"a,optional" enum:"on|off" default:"maybe"`
			}{})
		},
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if p := recover(); p == nil || !strings.HasPrefix(fmt.Sprint(p), "conf: ") {
					t.Errorf("panic: %v", p)
				}
			}()
			f()
		})
	}
}

// A list's default tag is split into its words.
func TestListDefaults(t *testing.T) {
	var c struct {
		Words []string        `hcl:"words,optional" default:"a, b"`
		Empty []string        `hcl:"empty,optional" default:""`
		Waits []time.Duration `hcl:"waits,optional" default:"1s,5m"`
	}
	Defaults(&c)
	if !slices.Equal(c.Words, []string{"a", "b"}) || len(c.Empty) != 0 || !reflect.DeepEqual(c.Waits, []time.Duration{time.Second, 5 * time.Minute}) {
		t.Errorf("%+v", c)
	}
}

// The hint after a mistake is an attribute that can be copied into the file.
func TestHints(t *testing.T) {
	type hints struct {
		Words  []string      `hcl:"words" default:"a, b"`
		Nets   []string      `hcl:"nets" example:"192.0.2.0/24"`
		Mode   string        `hcl:"mode" enum:"on|off"`
		Wait   time.Duration `hcl:"wait" default:"5m"`
		Count  int           `hcl:"count" example:"7"`
		Open   bool          `hcl:"open"`
		Pass   Secret        `hcl:"pass"`
		Ratio  float64       `hcl:"ratio" default:"0.5"`
		Listen Listen        `hcl:"listen"`
	}
	f := Parse("hints.hcl", nil)
	f.Decode(&hints{})
	var text strings.Builder
	for _, one := range f.Diags.All() {
		line, ok := strings.CutPrefix(one.Detail, "For example: ")
		if !ok {
			t.Errorf("no example: %+v", one)
		}
		fmt.Fprintln(&text, strings.TrimSuffix(line, "."))
	}
	t.Setenv("NAME", "x")
	var back hints
	if again := Parse("back.hcl", []byte(text.String())); !again.Decode(&back) {
		t.Fatalf("%s%v", text.String(), again.Diags.Err())
	}
	want := hints{[]string{"a", "b"}, []string{"192.0.2.0/24"}, "on", 5 * time.Minute, 7, true, "x", 0.5, Listen{"tcp", "127.0.0.1:2525"}}
	if !reflect.DeepEqual(back, want) {
		t.Errorf("got %+v\nwant %+v", back, want)
	}
}
