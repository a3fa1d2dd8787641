package authority

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// imapDialogue is a connection to an IMAP server (RFC 3501, 9051).
type imapDialogue struct {
	*line
	n    int
	caps []string
	next string // the answer to a continuation request
}

// openIMAP reads the greeting and starts TLS.
func openIMAP(ctx context.Context, l *line) (dialogue, error) {
	greeting, err := l.read()
	if err != nil {
		return nil, fmt.Errorf("greeting: %w", err)
	}
	if !hasPrefix(greeting, "* OK") { // PREAUTH would prove nothing about a password
		return nil, fmt.Errorf("unexpected greeting: %s", greeting)
	}
	d := &imapDialogue{line: l}
	if err := d.capability(); err != nil {
		return nil, err
	}
	if !l.secure && slices.Contains(d.caps, "STARTTLS") && !l.isLocal() {
		if response, err := d.command("STARTTLS", nil); err != nil || !hasPrefix(response, "OK") {
			return nil, errors.Join(err, fmt.Errorf("STARTTLS: %s", response))
		}
		if err := l.encrypt(ctx); err != nil {
			return nil, err
		}
		if err := d.capability(); err != nil {
			return nil, err
		}
	}
	return d, l.mayLogin()
}

func (d *imapDialogue) capability() error {
	d.caps = nil
	response, err := d.command("CAPABILITY", func(untagged string) {
		if hasPrefix(untagged, "CAPABILITY ") {
			d.caps = strings.Fields(strings.ToUpper(untagged))
		}
	})
	if err == nil && !hasPrefix(response, "OK") {
		err = fmt.Errorf("CAPABILITY: %s", response)
	}
	return err
}

// login sends the password by AUTHENTICATE PLAIN, or else by LOGIN.
func (d *imapDialogue) login(user, password string) error {
	if slices.Contains(d.caps, "AUTH=PLAIN") {
		d.next = base64.StdEncoding.EncodeToString([]byte("\x00" + user + "\x00" + password))
		response, err := d.command("AUTHENTICATE PLAIN", nil)
		if err != nil {
			return err
		}
		return imapVerdict(response)
	}
	if slices.Contains(d.caps, "LOGINDISABLED") {
		return errors.New("the server accepts no passwords on this connection (LOGINDISABLED)")
	}
	response, err := d.command("LOGIN "+quote(user)+" "+quote(password), nil)
	if err != nil {
		return err
	}
	return imapVerdict(response)
}

// command sends a command and returns its tagged response without the tag.
func (d *imapDialogue) command(text string, untagged func(string)) (string, error) {
	d.n++
	tag := fmt.Sprintf("h%d", d.n)
	verb, _, _ := strings.Cut(text, " ")
	if err := d.write(tag + " " + text); err != nil {
		return "", fmt.Errorf("%s: %w", verb, err)
	}
	for {
		got, err := d.read()
		switch {
		case err != nil:
			return "", fmt.Errorf("%s: %w", verb, err)
		case hasPrefix(got, tag+" "):
			return got[len(tag)+1:], nil
		case strings.HasPrefix(got, "+"):
			if d.next == "" {
				return "", fmt.Errorf("%s: the server asks for more", verb)
			}
			if err := d.write(d.next); err != nil {
				return "", fmt.Errorf("%s: %w", verb, err)
			}
			d.next = ""
		case hasPrefix(got, "* ") && untagged != nil:
			untagged(got[2:])
		}
	}
}

func (d *imapDialogue) quit() { d.write("q LOGOUT") }

// quote returns a quoted string.
func quote(s string) string { return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"` }

// hasPrefix reports whether s begins with prefix, in any case.
func hasPrefix(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}
