package server

import (
	"errors"
	"testing"

	"github.com/rs/zerolog"

	"hoplite/internal/conf"
	"hoplite/mail"
	"hoplite/maildrop"
)

func TestStoresAreShared(t *testing.T) {
	var s stores
	opened := 0
	open := func() (*maildrop.Store, error) {
		opened++
		var cfg maildrop.Config
		conf.Defaults(&cfg)
		return maildrop.Open(cfg, maildrop.Env{
			Data: t.TempDir(), Log: zerolog.Nop(), NoIndex: true,
			Account: func(mail.Address) (maildrop.Account, bool) { return maildrop.Account{}, true },
		})
	}
	first, err := s.lease("a", open)
	if err != nil {
		t.Fatal(err)
	}
	second, err := s.lease("a", open)
	if err != nil || second != first || opened != 1 {
		t.Errorf("the second lease of a location opened another store: %d, %v", opened, err)
	}
	if other, err := s.lease("b", open); err != nil || other == first {
		t.Errorf("another location has the same store: %v", err)
	}
	if err := s.release("a"); err != nil || len(s.open) != 2 {
		t.Errorf("the first of two leases closed the store: %d open, %v", len(s.open), err)
	}
	if err := s.release("a"); err != nil || len(s.open) != 1 {
		t.Errorf("the last lease left the store open: %d open, %v", len(s.open), err)
	}
	if again, err := s.lease("a", open); err != nil || again == first || opened != 3 {
		t.Errorf("a lease after the last: %d, %v", opened, err)
	}
	if err := s.close(); err != nil {
		t.Error(err)
	}
}

func TestStoreThatCannotBeOpened(t *testing.T) {
	var s stores
	broken := errors.New("broken")
	if _, err := s.lease("a", func() (*maildrop.Store, error) { return nil, broken }); err != broken || len(s.open) != 0 {
		t.Errorf("%v, %d open", err, len(s.open))
	}
}
