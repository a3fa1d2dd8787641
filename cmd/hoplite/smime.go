package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"hoplite/cmd/hoplite/internal/command"
	"hoplite/internal/hold"
	"hoplite/mail"
	"hoplite/mail/smime"
)

// smimeFlags holds the flags of hoplite smime.
type smimeFlags struct {
	json                *command.JSON
	anyRoot             bool
	at, roots           string
	extract, content    string
	foldCase, useSender bool
}

// maxSmimeFile is the maximum size of input that is read into memory.
const maxSmimeFile = 256 << 20

func smimeCommand() *cobra.Command {
	var f smimeFlags
	cmd := &cobra.Command{
		Use:   "smime FILE|-",
		Short: "Show who signed a message, and whether the signature is valid",
		Long: `Smime reads a message (.eml), an S/MIME object (.p7m, .p7s, .p7c, DER) or its
PEM form, and prints for each layer how it is signed or encrypted, by whom, with
which algorithms, and whether that can be trusted. Nothing is decrypted.

Exit status: 0 if the message has a good signature, is encrypted, or has no
S/MIME; 1 if a signature is not valid, or there are findings that are more than
notes; 2 if the file can't be read.`,
		Example: `  hoplite smime mail.eml
  hoplite smime --roots company-ca.pem --at 2026-05-01T12:00:00Z mail.eml
  hoplite smime --any-root --content text.txt signature.p7s
  hoplite smime --json - < mail.eml`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			rep, err := f.check(cmd, args[0])
			if err != nil {
				return err
			}
			if f.json.On() {
				if err := f.json.One(cmd.OutOrStdout(), rep); err != nil {
					return fmt.Errorf("write report: %w", err)
				}
			} else {
				rep.Print(cmd.OutOrStdout())
			}
			if !rep.Fine() {
				return command.Findings
			}
			return nil
		},
	}
	f.json = command.JSONFlag(cmd.Flags())
	cmd.Flags().StringVar(&f.at, "at", "", "validate certificates at this `TIME` (RFC 3339, or a date) instead of now")
	cmd.Flags().StringVar(&f.roots, "roots", "system", "`FILE` or folder of certificates to trust")
	cmd.Flags().BoolVar(&f.anyRoot, "any-root", false, "verify signatures only, not the certificates of the signers")
	cmd.Flags().StringVar(&f.extract, "extract", "", "write signed content and certificates to this `DIR`")
	cmd.Flags().StringVar(&f.content, "content", "", "`FILE` that a detached signature covers")
	cmd.Flags().BoolVar(&f.foldCase, "fold-case", false, "do not report addresses that differ only in case")
	cmd.Flags().BoolVar(&f.useSender, "sender", false, "accept a signature by the address in Sender")
	return cmd
}

func (f *smimeFlags) check(cmd *cobra.Command, name string) (*smime.Report, error) {
	checker := &smime.Checker{AnyRoot: f.anyRoot, FoldCase: f.foldCase, Sender: f.useSender, Inside: true}
	var err error
	if checker.At, err = parseTime(f.at); err != nil {
		return nil, err
	}
	if checker.Trust, err = smime.NewTrust(f.roots); err != nil {
		return nil, err
	}
	if f.extract != "" {
		if err := os.MkdirAll(f.extract, 0o750); err != nil {
			return nil, fmt.Errorf("create folder for extracted files: %w", err)
		}
		checker.Extract = func(name string) (io.WriteCloser, error) {
			// O_EXCL: existing files are not overwritten, and links are not followed.
			return os.OpenFile(filepath.Join(f.extract, name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o640)
		}
	}
	msg, size, done, err := openInput(cmd.InOrStdin(), name)
	if err != nil {
		return nil, err
	}
	defer done()
	if size == 0 {
		return nil, fmt.Errorf("%s is empty", name)
	}
	head := make([]byte, min(size, 64<<10))
	if n, err := msg.ReadAt(head, 0); n < len(head) {
		return nil, fmt.Errorf("read message: %w", err)
	}
	if smime.IsMessage(head) {
		if f.content != "" {
			return nil, errors.New("--content is for a detached signature in a separate file, not for a message")
		}
		if !startsWithField(head) {
			return nil, fmt.Errorf("%s is neither a message nor a CMS object (.p7m, .p7s)", name)
		}
		return checker.Message(cmd.Context(), msg, size)
	}
	var content io.Reader
	if f.content != "" {
		c, err := os.Open(f.content)
		if err != nil {
			return nil, fmt.Errorf("read content: %w", err)
		}
		defer c.Close()
		content = c
	}
	return checker.Object(cmd.Context(), io.NewSectionReader(msg, 0, size), content)
}

// startsWithField reports whether a text begins with a header field or the From
// line of an mbox.
func startsWithField(text []byte) bool {
	text = bytes.TrimLeft(text, " \t\r\n")
	if bytes.HasPrefix(text, []byte("From ")) {
		return true
	}
	for f := range mail.Fields(text) {
		return f.Name != ""
	}
	return false
}

// openInput opens a file, or buffers stdin for "-", for reading at any offset.
func openInput(stdin io.Reader, name string) (msg io.ReaderAt, size int64, done func(), err error) {
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, 0, nil, fmt.Errorf("read message: %w", err)
		}
		if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
			return f, info.Size(), func() { f.Close() }, nil
		}
		defer f.Close()
		stdin = f
	}
	h := hold.New("")
	n, err := io.Copy(h, io.LimitReader(stdin, maxSmimeFile+1))
	if err == nil && n > maxSmimeFile {
		err = fmt.Errorf("larger than %d MiB", maxSmimeFile>>20)
	}
	if err != nil {
		h.Close()
		return nil, 0, nil, fmt.Errorf("read message: %w", err)
	}
	return h, n, h.Close, nil
}

// readInput reads a file, or stdin for "-".
func readInput(stdin io.Reader, name string) ([]byte, error) {
	r := stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, fmt.Errorf("read message: %w", err)
		}
		defer f.Close()
		r = f
	}
	b, err := io.ReadAll(io.LimitReader(r, maxSmimeFile+1))
	if err != nil {
		return nil, fmt.Errorf("read message: %w", err)
	}
	if len(b) > maxSmimeFile {
		return nil, fmt.Errorf("read message: larger than %d MiB", maxSmimeFile>>20)
	}
	return b, nil
}

// parseTime parses a time or a date; "" is the zero time.
func parseTime(s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02 15:04", time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is not a time: write 2026-05-01T12:00:00Z or 2026-05-01", s)
}
