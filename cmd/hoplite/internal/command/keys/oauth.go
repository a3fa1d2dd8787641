package keys

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"hoplite/cmd/hoplite/internal/command"
	"hoplite/internal/conf"
	"hoplite/internal/oauth"
	"hoplite/relay/forward"
)

// OAuth returns the command that logs in at providers and tests the logins of
// upstreams.
func OAuth() *cobra.Command {
	cmd := &cobra.Command{Use: "oauth", Short: "Log in at providers that require OAuth, and test such logins"}
	cmd.AddCommand(oauthLogin(), oauthTest())
	return cmd
}

func oauthLogin() *cobra.Command {
	cmd := &cobra.Command{
		Use: "login UPSTREAM", Short: "Log in as the user of an upstream in a browser", Args: cobra.ExactArgs(1),
		Long: `Print the page of the provider and a code. Open the page in any browser, enter
the code and log in as the user of the upstream's auth block. The command waits
for that and stores the token in the data folder, where the running server finds
it.

A provider without device codes, such as Google, shows a page of its own: after
the login the browser is sent to an address on this machine that it can't open.
Copy this address from the browser and paste it here.`,
		Example: "  hoplite oauth login microsoft",
	}
	open := command.SiteFlag(cmd.Flags())
	command.Exits(cmd, "the login is stored", "the login failed")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		cfg, err := open(cmd, true)
		if err != nil {
			return err
		}
		defer cfg.Close()
		_, app, user, err := oauthUpstream(cfg, args[0])
		if err != nil {
			return command.Refused(err)
		}
		if err := os.MkdirAll(cfg.Under("state"), 0o750); err != nil {
			return err
		}
		out, in := cmd.OutOrStdout(), cmd.InOrStdin()
		expires, err := oauth.Login(cmd.Context(), app, oauth.Env{Name: args[0], User: user, Data: cfg.Data, Log: zerolog.Nop()}, oauth.Prompt{
			Code: func(page, code string, until time.Time) {
				fmt.Fprintf(out, "Open %s\nand enter the code %s as %s.\n", page, code, user)
				if !until.IsZero() {
					fmt.Fprintf(out, "The code is valid until %s.\n", until.Local().Format("15:04"))
				}
			},
			Page: func(page string) (string, error) {
				fmt.Fprintf(out, "Open this page and log in as %s:\n\n%s\n\nThe browser is then sent to an address that it can't open. Paste the address:\n", user, page)
				return bufio.NewReader(in).ReadString('\n')
			},
		})
		if err != nil {
			return command.Refused(fmt.Errorf("login for upstream %s: %w", args[0], err))
		}
		fmt.Fprintf(out, "Logged in. The first token expires at %s and is renewed by itself.\n", expires.Local().Format("2006-01-02 15:04"))
		return nil
	}
	return cmd
}

func oauthTest() *cobra.Command {
	cmd := &cobra.Command{
		Use: "test UPSTREAM", Short: "Obtain a token and log in at the upstream with it", Args: cobra.ExactArgs(1),
		Long: `Obtain an access token as the server does, then log in at the upstream's
servers with it. No mail is sent, and the token is not shown.`,
		Example: "  hoplite oauth test microsoft",
	}
	open := command.SiteFlag(cmd.Flags())
	command.Exits(cmd, "the login was successful", "there is no token, or the upstream refused it")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		cfg, err := open(cmd, false)
		if err != nil {
			return err
		}
		defer cfg.Close()
		block, _, _, err := oauthUpstream(cfg, args[0])
		if err != nil {
			return command.Refused(err)
		}
		up, err := forward.New(*block, forward.Env{Hostname: cfg.Hostname, Data: cfg.Data, Log: zerolog.Nop()})
		if err != nil {
			return command.Refused(err)
		}
		defer up.Close()
		return tryOAuth(cmd.Context(), cmd.OutOrStdout(), up)
	}
	return cmd
}

// tryOAuth obtains a token and logs in with it.
func tryOAuth(ctx context.Context, out io.Writer, up *forward.Upstream) error {
	if _, err := up.Tokens().Token(ctx); err != nil {
		return command.Refused(fmt.Errorf("no access token: %w", err))
	}
	fmt.Fprintf(out, "An access token was obtained; it expires at %s.\n", up.Tokens().Expires().Local().Format("2006-01-02 15:04:05"))
	if err := up.Ping(ctx, ""); err != nil {
		return command.Refused(fmt.Errorf("the login failed: %w", err))
	}
	fmt.Fprintln(out, "The login at the upstream was successful.")
	return nil
}

// oauthUpstream returns the block of an upstream that uses OAuth, with its
// application and user.
func oauthUpstream(cfg *command.Site, name string) (*forward.Config, oauth.Config, string, error) {
	var known []string
	for _, u := range cfg.Upstream {
		app, user, ok := u.OAuth()
		if ok && u.Name == name {
			return u, app, user, nil
		}
		if ok {
			known = append(known, u.Name)
		}
	}
	if len(known) == 0 {
		return nil, oauth.Config{}, "", errors.New("no upstream has an oauth2 block")
	}
	return nil, oauth.Config{}, "", fmt.Errorf("no upstream with an oauth2 block is called %q. %s", name, conf.Known(name, known, ""))
}
