package conf

import (
	"net/netip"
	"reflect"
	"testing"
	"time"
)

func TestFields(t *testing.T) {
	type inner struct{}
	type config struct {
		Pos
		Name    string           `hcl:"name,label"`
		Idle    time.Duration    `hcl:"idle,optional" default:"5m"`
		Nets    []netip.Prefix   `hcl:"nets,optional"`
		DNS     []netip.AddrPort `hcl:"dns"`
		Bind    []Listen         `hcl:"bind,optional"`
		Words   []string         `hcl:"words,optional" default:"a, b"`
		Mode    string           `hcl:"mode,optional" enum:"on|off|" example:"on"`
		Open    bool             `hcl:"open,optional"`
		Workers int              `hcl:"workers,optional"`
		Limit   Rate             `hcl:"limit,optional"`
		Inner   []*inner         `hcl:"inner,block"`
		Rest    Body             `hcl:",remain"`
	}
	want := []FieldInfo{
		{Name: "name", GoName: "Name", Label: true},
		{Name: "idle", GoName: "Idle", Type: "duration", Default: `"5m"`, Example: `"5m"`},
		{Name: "nets", GoName: "Nets", Type: "list of networks", Example: `["192.0.2.0/24"]`, List: true},
		{Name: "dns", GoName: "DNS", Type: "list of IP addresses with ports", Example: `["192.0.2.1:53"]`, List: true, Required: true},
		{Name: "bind", GoName: "Bind", Type: "list of listen addresses", Example: `["127.0.0.1:2525"]`, List: true},
		{Name: "words", GoName: "Words", Type: "list of strings", Default: `["a", "b"]`, Example: `["a", "b"]`, List: true},
		{Name: "mode", GoName: "Mode", Type: "string", Enum: []string{"on", "off"}, Example: `"on"`, HasExample: true},
		{Name: "open", GoName: "Open", Type: "boolean", Default: "false", Example: "true"},
		{Name: "workers", GoName: "Workers", Type: "integer", Default: "0", Example: "10"},
		{Name: "limit", GoName: "Limit", Type: "rate", Example: `"30/1m"`},
		{Name: "inner", GoName: "Inner", Block: reflect.TypeFor[inner]()},
	}
	got := Fields(reflect.TypeFor[config]())
	if len(got) != len(want) {
		t.Fatalf("%d fields, want %d: %+v", len(got), len(want), got)
	}
	for i := range want {
		if !reflect.DeepEqual(got[i], want[i]) {
			t.Errorf("got  %+v\nwant %+v", got[i], want[i])
		}
	}
}

// Each type has a name for error messages and the reference.
func TestKindNames(t *testing.T) {
	for _, c := range []struct {
		value any
		want  string
	}{
		{time.Duration(0), "duration"},
		{Bytes(0), "size"},
		{Rate{}, "rate"},
		{netip.Prefix{}, "network"},
		{netip.Addr{}, "IP address"},
		{netip.AddrPort{}, "IP address with port"},
		{Listen{}, "listen address"},
		{Secret(""), "secret"},
		{"", "string"},
		{false, "boolean"},
		{0, "integer"},
		{uint16(0), "integer"},
		{0.0, "number"},
		{map[string]string{}, "map of strings"},
		{[]string{}, "list of strings"},
		{[]netip.Addr{}, "list of IP addresses"},
		{[]netip.AddrPort{}, "list of IP addresses with ports"},
		{[]Listen{}, "list of listen addresses"},
	} {
		if got := kindName(reflect.TypeOf(c.value)); got != c.want {
			t.Errorf("%T is called %q, want %q", c.value, got, c.want)
		}
	}
}
