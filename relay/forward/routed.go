package forward

import (
	"strings"

	"hoplite/mail"
)

// SourceRouted tells whether the local part of an address names another place
// that an old server might send the mail on to: user%else.example, else!user,
// "user@else.example" (the tricks of old open relays), the signs' wide and small
// forms included, which normalisation turns into them.
func SourceRouted(a mail.Address) bool {
	return strings.ContainsAny(a.Local(), "%!@\uff05\uff01\uff20\ufe6a\ufe57\ufe6b")
}

// errSourceRouted is what a client hears that may not relay.
var errSourceRouted = mail.NewReply(550, "5.7.1", "we do not take mail that is addressed by way of another server")
