package web

import (
	"testing"
	"testing/synctest"
	"time"
)

// A session is checked at each request. It ends if its account is removed, its
// password changes, it is idle, or it reaches its maximum age.
func TestSessions(t *testing.T) {
	type state struct {
		admin, gone bool
		stamp       string
	}
	for name, tt := range map[string]struct {
		change func(*state)
		want   Account
		ok     bool
	}{
		"nothing changed":  {func(*state) {}, Account{Name: "ann@a.example"}, true},
		"became an admin":  {func(s *state) { s.admin = true }, Account{Name: "ann@a.example", Admin: true}, true},
		"account removed":  {func(s *state) { s.gone = true }, Account{}, false},
		"another password": {func(s *state) { s.stamp = "2" }, Account{}, false},
	} {
		t.Run(name, func(t *testing.T) {
			st := state{stamp: "1"}
			s := newSessions(time.Hour, func(name string) (Account, string, bool) {
				return Account{Name: name, Admin: st.admin}, st.stamp, !st.gone
			})
			first, second := s.open(Account{Name: "ann@a.example"}), s.open(Account{Name: "ann@a.example"})
			tt.change(&st)
			if a, ok := s.find(first); a != tt.want || ok != tt.ok {
				t.Errorf("%+v, %v", a, ok)
			}
			// The change has ended the other sessions as well, even if it is
			// undone.
			st = state{stamp: "1"}
			if _, ok := s.find(second); ok != tt.ok {
				t.Errorf("the other session: %v", ok)
			}
		})
	}
}

// A session loses a role as soon as the role is removed.
func TestRoleTaken(t *testing.T) {
	admin := true
	s := newSessions(time.Hour, func(name string) (Account, string, bool) { return Account{Name: name, Admin: admin}, "", true })
	token := s.open(Account{Name: "root@a.example", Admin: true})
	admin = false
	if a, ok := s.find(token); !ok || a.Admin {
		t.Errorf("%+v, %v", a, ok)
	}
}

func TestSessionsEnd(t *testing.T) {
	for name, tt := range map[string]struct {
		life, every time.Duration
		most        time.Duration
	}{
		"idle":              {time.Hour, 61 * time.Minute, 0},
		"used all the time": {time.Hour, 30 * time.Minute, 12 * time.Hour},
		"a long idle time":  {24 * time.Hour, time.Hour, 24 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSessions(tt.life, nil)
				token, start, last := s.open(Account{Name: "ann@a.example"}), time.Now(), time.Duration(0)
				for range 100 {
					time.Sleep(tt.every)
					if _, ok := s.find(token); !ok {
						break
					}
					last = time.Since(start)
				}
				if last != tt.most {
					t.Errorf("used until %s, want %s", last, tt.most)
				}
			})
		})
	}
}
