package accounts

import (
	"bufio"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// maxPassword is the maximum length of a password.
const maxPassword = 1024

// readPassword prompts twice on a terminal; otherwise it reads one line.
func readPassword(cmd *cobra.Command, name string) (string, error) {
	in := cmd.InOrStdin()
	if f, ok := in.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return askPassword(cmd.ErrOrStderr(), int(f.Fd()), name)
	}
	line, err := bufio.NewReader(io.LimitReader(in, maxPassword+2)).ReadString('\n')
	if err != nil && err != io.EOF {
		return "", fmt.Errorf("read password: %w", err)
	}
	if line = strings.TrimRight(line, "\r\n"); line == "" {
		return "", errors.New("no password on stdin")
	}
	if len(line) > maxPassword {
		return "", fmt.Errorf("the password is longer than %d octets", maxPassword)
	}
	return line, nil
}

func askPassword(out io.Writer, fd int, name string) (string, error) {
	var typed [2]string
	for i, prompt := range []string{"Password for " + name + ": ", "Again: "} {
		fmt.Fprint(out, prompt)
		b, err := term.ReadPassword(fd)
		fmt.Fprintln(out)
		if err != nil {
			return "", fmt.Errorf("read password: %w", err)
		}
		typed[i] = string(b)
	}
	if typed[0] != typed[1] {
		return "", errors.New("the passwords differ")
	}
	return typed[0], nil
}

// newPassword returns a random password of 16 lower-case letters in groups of
// four, which is easy to type on a phone.
func newPassword() string {
	const letters = "abcdefghijkmnpqrstuvwxyz" // without l and o
	var b strings.Builder
	random := make([]byte, 1)
	for n := 0; n < 16; {
		rand.Read(random)
		if int(random[0]) >= 256/len(letters)*len(letters) {
			continue // keeps every letter equally likely
		}
		if n > 0 && n%4 == 0 {
			b.WriteByte('-')
		}
		b.WriteByte(letters[int(random[0])%len(letters)])
		n++
	}
	return b.String()
}
