package all

import (
	"testing"

	"hoplite/filters"
	"hoplite/internal/conf"
	"hoplite/internal/resolve/resolvetest"
)

// block is a configuration for each filter that needs one.
var block = map[string]string{
	"dnsbl":  "list \"bl.example\" {\n weight = 3\n}",
	"rate":   "limit \"address\" {\n messages = \"100/1h\"\n}",
	"milter": `address = "127.0.0.1:11332"`,
}

// Every filter can be made from a block with its defaults, and has a stage.
func TestKinds(t *testing.T) {
	for _, k := range Kinds {
		t.Run(k.Name, func(t *testing.T) {
			if k.Name == "sign" {
				return // needs a key
			}
			f := conf.Parse("relay.hcl", []byte(block[k.Name]+"\n"))
			cfg := k.Config()
			if !f.Decode(cfg) {
				t.Fatal(f.Diags.Err())
			}
			made, err := k.New(cfg, filters.Env{Hostname: "mail.example.org", Data: t.TempDir(), DNS: resolvetest.MustZone("")})
			if err != nil {
				t.Fatal(err)
			}
			switch made.(type) {
			case filters.Connecter, filters.Mailer, filters.Rcpter, filters.Dataer, filters.Finisher:
			default:
				t.Errorf("%T has no stage", made)
			}
			if found, ok := Find(k.Name); !ok || found.Name != k.Name {
				t.Error("not found by its name")
			}
		})
	}
}
