package server

import (
	"errors"
	"fmt"
	"sync"

	"hoplite/maildrop"
)

// stores holds the open maildrops. Generations whose maildrops have the same
// location share one store, because two stores would have separate states for
// the same folders.
type stores struct {
	mu   sync.Mutex
	open map[string]*leasedStore // by maildrop.Location
}

type leasedStore struct {
	*maildrop.Store
	leases int // number of generations that use the store
}

// lease returns the store at path. The first lease opens it.
func (s *stores) lease(path string, open func() (*maildrop.Store, error)) (*maildrop.Store, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.open[path]
	if l == nil {
		store, err := open()
		if err != nil {
			return nil, err
		}
		l = &leasedStore{Store: store}
		if s.open == nil {
			s.open = map[string]*leasedStore{}
		}
		s.open[path] = l
	}
	l.leases++
	return l.Store, nil
}

// release ends a lease. After the last one, the store is closed when all
// running deliveries to it have finished.
func (s *stores) release(path string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.open[path]
	if l.leases--; l.leases > 0 {
		return nil
	}
	delete(s.open, path)
	if err := l.Retire(); err != nil {
		return fmt.Errorf("close maildrop %s: %w", path, err)
	}
	return nil
}

// close closes every store, leased or not.
func (s *stores) close() error {
	var errs []error
	for path, l := range s.open {
		if err := l.Close(); err != nil {
			errs = append(errs, fmt.Errorf("close maildrop %s: %w", path, err))
		}
	}
	return errors.Join(errs...)
}
