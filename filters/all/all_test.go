package all

import (
	"testing"

	"hoplite/filters"
	"hoplite/internal/conf"
	"hoplite/internal/conf/conftest"
	"hoplite/internal/resolve/resolvetest"
)

// bodies holds block bodies for filters whose Check needs more than the
// required attributes. TestKinds sets the required attributes to their
// examples.
var bodies = map[string]string{
	"dnsbl": "list \"bl.example\" {\n weight = 3\n}",
	"rate":  "limit \"address\" {\n messages = \"100/1h\"\n}",
}

// needsFiles lists the filters that need files, such as a key. Their own
// packages test New.
var needsFiles = map[string]bool{"sign": true}

// body returns the body of the smallest block that configures a filter.
func body(k filters.Kind) string {
	if b, ok := bodies[k.Name]; ok {
		return b
	}
	return conftest.Example(k.Config())
}

// Every filter can be created from its smallest block, and implements a stage.
func TestKinds(t *testing.T) {
	for _, k := range Kinds {
		t.Run(k.Name, func(t *testing.T) {
			if found, ok := Find(k.Name); !ok || found.Name != k.Name {
				t.Error("Find does not find it: is the name used twice in Kinds?")
			}
			if needsFiles[k.Name] {
				return
			}
			cfg := k.Config()
			f := conf.Parse("relay.hcl", []byte(body(k)+"\n"))
			if !f.Decode(cfg) {
				t.Fatalf("filter %q can't be configured by\n\n%s\n%v\n\n"+
					"This block sets every required attribute to its example. Give each required\n"+
					"field of the Config a valid example:\"...\" tag; if Check wants more than that,\n"+
					"add a block to bodies in filters/all/all_test.go.", k.Name, body(k), f.Diags.Err())
			}
			made, err := k.New(cfg, filters.Env{Hostname: "mail.example.org", Data: t.TempDir(), DNS: resolvetest.MustZone("")})
			if err != nil {
				t.Fatalf("New of filter %q: %v\n\n"+
					"New must succeed on a block that passes Check. If the filter needs a file, add its\n"+
					"name to needsFiles in filters/all/all_test.go and test New in its own package.", k.Name, err)
			}
			switch made.(type) {
			case filters.Connecter, filters.Mailer, filters.Rcpter, filters.Dataer, filters.Finisher:
			default:
				t.Errorf("%T has no stage: give it a method AtConnect, AtMail, AtRcpt, AtData or AtSend\n"+
					"with the signature in filters/filters.go.", made)
			}
		})
	}
}
