package server

import (
	"fmt"

	"github.com/rs/zerolog"

	"hoplite/cmd/hoplite/internal/config"
	"hoplite/internal/sandbox"
)

// enterSandbox drops the right to write outside the server's own folders. It is
// called when everything is open.
func enterSandbox(cfg *config.Config, log zerolog.Logger) error {
	if !cfg.Sandbox {
		return nil
	}
	folders := cfg.WritableFolders()
	active, err := sandbox.Enter(folders...)
	if err != nil {
		return fmt.Errorf("enter the sandbox (sandbox = false disables it): %w", err)
	}
	log.Debug().Bool("active", active).Strs("folders", folders).Msg("sandbox")
	return nil
}
