package maildrop_test

import (
	"fmt"
	"testing"

	"github.com/rs/zerolog"

	"hoplite/mail"
	"hoplite/mail/hoptest"
	"hoplite/maildrop"
)

func TestMaildropIsAHop(t *testing.T) {
	hoptest.Run(t, func(t *testing.T) hoptest.Hop {
		s, err := maildrop.Open(maildrop.Config{Name: "boxes"}, maildrop.Env{
			Data: t.TempDir(), Log: zerolog.Nop(),
			Account: func(a mail.Address) (maildrop.Account, bool) {
				return maildrop.Account{}, a.Domain() == "example.org"
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		return hoptest.Hop{
			Hop:     s,
			Takes:   func(n int) mail.Address { return mail.Address(fmt.Sprintf("user%d@example.org", n)) },
			Refuses: "stranger@example.com",
		}
	})
}
