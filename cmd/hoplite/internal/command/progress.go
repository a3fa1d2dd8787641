package command

import (
	"os"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
)

// Counter returns a progress bar on stderr; it is silent unless that is a
// terminal.
func Counter(cmd *cobra.Command, max int64, what string) *progressbar.ProgressBar {
	out, ok := cmd.ErrOrStderr().(*os.File)
	if !ok {
		return progressbar.DefaultSilent(max, what)
	}
	if st, err := out.Stat(); err != nil || st.Mode()&os.ModeCharDevice == 0 {
		return progressbar.DefaultSilent(max, what)
	}
	return progressbar.NewOptions64(max, progressbar.OptionSetDescription(what), progressbar.OptionSetWriter(out),
		progressbar.OptionShowCount(), progressbar.OptionClearOnFinish(), progressbar.OptionSetWidth(30))
}
