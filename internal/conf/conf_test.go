package conf

import (
	"bytes"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

type testConfig struct {
	Pos
	Host  string         `hcl:"hostname"`
	Nets  []netip.Prefix `hcl:"nets,optional"`
	Pass  Secret         `hcl:"password,optional"`
	DNS   *testDNS       `hcl:"dns,block"`
	Doors []*testDoor    `hcl:"smtp,block"`
	Chain []testChain    `hcl:"chain,block"`
}

type testDNS struct {
	Server netip.AddrPort `hcl:"server"`
}

type testDoor struct {
	Pos
	Name   string        `hcl:"name,label"`
	Listen []Listen      `hcl:"listen"`
	Auth   string        `hcl:"auth,optional" enum:"off|optional|required" default:"off"`
	Idle   time.Duration `hcl:"idle,optional" default:"5m"`
	Max    Bytes         `hcl:"max,optional" default:"25MiB"`
	Conns  int           `hcl:"connections,optional" default:"100"`
}

func (d *testDoor) Check() error {
	if d.Conns < 1 {
		return Fieldf("connections", "nobody could connect: use 1 or more")
	}
	return nil
}

type testChain struct {
	Name    string       `hcl:"name,label"`
	Filters []testFilter `hcl:"filter,block"`
}

type testFilter struct {
	Name   string `hcl:"name,label,repeat"`
	Shadow bool   `hcl:"shadow,optional"`
	Body   Body   `hcl:",remain"`
}

func TestDecode(t *testing.T) {
	t.Setenv("TEST_PASS", "secret")
	f := Parse("relay.hcl", []byte(`
hostname = "mail.example.org"
nets     = ["192.0.2.0/24", "2001:db8::1"]
password = env("TEST_PASS")
dns {
  server = "127.0.0.1:53"
}
smtp "a" {
  listen = "127.0.0.1:25"
}
smtp "b" {
  listen      = [":587", "unix:x.sock", "systemd:smtp"]
  auth        = "required"
  idle        = "1h30m"
  max         = "1KiB"
  connections = 7
}
chain "in" {
  filter "x" {
    max = "2KiB"
  }
  filter "x" {
    shadow = true
  }
}
`))
	var c testConfig
	if !f.Decode(&c) {
		t.Fatal(f.Diags.Err())
	}
	if c.Host != "mail.example.org" || len(c.Nets) != 2 || c.Nets[1].Bits() != 128 || string(c.Pass) != "secret" ||
		c.DNS.Server.Port() != 53 {
		t.Errorf("top: %+v", c)
	}
	a, b := c.Doors[0], c.Doors[1]
	if a.Auth != "off" || a.Idle != 5*time.Minute || a.Max != 25<<20 || a.Conns != 100 {
		t.Errorf("defaults: %+v", a)
	}
	if b.Auth != "required" || b.Idle != 90*time.Minute || b.Max != 1024 || b.Conns != 7 || b.Listen[1].Network != "unix" {
		t.Errorf("b: %+v", b)
	}
	if a.Range().Start.Line != 8 || b.Attr("idle").Start.Line != 14 || !b.IsSet("idle") || a.IsSet("idle") {
		t.Errorf("places: %v, %v", a.Range(), b.Attr("idle"))
	}
	var inner struct {
		Max Bytes `hcl:"max,optional" default:"9KiB"`
	}
	filters := c.Chain[0].Filters
	if !filters[0].Body.Decode(&inner) || inner.Max != 2048 {
		t.Errorf("a body decoded later: %v, %v", inner, f.Diags.Err())
	}
	if !filters[1].Body.Decode(&inner) || inner.Max != 9<<10 || !filters[1].Shadow {
		t.Errorf("an attribute of the outer struct: %v", f.Diags.Err())
	}
	if strings.Contains(c.Pass.String(), "secret") {
		t.Error("a secret prints itself")
	}
}

// All mistakes in a file are found in one run, each with a suggested
// correction: testdata/NAME.hcl is the input, testdata/NAME.txt the expected
// output.
func TestMistakes(t *testing.T) {
	files, err := filepath.Glob("testdata/*.hcl")
	if err != nil || len(files) == 0 {
		t.Fatal("no testdata", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			f, err := Load(file)
			if err != nil {
				t.Fatal(err)
			}
			f.Name = filepath.Base(file)
			var c testConfig
			f.Decode(&c)
			for _, chain := range c.Chain {
				for _, filter := range chain.Filters {
					var inner struct {
						Max Bytes `hcl:"max,optional" default:"9KiB"`
					}
					filter.Body.Decode(&inner)
				}
			}
			var out bytes.Buffer
			f.Diags.Write(&out)
			golden := strings.TrimSuffix(file, ".hcl") + ".txt"
			if os.Getenv("UPDATE") != "" {
				os.WriteFile(golden, out.Bytes(), 0o644)
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got := out.String(); got != string(want) {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
			for line := range strings.Lines(out.String()) {
				if len(strings.TrimRight(line, "\n")) > 80 {
					t.Errorf("over 80 columns: %s", line)
				}
			}
		})
	}
}

func FuzzDecode(f *testing.F) {
	seed, _ := filepath.Glob("testdata/*.hcl")
	for _, s := range seed {
		b, _ := os.ReadFile(s)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		if len(src) > 1<<16 {
			return
		}
		file := Parse("fuzz.hcl", src)
		var c testConfig
		file.Decode(&c)
		file.Diags.Write(&bytes.Buffer{})
	})
}
