package authority

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// smtpDialogue is a connection to a submission server (RFC 4954).
type smtpDialogue struct {
	*line
	mechanisms []string
	startTLS   bool
}

// openSMTP reads the greeting and starts TLS.
func openSMTP(ctx context.Context, l *line) (dialogue, error) {
	d := &smtpDialogue{line: l}
	if code, text, err := d.reply(); err != nil || code != 220 {
		return nil, errors.Join(err, fmt.Errorf("unexpected greeting: %d %s", code, text))
	}
	if err := d.ehlo(); err != nil {
		return nil, err
	}
	if !l.secure && d.startTLS && !l.isLocal() {
		if code, text, err := d.command("STARTTLS"); err != nil || code != 220 {
			return nil, errors.Join(err, fmt.Errorf("STARTTLS: %d %s", code, text))
		}
		if err := l.encrypt(ctx); err != nil {
			return nil, err
		}
		if err := d.ehlo(); err != nil {
			return nil, err
		}
	}
	return d, l.mayLogin()
}

func (d *smtpDialogue) ehlo() error {
	d.mechanisms, d.startTLS = nil, false
	code, text, err := d.command("EHLO " + d.helo)
	if err != nil {
		return err
	}
	if code != 250 {
		return fmt.Errorf("EHLO: %d %s", code, text)
	}
	for line := range strings.Lines(text) {
		words := strings.Fields(strings.ToUpper(line))
		switch {
		case len(words) == 0:
		case words[0] == "STARTTLS":
			d.startTLS = true
		case words[0] == "AUTH":
			d.mechanisms = words[1:]
		}
	}
	return nil
}

// login sends the password by PLAIN, or else by LOGIN.
func (d *smtpDialogue) login(user, password string) error {
	encode := base64.StdEncoding.EncodeToString
	var lines []string
	switch {
	case slices.Contains(d.mechanisms, "PLAIN"):
		lines = []string{"AUTH PLAIN " + encode([]byte("\x00"+user+"\x00"+password))}
	case slices.Contains(d.mechanisms, "LOGIN"):
		lines = []string{"AUTH LOGIN", encode([]byte(user)), encode([]byte(password))}
	default:
		return errors.New("the server offers neither AUTH PLAIN nor LOGIN")
	}
	for i, line := range lines {
		code, text, err := d.command(line)
		switch {
		case err != nil:
			return err
		case code == 334 && i < len(lines)-1:
			continue
		}
		return smtpVerdict(code, text)
	}
	return nil
}

func (d *smtpDialogue) command(text string) (code int, reply string, err error) {
	if err := d.write(text); err != nil {
		return 0, "", err
	}
	return d.reply()
}

// reply reads one reply. Its lines are separated by LF.
func (d *smtpDialogue) reply() (code int, text string, err error) {
	var b strings.Builder
	for {
		got, err := d.read()
		if err != nil {
			return 0, "", err
		}
		n, bad := strconv.Atoi(got[:min(3, len(got))])
		if bad != nil || n < 200 || n > 599 || len(got) > 3 && got[3] != ' ' && got[3] != '-' {
			return 0, "", fmt.Errorf("not an SMTP reply: %.100s", got)
		}
		if len(got) > 4 {
			b.WriteString(got[4:] + "\n")
		}
		if len(got) == 3 || got[3] == ' ' {
			return n, strings.TrimSuffix(b.String(), "\n"), nil
		}
	}
}

func (d *smtpDialogue) quit() { d.write("QUIT") }
