// Package keys holds the commands for keys and secrets: hoplite dkim for the
// keys that sign mail and their DNS records, hoplite oauth for logins at
// providers, and hoplite certificate for the listeners' certificates.
package keys

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"hoplite/cmd/hoplite/internal/command"
	"hoplite/mail"
	"hoplite/mail/dkim"
)

// Command returns the command hoplite dkim.
func Command() *cobra.Command {
	cmd := &cobra.Command{Use: "dkim", Short: "Make keys that sign mail, and print their DNS records"}
	cmd.AddCommand(dkimKeygen(), dkimRecord())
	return cmd
}

func dkimKeygen() *cobra.Command {
	var selector, kind string
	var bits int
	cmd := &cobra.Command{
		Use: "keygen DOMAIN", Short: "Make a key and print the record to publish", Args: cobra.ExactArgs(1),
		Long: `Make a key in the data folder, dkim/DOMAIN/SELECTOR.pem, and print its DNS
record. Publish the record, wait until DNS returns it, then set domain and
selector in a route's filter "sign". To rotate keys, do the same with a new
selector.`,
		Example: "  hoplite dkim keygen example.org --selector s2026",
	}
	open := command.SiteFlag(cmd.Flags())
	command.Exits(cmd, "the key was made", "the key exists, or cannot be made")
	cmd.Flags().StringVar(&selector, "selector", "s1", "selector, the name of the key")
	cmd.Flags().StringVar(&kind, "type", "rsa", "rsa, or ed25519 for a second key")
	cmd.Flags().IntVar(&bits, "bits", 2048, "size of an RSA key")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		cfg, err := open(cmd, true)
		if err != nil {
			return err
		}
		defer cfg.Close()
		domain, err := keyDomain(args[0], selector)
		if err != nil {
			return command.Refused(err)
		}
		file := dkim.KeyFile(cfg.Data, domain, selector)
		key, err := makeKey(kind, bits)
		if err != nil {
			return command.Refused(err)
		}
		if err := writeKey(file, key); err != nil {
			return command.Refused(err)
		}
		fmt.Fprintf(cmd.ErrOrStderr(), "wrote %s\n", file)
		return printRecord(cmd.OutOrStdout(), domain, selector, key)
	}
	return cmd
}

func dkimRecord() *cobra.Command {
	cmd := &cobra.Command{
		Use: "record DOMAIN [SELECTOR]", Short: "Print the records of a domain's keys", Args: cobra.RangeArgs(1, 2),
	}
	open := command.SiteFlag(cmd.Flags())
	command.Exits(cmd, "the records were printed", "the domain has no key")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		cfg, err := open(cmd, false)
		if err != nil {
			return err
		}
		defer cfg.Close()
		domain, err := keyDomain(args[0], "")
		if err != nil {
			return command.Refused(err)
		}
		pattern := "*"
		if len(args) > 1 {
			pattern = filepath.Base(args[1])
		}
		files, err := filepath.Glob(dkim.KeyFile(cfg.Data, domain, pattern))
		if err != nil || len(files) == 0 {
			return command.Refused(fmt.Errorf("no key for %s: make one with hoplite dkim keygen %s", domain, domain))
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			key, err := dkim.ParsePrivateKey(text)
			if err != nil {
				return command.Refused(fmt.Errorf("%s: %w", file, err))
			}
			if err := printRecord(cmd.OutOrStdout(), domain, strings.TrimSuffix(filepath.Base(file), ".pem"), key); err != nil {
				return err
			}
		}
		return nil
	}
	return cmd
}

// keyDomain validates a domain and a selector, which become file names.
func keyDomain(domain, selector string) (string, error) {
	addr, err := mail.Join("x", domain)
	if err != nil {
		return "", fmt.Errorf("%q: %w", domain, err)
	}
	if selector != "" {
		if _, err := mail.Join("x", selector+".example"); err != nil {
			return "", fmt.Errorf("selector %q: %w", selector, err)
		}
	}
	return addr.ASCIIDomain(), nil
}

func makeKey(kind string, bits int) (crypto.Signer, error) {
	switch kind {
	case "rsa":
		if bits < 1024 || bits > 4096 {
			return nil, fmt.Errorf("RSA key of %d bits: verifiers accept 1024 to 4096, 2048 is usual", bits)
		}
		return rsa.GenerateKey(rand.Reader, bits)
	case "ed25519":
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return key, err
	}
	return nil, fmt.Errorf("key type %q: must be rsa or ed25519", kind)
}

// writeKey writes a new file; it never overwrites a key.
func writeKey(file string, key crypto.Signer) error {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o750); err != nil {
		return err
	}
	f, err := os.OpenFile(file, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	err = pem.Encode(f, &pem.Block{Type: "PRIVATE KEY", Bytes: der})
	if e := f.Close(); err == nil {
		err = e
	}
	return err
}

// printRecord prints a record in zone file format, in strings of at most 255
// octets.
func printRecord(w io.Writer, domain, selector string, key crypto.Signer) error {
	kind := "rsa"
	pub, err := x509.MarshalPKIXPublicKey(key.Public())
	if ed, ok := key.Public().(ed25519.PublicKey); ok {
		kind, pub = "ed25519", ed
	}
	if err != nil {
		return err
	}
	text := "v=DKIM1; k=" + kind + "; p=" + base64.StdEncoding.EncodeToString(pub)
	fmt.Fprintf(w, "%s._domainkey.%s. IN TXT (\n", selector, domain)
	for text != "" {
		n := min(len(text), 250)
		fmt.Fprintf(w, "\t%q\n", text[:n])
		text = text[n:]
	}
	_, err = fmt.Fprintln(w, "\t)")
	return err
}
