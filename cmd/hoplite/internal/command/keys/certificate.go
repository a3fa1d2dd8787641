package keys

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"hoplite/cmd/hoplite/internal/command"
	"hoplite/internal/acme"
	"hoplite/internal/control"
	"hoplite/mail/safe"
)

// Certificate returns the command that shows and renews the listeners'
// certificates.
func Certificate() *cobra.Command {
	cmd := &cobra.Command{Use: "certificate", Short: "List the certificates of the listeners, and renew them"}
	cmd.AddCommand(certificateList(), certificateTLSA(), certificateRenew())
	return cmd
}

// certificateInfo describes a certificate in a file.
type certificateInfo struct {
	Names   []string  `json:"names"`
	Issuer  string    `json:"issuer"`
	Key     string    `json:"key"`
	Expires time.Time `json:"expires"`
	Days    int       `json:"days"` // days until it expires
	File    string    `json:"file"`
	// TLSA is the content of a DANE record for the key (RFC 7672, 3.1.1).
	TLSA string `json:"tlsa"`
}

func certificateList() *cobra.Command {
	cmd := &cobra.Command{
		Use: "list", Short: "List the certificates with their names and dates", Args: cobra.NoArgs,
		Long: `List the certificates of the configuration's certificate blocks and of its acme
block, or the self-signed one. TLSA is the content of a DANE record for
_25._tcp.NAME; publish that of a new key before the key is used.`,
	}
	open := command.SiteFlag(cmd.Flags())
	asJSON := command.JSONFlag(cmd.Flags())
	command.Exits(cmd, "the certificates are listed", "")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := open(cmd, false)
		if err != nil {
			return err
		}
		defer cfg.Close()
		var list []certificateInfo
		var errs []error
		for _, file := range certificateFiles(cfg) {
			info, err := readCertificate(file)
			if err != nil {
				errs = append(errs, err)
				continue
			}
			list = append(list, info)
		}
		if asJSON.On() {
			errs = append(errs, command.List(cmd.OutOrStdout(), asJSON, list))
		} else {
			errs = append(errs, printCertificates(cmd.OutOrStdout(), list))
		}
		return errors.Join(errs...)
	}
	return cmd
}

// certificateFiles returns the files of the certificates in use.
func certificateFiles(cfg *command.Site) []string {
	var list []string
	for _, c := range cfg.Certificate {
		list = append(list, cfg.Under(c.Cert))
	}
	if cfg.ACME != nil {
		for _, keys := range cfg.ACME.Keys {
			if files, err := acme.Files(acme.Folder(cfg.Data, keys)); err == nil {
				list = append(list, files...)
			}
		}
	}
	if own := filepath.Join(cfg.Data, "tls", "self-signed.pem"); len(list) == 0 {
		if _, err := os.Stat(own); err == nil {
			list = append(list, own)
		}
	}
	return list
}

func readCertificate(file string) (certificateInfo, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return certificateInfo{}, err
	}
	for b, rest := pem.Decode(text); b != nil; b, rest = pem.Decode(rest) {
		if b.Type != "CERTIFICATE" {
			continue
		}
		leaf, err := x509.ParseCertificate(b.Bytes)
		if err != nil {
			return certificateInfo{}, fmt.Errorf("%s: %w", file, err)
		}
		sum := sha256.Sum256(leaf.RawSubjectPublicKeyInfo)
		info := certificateInfo{
			Names: leaf.DNSNames, Issuer: leaf.Issuer.CommonName, Key: leaf.PublicKeyAlgorithm.String(), Expires: leaf.NotAfter.UTC(),
			Days: int(time.Until(leaf.NotAfter).Hours() / 24), File: file, TLSA: "3 1 1 " + hex.EncodeToString(sum[:]),
		}
		if leaf.CheckSignatureFrom(leaf) == nil || string(leaf.RawIssuer) == string(leaf.RawSubject) {
			info.Issuer = "self-signed"
		}
		for _, ip := range leaf.IPAddresses {
			info.Names = append(info.Names, ip.String())
		}
		return info, nil
	}
	return certificateInfo{}, fmt.Errorf("%s has no certificate", file)
}

func printCertificates(out io.Writer, list []certificateInfo) error {
	if len(list) == 0 {
		_, err := fmt.Fprintln(out, "No certificate yet: the server makes or obtains one when it starts.")
		return err
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "EXPIRES\tDAYS\tKEY\tISSUER\tNAMES")
	for _, c := range list {
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\n", c.Expires.Format(time.DateOnly), c.Days, c.Key, safe.Line(c.Issuer), safe.Line(strings.Join(c.Names, ", ")))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(out)
	for _, c := range list {
		fmt.Fprintf(out, "%s\n  TLSA %s\n", c.File, c.TLSA)
	}
	return nil
}

func certificateTLSA() *cobra.Command {
	cmd := &cobra.Command{
		Use: "tlsa", Short: "Print the TLSA records to publish for DANE", Args: cobra.NoArgs,
		Long: `Print a TLSA record for port 25 of each name in the certificates, in zone file
format. It names the key (3 1 1): publish the record of a new key for as long as
the TTL of the old record before the key is used, or set reuse_key in the acme
block.`,
	}
	open := command.SiteFlag(cmd.Flags())
	command.Exits(cmd, "the records are printed", "there is no certificate, or one cannot be read")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := open(cmd, false)
		if err != nil {
			return err
		}
		defer cfg.Close()
		var errs []error
		printed := map[string]bool{}
		for _, file := range certificateFiles(cfg) {
			info, err := readCertificate(file)
			if err != nil {
				errs = append(errs, err)
				continue
			}
			for _, name := range info.Names {
				if net.ParseIP(name) != nil || !strings.Contains(name, ".") || strings.HasPrefix(name, "*.") {
					continue
				}
				if line := fmt.Sprintf("_25._tcp.%s. IN TLSA %s", safe.Line(name), info.TLSA); !printed[line] {
					printed[line] = true
					fmt.Fprintln(cmd.OutOrStdout(), line)
				}
			}
		}
		if len(printed) == 0 && len(errs) == 0 {
			errs = append(errs, errors.New("no certificate is for a name in DNS"))
		}
		if err := errors.Join(errs...); err != nil {
			return command.Refused(err)
		}
		return nil
	}
	return cmd
}

func certificateRenew() *cobra.Command {
	cmd := &cobra.Command{
		Use: "renew NAME", Short: "Obtain a new certificate from the authority now", Args: cobra.ExactArgs(1),
		Long: `Renew the certificates of a name of the acme block, although they are not due.
The running server does it and goes on using the old one until the new one is
there; sessions are not disturbed.`,
	}
	open := command.SiteFlag(cmd.Flags())
	command.Exits(cmd, "the new certificate is in use", "the authority refused, or the server is not running")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		cfg, err := open(cmd, true)
		if err != nil {
			return err
		}
		defer cfg.Close()
		err = control.NewClient(cfg.Data).Do(cmd.Context(), http.MethodPost, "/certificate/renew/"+url.PathEscape(args[0]), nil, nil)
		if errors.Is(err, control.ErrNotRunning) {
			return command.Refused(errors.New("the server is not running: it renews certificates when it starts"))
		}
		if err != nil {
			return command.Refused(err)
		}
		fmt.Fprintf(cmd.OutOrStdout(), "A new certificate of %s is in use.\n", args[0])
		return nil
	}
	return cmd
}
