package mail

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Reply is an SMTP reply, from this server or another one. It is the only error
// type whose text reaches the client; its Cause appears only in the log.
type Reply struct {
	Code int `json:"code"` // RFC 5321, 4.2
	// Enhanced is the enhanced status code (RFC 3463), for example 5.1.1. It is
	// empty if there is none.
	Enhanced string `json:"enhanced,omitempty"`
	// Text may consist of several lines, separated by \n.
	Text string `json:"text,omitempty"`
	// Host is the server that sent the reply. It is empty for this server.
	Host  string `json:"host,omitempty"`
	Cause error  `json:"-"`
}

// NewReply returns a reply from this server with formatted text.
func NewReply(code int, enhanced, format string, args ...any) *Reply {
	if len(args) == 0 {
		return &Reply{Code: code, Enhanced: enhanced, Text: format}
	}
	return &Reply{Code: code, Enhanced: enhanced, Text: fmt.Sprintf(format, args...)}
}

// Error returns the reply on one line, followed by its cause.
func (r *Reply) Error() string {
	if r.Cause != nil {
		return r.String() + ": " + r.Cause.Error()
	}
	return r.String()
}

// Unwrap returns the cause.
func (r *Reply) Unwrap() error { return r.Cause }

// String returns the reply on one line, for example "550 5.1.1 no such
// mailbox".
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

// Positive reports whether the reply is 2xx.
func (r *Reply) Positive() bool { return r.Code >= 200 && r.Code < 300 }

// Permanent reports whether the reply is 5xx. All other replies that are not
// positive are temporary, because an unknown reply must not cause a bounce.
func (r *Reply) Permanent() bool { return r.Code >= 500 && r.Code < 600 }

// AsReply returns the Reply in err. Any other error becomes 451 4.3.0 with err
// as its cause, because an unknown error must not cause a bounce. AsReply(nil)
// is nil.
func AsReply(err error) *Reply {
	if err == nil {
		return nil
	}
	if r := (*Reply)(nil); errors.As(err, &r) {
		return r
	}
	return &Reply{Code: 451, Enhanced: "4.3.0", Text: "local error, try again later", Cause: err}
}
