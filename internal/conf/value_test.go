package conf

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"
)

// upper is a type that implements encoding.TextUnmarshaler.
type upper string

func (u *upper) UnmarshalText(text []byte) error {
	if strings.ToUpper(string(text)) != string(text) {
		return errNotUpper
	}
	*u = upper(text)
	return nil
}

type notUpper struct{}

func (notUpper) Error() string { return "not in upper case" }

var errNotUpper notUpper

// values has an attribute of each type that the decoder supports.
type values struct {
	String    string            `hcl:"string,optional"`
	Mode      string            `hcl:"mode,optional" enum:"off|optional|required"`
	Bool      bool              `hcl:"bool,optional"`
	Int       int               `hcl:"int,optional"`
	Int32     int32             `hcl:"int32,optional"`
	Int64     int64             `hcl:"int64,optional"`
	Port      uint16            `hcl:"port,optional"`
	Float     float64           `hcl:"float,optional"`
	Duration  time.Duration     `hcl:"duration,optional"`
	Bytes     Bytes             `hcl:"bytes,optional"`
	Rate      Rate              `hcl:"rate,optional"`
	Listen    Listen            `hcl:"listen,optional"`
	Prefix    netip.Prefix      `hcl:"prefix,optional"`
	Addr      netip.Addr        `hcl:"addr,optional"`
	AddrPort  netip.AddrPort    `hcl:"addr_port,optional"`
	Secret    Secret            `hcl:"secret,optional"`
	Upper     upper             `hcl:"upper,optional"`
	Strings   []string          `hcl:"strings,optional"`
	Modes     []string          `hcl:"modes,optional" enum:"off|optional|required"`
	Ints      []int             `hcl:"ints,optional"`
	Durations []time.Duration   `hcl:"durations,optional"`
	Prefixes  []netip.Prefix    `hcl:"prefixes,optional"`
	Listens   []Listen          `hcl:"listens,optional"`
	Map       map[string]string `hcl:"map,optional"`
	Sizes     map[string]Bytes  `hcl:"sizes,optional"`
}

// decodeValues decodes the attributes in text.
func decodeValues(text string) (values, *Diagnostics) {
	var v values
	f := Parse("values.hcl", []byte(text+"\n"))
	f.Decode(&v)
	return v, f.Diags
}

func TestValues(t *testing.T) {
	for _, c := range []struct {
		text string
		get  func(values) any
		want any
	}{
		{`string = "text"`, func(v values) any { return v.String }, "text"},
		{`string = ""`, func(v values) any { return v.String }, ""},
		{`string = 25`, func(v values) any { return v.String }, "25"},
		{`string = 0.5`, func(v values) any { return v.String }, "0.5"},
		{`string = true`, func(v values) any { return v.String }, "true"},
		{`string = "a\"b\\c\n"`, func(v values) any { return v.String }, "a\"b\\c\n"},
		{`string = "grüße"`, func(v values) any { return v.String }, "grüße"},
		{"string = <<E\none\ntwo\nE", func(v values) any { return v.String }, "one\ntwo\n"},
		{`mode = "required"`, func(v values) any { return v.Mode }, "required"},
		{`bool = true`, func(v values) any { return v.Bool }, true},
		{`bool = false`, func(v values) any { return v.Bool }, false},
		{`bool = "true"`, func(v values) any { return v.Bool }, true},
		{`int = 7`, func(v values) any { return v.Int }, 7},
		{`int = -7`, func(v values) any { return v.Int }, -7},
		{`int = "7"`, func(v values) any { return v.Int }, 7},
		{`int = 10 * 60`, func(v values) any { return v.Int }, 600},
		{`int32 = 2147483647`, func(v values) any { return v.Int32 }, int32(1<<31 - 1)},
		{`int64 = 9223372036854775807`, func(v values) any { return v.Int64 }, int64(1<<63 - 1)},
		{`port = 65535`, func(v values) any { return v.Port }, uint16(65535)},
		{`float = 0.25`, func(v values) any { return v.Float }, 0.25},
		{`float = "1e3"`, func(v values) any { return v.Float }, 1000.0},
		{`duration = "1h30m"`, func(v values) any { return v.Duration }, 90 * time.Minute},
		{`duration = 0`, func(v values) any { return v.Duration }, time.Duration(0)},
		{`bytes = "25MiB"`, func(v values) any { return v.Bytes }, Bytes(25 << 20)},
		{`bytes = 1048576`, func(v values) any { return v.Bytes }, Bytes(1 << 20)},
		{`rate = "30/1m"`, func(v values) any { return v.Rate }, Rate{30, time.Minute}},
		{`rate = 0`, func(v values) any { return v.Rate }, Rate{}},
		{`listen = "[::1]:25"`, func(v values) any { return v.Listen }, Listen{"tcp", "[::1]:25"}},
		{`prefix = "192.0.2.0/24"`, func(v values) any { return v.Prefix }, netip.MustParsePrefix("192.0.2.0/24")},
		{`prefix = "192.0.2.1"`, func(v values) any { return v.Prefix }, netip.MustParsePrefix("192.0.2.1/32")},
		{`prefix = "2001:db8::1"`, func(v values) any { return v.Prefix }, netip.MustParsePrefix("2001:db8::1/128")},
		{`prefix = "0.0.0.0/0"`, func(v values) any { return v.Prefix }, netip.MustParsePrefix("0.0.0.0/0")},
		{`addr = "2001:db8::1"`, func(v values) any { return v.Addr }, netip.MustParseAddr("2001:db8::1")},
		{`addr_port = "192.0.2.1:53"`, func(v values) any { return v.AddrPort }, netip.MustParseAddrPort("192.0.2.1:53")},
		{`secret = "open sesame"`, func(v values) any { return string(v.Secret) }, "open sesame"},
		{`upper = "ABC"`, func(v values) any { return v.Upper }, upper("ABC")},
		{`strings = ["a", "b"]`, func(v values) any { return v.Strings }, []string{"a", "b"}},
		{`strings = []`, func(v values) any { return v.Strings }, []string{}},
		{`strings = ["a", "b",]`, func(v values) any { return v.Strings }, []string{"a", "b"}},
		{`strings = "a"`, func(v values) any { return v.Strings }, []string{"a"}},
		{`strings = [1, true, "a"]`, func(v values) any { return v.Strings }, []string{"1", "true", "a"}},
		{`modes = ["off", "required"]`, func(v values) any { return v.Modes }, []string{"off", "required"}},
		{`ints = [1, 2, 3]`, func(v values) any { return v.Ints }, []int{1, 2, 3}},
		{`ints = 4`, func(v values) any { return v.Ints }, []int{4}},
		{`durations = ["1s", 0]`, func(v values) any { return v.Durations }, []time.Duration{time.Second, 0}},
		{`prefixes = ["192.0.2.1"]`, func(v values) any { return v.Prefixes }, []netip.Prefix{netip.MustParsePrefix("192.0.2.1/32")}},
		{`listens = [":25", "unix:a"]`, func(v values) any { return v.Listens }, []Listen{{"tcp", ":25"}, {"unix", "a"}}},
		{`map = { a = "x", "b c" = "y" }`, func(v values) any { return v.Map }, map[string]string{"a": "x", "b c": "y"}},
		{`map = {}`, func(v values) any { return v.Map }, map[string]string{}},
		{`sizes = { small = "1KiB" }`, func(v values) any { return v.Sizes }, map[string]Bytes{"small": 1024}},
		{``, func(v values) any { return reflect.ValueOf(v).IsZero() }, true},
	} {
		v, diags := decodeValues(c.text)
		if err := diags.Err(); err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		if got := c.get(v); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: got %#v, want %#v", c.text, got, c.want)
		}
	}
}

func TestValueErrors(t *testing.T) {
	const units = "; units are ms, s, m, h, d, w"
	for _, c := range []struct{ text, summary, detail string }{
		{`string = [1]`, "string: must be one value, not a list", `For example: string = "example.org".`},
		{`string = { a = 1 }`, "string: must be a string, number or boolean, not object", ""},
		{`string = null`, "string: no value", ""},
		{`string = text`, "string: text must be in quotes", `Write "text".`},
		{`string = a.b`, "string: not a value; strings must be in quotes", ""},
		{`string = nothing("a")`, `string: There is no function named "nothing"`, ""},
		{`mode = "on"`, `mode: "on" is not one of off, optional, required`, ""},
		{`mode = "requird"`, `mode: "requird" is not one of off, optional, required: did you mean "required"?`, `For example: mode = "off".`},
		{`mode = ""`, `mode: "" is not one of off, optional, required`, ""},
		{`bool = "yes"`, `bool: "yes" is not true or false`, "For example: bool = true."},
		{`bool = 2`, `bool: "2" is not true or false`, ""},
		{`int = "many"`, `int: "many" is not an integer`, "For example: int = 10."},
		{`int = 1.5`, `int: "1.5" is not an integer`, ""},
		{`int = true`, `int: "true" is not an integer`, ""},
		{`int = [1, 2]`, "int: must be one value, not a list", ""},
		{`int32 = 2147483648`, `int32: "2147483648" is not an integer`, ""},
		{`int64 = 9223372036854775808`, `int64: "9223372036854775808" is not an integer`, ""},
		{`port = 65536`, `port: "65536" is not a number from 0 to 65535`, "For example: port = 10."},
		{`port = -1`, `port: "-1" is not a number from 0 to 65535`, ""},
		{`float = "half"`, `float: "half" is not a number`, ""},
		{`duration = 5`, `duration: "5" has no unit` + units, `For example: duration = "5m".`},
		{`duration = "5x"`, `duration: "5x" is not a duration` + units, ""},
		{`bytes = "25XB"`, `bytes: "25XB" is not a size; units are KiB, MiB, GiB (1024) and KB, MB, GB (1000)`, `For example: bytes = "25MiB".`},
		{`bytes = -1`, `bytes: "-1" is not a size; units are KiB, MiB, GiB (1024) and KB, MB, GB (1000)`, ""},
		{`rate = "500"`, `rate: "500" is not a rate; write a number and a duration, "30/1m"`, `For example: rate = "30/1m".`},
		{`listen = "localhost:25"`, `listen: "localhost:25": must be an IP address, not the name "localhost"`, `For example: listen = "127.0.0.1:2525".`},
		{`prefix = "example.org"`, `prefix: "example.org" is not a network`, `For example: prefix = "192.0.2.0/24".`},
		{`prefix = "192.0.2.1/24"`, `prefix: "192.0.2.1/24" has bits set after its prefix length: did you mean 192.0.2.0/24?`, ""},
		{`prefix = "192.0.2.0/33"`, `prefix: "192.0.2.0/33" is not a network`, ""},
		{`addr = "192.0.2"`, `addr: "192.0.2" is not a valid IP address`, `For example: addr = "192.0.2.1".`},
		{`addr_port = "192.0.2.1"`, `addr_port: "192.0.2.1" is not a valid IP address with port`, `For example: addr_port = "192.0.2.1:53".`},
		{`upper = "abc"`, `upper: "abc" is not a valid string`, ""},
		{`secret = ["a"]`, "secret: must be one value, not a list", `For example: secret = env("NAME").`},
		{`modes = ["off", "on"]`, `modes: "on" is not one of off, optional, required`, `For example: modes = ["off"].`},
		{`strings = [["a"]]`, "strings: must be one value, not a list", ""},
		{`strings = [null]`, "strings: no value", ""},
		{`ints = [1, "x"]`, `ints: "x" is not an integer`, "For example: ints = [10]."},
		{`map = "a"`, `map: must be a map such as { name = "value" }`, ""},
		{`map = ["a"]`, `map: must be a map such as { name = "value" }`, ""},
		{`map = { a = ["x"] }`, "map: a: must be one value, not a list", ""},
		{`sizes = { big = "huge" }`, `sizes: big: "huge" is not a size; units are KiB, MiB, GiB (1024) and KB, MB, GB (1000)`, ""},
	} {
		_, diags := decodeValues(c.text)
		all := diags.All()
		if len(all) != 1 || all[0].Warning {
			t.Errorf("%s: %d findings: %v", c.text, len(all), diags.Err())
			continue
		}
		if all[0].Summary != c.summary {
			t.Errorf("%s: got %q, want %q", c.text, all[0].Summary, c.summary)
		}
		if c.detail != "" && all[0].Detail != c.detail {
			t.Errorf("%s: detail %q, want %q", c.text, all[0].Detail, c.detail)
		}
	}
}

// Each element of a list is reported at its own position, and the correct
// elements are kept.
func TestListElements(t *testing.T) {
	v, diags := decodeValues("prefixes = [\n  \"192.0.2.0/24\",\n  \"a\",\n  \"2001:db8::/32\",\n  \"b\",\n]")
	all := diags.All()
	if len(all) != 2 || all[0].Where.Start.Line != 3 || all[1].Where.Start.Line != 5 || all[1].Where.Start.Column != 3 {
		t.Errorf("findings: %v", diags.Err())
	}
	if len(v.Prefixes) != 4 || v.Prefixes[0].String() != "192.0.2.0/24" || v.Prefixes[2].String() != "2001:db8::/32" {
		t.Errorf("kept: %v", v.Prefixes)
	}
}

// A small size without a unit is probably a mistake.
func TestSizeWithoutUnit(t *testing.T) {
	for _, c := range []struct {
		text string
		warn bool
	}{
		{`bytes = 25`, true},
		{`bytes = 999`, true},
		{`bytes = 1000`, false},
		{`bytes = 0`, false},
		{`bytes = "25"`, false},
		{`bytes = "25B"`, false},
	} {
		v, diags := decodeValues(c.text)
		all := diags.All()
		if diags.Err() != nil || (len(all) == 1) != c.warn {
			t.Errorf("%s: %+v", c.text, all)
			continue
		}
		if !c.warn {
			continue
		}
		if !all[0].Warning || !strings.HasSuffix(all[0].Summary, "without a unit is a number of octets") || all[0].Detail == "" || v.Bytes == 0 {
			t.Errorf("%s: %+v, value %d", c.text, all[0], v.Bytes)
		}
	}
}
