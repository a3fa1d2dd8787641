package conf

import (
	"strings"
	"testing"
	"time"
)

func TestParseRate(t *testing.T) {
	for _, c := range []struct {
		in   string
		want Rate
		out  string
	}{
		{"30/1m", Rate{30, time.Minute}, "30/1m"},
		{" 500/1h ", Rate{500, time.Hour}, "500/1h"},
		{"1/2d", Rate{1, 48 * time.Hour}, "1/2d"},
		{"7/90s", Rate{7, 90 * time.Second}, "7/1m30s"},
		{"0", Rate{}, "0"},
	} {
		got, err := ParseRate(c.in)
		if err != nil || got != c.want || got.String() != c.out {
			t.Errorf("ParseRate(%q) = %v (%v), %v; want %v (%s)", c.in, got, got.String(), err, c.want, c.out)
		}
		if got.Limited() != (c.want != Rate{}) {
			t.Errorf("%q: Limited is %v", c.in, got.Limited())
		}
	}
	for in, want := range map[string]string{
		"500":       `"500" is not a rate; write a number and a duration, "30/1m"`,
		"":          "is not a rate",
		"30/m":      "is not a duration",
		"/1m":       "does not begin with a number",
		"-3/1m":     "does not begin with a number",
		"0/1m":      "does not begin with a number",
		"30/1m/1h":  "is not a duration",
		"30/60":     "has no unit",
		"30/0":      "less than a second",
		"30/10ms":   "less than a second",
		"1.5/1m":    "does not begin with a number",
		"30 / junk": "does not begin with a number",
	} {
		if got, err := ParseRate(in); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseRate(%q) = %v, %v; want an error with %q", in, got, err, want)
		}
	}
}

type renamedConfig struct {
	Certificate []struct {
		Name string `hcl:"name,label,optional"`
	} `hcl:"certificate,block" was:"tls"`
	TellClient string `hcl:"tell_client,optional" was:"client|tell"`
	Limit      Rate   `hcl:"login_rate,optional" default:"500/1h"`
}

func TestFormerNames(t *testing.T) {
	f := Parse("relay.hcl", []byte("tls \"a\" {\n}\nclient = \"xclient\"\ntell = 1\nlogin_rate = 500\n"))
	f.Decode(&renamedConfig{})
	err := f.Diags.Err()
	if err == nil {
		t.Fatal("former names are accepted")
	}
	for _, want := range []string{
		`relay.hcl:1:1: this file has no block "tls"`, `Did you mean "certificate", the new name of "tls"?`,
		`relay.hcl:3:1: this file has no attribute "client"`, `Did you mean "tell_client", the new name of "client"?`,
		`relay.hcl:4:1: `, `the new name of "tell"?`,
		`relay.hcl:5:14: login_rate: "500" is not a rate`, `login_rate = "500/1h"`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in\n%v", want, err)
		}
	}
}
