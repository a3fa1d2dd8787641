package authority

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// errRefused means that the server knows that a name and password do not
// belong together. Every other error means that it could not be asked.
var errRefused = errors.New("the server refused the login")

// replyError is a reply to a login that is no verdict on the password. Other
// logins may be answered.
type replyError struct{ text string }

func (e *replyError) Error() string { return e.text }

// temporary are the response codes of IMAP (RFC 5530) with which a server
// refuses a login although the password may be correct.
var temporary = []string{"UNAVAILABLE", "INUSE", "LIMIT", "SERVERBUG", "CONTACTADMIN", "PRIVACYREQUIRED", "CLIENTBUG", "CANNOT"}

// imapVerdict returns the meaning of the tagged response to a login.
func imapVerdict(response string) error {
	status, text, _ := strings.Cut(response, " ")
	switch strings.ToUpper(status) {
	case "OK":
		return nil
	case "NO":
		code := ""
		if inside, ok := strings.CutPrefix(text, "["); ok {
			code, _, _ = strings.Cut(inside, "]")
			code, _, _ = strings.Cut(code, " ")
		}
		if !slices.Contains(temporary, strings.ToUpper(code)) {
			return errRefused
		}
	}
	return &replyError{"unexpected response to the login: " + response}
}

// smtpVerdict returns the meaning of the reply to a login (RFC 4954, 6). Replies
// such as 504 and 538 are about the mechanism, not about the password.
func smtpVerdict(code int, text string) error {
	switch code {
	case 235:
		return nil
	case 534, 535, 525: // 525: account disabled (RFC 5248)
		return errRefused
	case 421: // the server closes the connection
		return fmt.Errorf("unexpected reply to the login: 421 %s", text)
	}
	return &replyError{fmt.Sprintf("unexpected reply to the login: %d %s", code, text)}
}
