package forward

import (
	"fmt"
	"testing"

	"hoplite/mail"
	"hoplite/mail/hoptest"
)

func TestForwardIsAHop(t *testing.T) {
	takes := func(n int) mail.Address { return mail.Address(fmt.Sprintf("user%d@example.org", n)) }
	for name, hop := range map[string]func(*Upstream) mail.Hop{
		"for the queue":           func(u *Upstream) mail.Hop { return u },
		"for a client that waits": func(u *Upstream) mail.Hop { return u.Inline() },
	} {
		t.Run(name, func(t *testing.T) {
			hoptest.Run(t, func(t *testing.T) hoptest.Hop {
				return hoptest.Hop{Hop: hop(upstream(t, []string{newPeer(t, nil).url()}, nil)), Takes: takes}
			})
		})
	}
}
