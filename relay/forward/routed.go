package forward

import (
	"strings"

	"hoplite/mail"
)

// SourceRouted reports whether the local part of an address names another
// destination that an old server might relay to: user%other.example, other!user
// or "user@other.example", as used to probe for open relays. The full-width and
// small forms of these characters are included, because Unicode normalization
// maps them to the plain ones.
func SourceRouted(a mail.Address) bool {
	return strings.ContainsAny(a.Local(), "%!@\uff05\uff01\uff20\ufe6a\ufe57\ufe6b")
}

// errSourceRouted is the reply to a client that may not relay.
var errSourceRouted = mail.NewReply(550, "5.7.1", "Relay access denied: source-routed address")
