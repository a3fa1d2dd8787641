package check

import (
	"io"

	"hoplite/cmd/hoplite/internal/config"
	"hoplite/internal/conf"
)

// Report prints the result and reports whether there is no mistake.
func Report(w io.Writer, cfg *config.Config, file *conf.File) bool {
	r := Run(cfg, file)
	r.Print(w)
	return r.Mistakes == 0
}
