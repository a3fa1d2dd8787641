package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hoplite/internal/conf"
)

// Whatever a configuration contains, it can be read and its errors printed. A
// text without errors stays so when it is read again.
func FuzzRead(f *testing.F) {
	files, err := filepath.Glob("../check/testdata/*.hcl")
	if err != nil || len(files) == 0 {
		f.Fatal(files, err)
	}
	for _, name := range append(files, "../../../../relay.hcl") {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		if len(src) > 64<<10 {
			return
		}
		read := func() string {
			file := conf.Parse("fuzz.hcl", src)
			cfg := &Config{}
			file.Decode(cfg)
			cfg.complete("fuzz.hcl")
			cfg.Names()
			cfg.Listeners()
			cfg.MailListeners()
			var out strings.Builder
			file.Diags.Write(&out)
			return out.String()
		}
		if first, again := read(), read(); first != again {
			t.Fatalf("%q and then %q", first, again)
		}
	})
}
