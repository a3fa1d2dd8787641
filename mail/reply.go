package mail

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Reply is an SMTP reply, ours or another server's, and the one error type
// that speaks to the outside: its text reaches the client, its Cause stays in
// our log.
type Reply struct {
	Code int `json:"code"` // RFC 5321, 4.2
	// Enhanced is the status code of RFC 3463 as 5.1.1, empty if there was
	// none.
	Enhanced string `json:"enhanced,omitempty"`
	// Text may have several lines, parted by \n.
	Text string `json:"text,omitempty"`
	// Host is the server whose words these are; empty for our own.
	Host  string `json:"host,omitempty"`
	Cause error  `json:"-"`
}

// NewReply formats a reply of ours.
func NewReply(code int, enhanced, format string, args ...any) *Reply {
	if len(args) == 0 {
		return &Reply{Code: code, Enhanced: enhanced, Text: format}
	}
	return &Reply{Code: code, Enhanced: enhanced, Text: fmt.Sprintf(format, args...)}
}

// Error is the reply on one line, with its cause.
func (r *Reply) Error() string {
	if r.Cause != nil {
		return r.String() + ": " + r.Cause.Error()
	}
	return r.String()
}

// Unwrap gives the cause.
func (r *Reply) Unwrap() error { return r.Cause }

// String is the reply on one line, as in "550 5.1.1 no such mailbox".
func (r *Reply) String() string {
	code := strconv.Itoa(r.Code)
	if r.Code < 100 {
		code = fmt.Sprintf("%03d", r.Code)
	}
	text := strings.ReplaceAll(r.Text, "\n", " / ")
	if r.Enhanced != "" {
		return strings.TrimRight(code+" "+r.Enhanced+" "+text, " ")
	}
	return strings.TrimRight(code+" "+text, " ")
}

// Positive tells whether the reply is 2xx.
func (r *Reply) Positive() bool { return r.Code >= 200 && r.Code < 300 }

// Permanent tells whether the reply is 5xx. What is neither positive nor
// permanent is temporary: not understood never means a bounce.
func (r *Reply) Permanent() bool { return r.Code >= 500 && r.Code < 600 }

// AsReply finds the Reply in err. An error that holds none is one we do not
// understand: 451 4.3.0, with err as its cause. A nil error gives nil.
func AsReply(err error) *Reply {
	if err == nil {
		return nil
	}
	if r := (*Reply)(nil); errors.As(err, &r) {
		return r
	}
	return &Reply{Code: 451, Enhanced: "4.3.0", Text: "local error, try again later", Cause: err}
}
