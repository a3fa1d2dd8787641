package conftest

import (
	"fmt"
	"reflect"
	"strings"

	"hoplite/internal/conf"
)

// Example returns the smallest block body that can be decoded into config, a
// pointer to a Config: its required attributes, each set to the example that
// error messages and docs/config.md show.
func Example(config any) string {
	var body strings.Builder
	for _, f := range conf.Fields(reflect.TypeOf(config).Elem()) {
		if f.Required && f.Block == nil && !f.Label {
			fmt.Fprintf(&body, "%s = %s\n", f.Name, f.Example)
		}
	}
	return body.String()
}
