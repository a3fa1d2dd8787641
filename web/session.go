package web

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"net/http"
	"sync"
	"time"
)

const (
	sessionCookie = "hoplite_session"
	formCookie    = "hoplite_form"
	maxSessions   = 1000
)

// maxLife is the maximum duration of a login, even if it is active, unless
// session_time is longer.
const maxLife = 12 * time.Hour

// sessions holds the logins of this process. The key is a hash of the cookie,
// so the duration of a look-up reveals nothing about the cookie.
type sessions struct {
	life    time.Duration
	current func(name string) (a Account, stamp string, ok bool) // see Env.Account; may be nil
	mu      sync.Mutex
	by      map[[32]byte]*session
}

type session struct {
	account Account
	stamp   string
	until   time.Time // expiry if the session is not used before
	end     time.Time // expiry even if the session is used
}

func newSessions(life time.Duration, current func(string) (Account, string, bool)) *sessions {
	if life <= 0 {
		life = time.Hour
	}
	return &sessions{life: life, current: current, by: map[[32]byte]*session{}}
}

func (s *sessions) open(a Account) string {
	token, stamp := random(), ""
	if s.current != nil {
		_, stamp, _ = s.current(a.Name)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	for k, v := range s.by {
		if v.over(now) || len(s.by) >= maxSessions {
			delete(s.by, k)
		}
	}
	s.by[sha256.Sum256([]byte(token))] = &session{a, stamp, now.Add(s.life), now.Add(max(s.life, maxLife))}
	return token
}

func (s *sessions) find(token string) (Account, bool) {
	key := sha256.Sum256([]byte(token))
	s.mu.Lock()
	defer s.mu.Unlock()
	v, ok := s.by[key]
	if !ok {
		return Account{}, false
	}
	now := time.Now()
	if v.over(now) {
		delete(s.by, key)
		return Account{}, false
	}
	if s.current != nil {
		a, stamp, ok := s.current(v.account.Name)
		if !ok || stamp != v.stamp {
			s.closeOf(v.account.Name)
			return Account{}, false
		}
		v.account = a
	}
	v.until = now.Add(s.life)
	return v.account, true
}

// over reports whether the session has been idle for too long or has reached
// its maximum age.
func (v *session) over(now time.Time) bool { return now.After(v.until) || now.After(v.end) }

// closeOf ends all sessions of an account that no longer exists or whose
// password has changed. The caller must hold the lock.
func (s *sessions) closeOf(name string) {
	for k, v := range s.by {
		if v.account.Name == name {
			delete(s.by, k)
		}
	}
}

func (s *sessions) close(token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.by, sha256.Sum256([]byte(token)))
}

func random() string {
	var b [24]byte
	rand.Read(b[:])
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// account returns the logged-in account.
func (s *Server) account(r *http.Request) (Account, bool) {
	c, err := r.Cookie(sessionCookie)
	if err != nil {
		return Account{}, false
	}
	return s.sessions.find(c.Value)
}

func (s *Server) cookie(r *http.Request, name, value string) *http.Cookie {
	return &http.Cookie{Name: name, Value: value, Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode, Secure: s.viaTLS(r)}
}

// token returns the value that forms from this visitor must contain. It is
// signed with the server's secret and bound to a cookie that no other site can
// read or set.
func (s *Server) token(w http.ResponseWriter, r *http.Request) string {
	c, err := r.Cookie(formCookie)
	if err != nil || len(c.Value) != 32 {
		c = s.cookie(r, formCookie, random())
		http.SetCookie(w, c)
	}
	return s.sign(c.Value)
}

func (s *Server) sign(cookie string) string {
	m := hmac.New(sha256.New, s.secret[:])
	m.Write([]byte(cookie))
	return base64.RawURLEncoding.EncodeToString(m.Sum(nil))
}

// formed reports whether the request carries a valid form token.
func (s *Server) formed(r *http.Request) bool {
	c, err := r.Cookie(formCookie)
	return err == nil && subtle.ConstantTimeCompare([]byte(r.PostFormValue("token")), []byte(s.sign(c.Value))) == 1
}

func (s *Server) loginPage(w http.ResponseWriter, r *http.Request) {
	if s.env.Login == nil {
		s.fail(w, r, http.StatusNotFound, "This server has no accounts.")
		return
	}
	if why := s.mayLogin(r); why != "" { // before the user enters a password
		s.fail(w, r, http.StatusForbidden, why)
		return
	}
	s.render(w, r, http.StatusOK, "login.html", "Log in", nil)
}

func (s *Server) login(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 16<<10)
	if why := s.mayLogin(r); why != "" {
		s.fail(w, r, http.StatusForbidden, why)
		return
	}
	if s.env.Login == nil || !s.formed(r) {
		s.fail(w, r, http.StatusForbidden, "This form has expired. Go back, reload the page and try again.")
		return
	}
	acc, err := s.env.Login(r.Context(), s.loginAddr(r), r.PostFormValue("name"), r.PostFormValue("password"))
	switch {
	case errors.Is(err, ErrLogin):
		s.render(w, r, http.StatusForbidden, "login.html", "Log in", failure("Wrong name or password."))
		return
	case err != nil:
		s.render(w, r, http.StatusServiceUnavailable, "login.html", "Log in", failure("Login is not possible at the moment: "+err.Error()+"."))
		return
	}
	http.SetCookie(w, s.cookie(r, sessionCookie, s.sessions.open(acc)))
	http.SetCookie(w, s.cookie(r, formCookie, random()))
	http.Redirect(w, r, "/story", http.StatusSeeOther)
}

func (s *Server) logout(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 16<<10)
	if !s.formed(r) {
		s.fail(w, r, http.StatusForbidden, "This form has expired. Go back, reload the page and try again.")
		return
	}
	if c, err := r.Cookie(sessionCookie); err == nil {
		s.sessions.close(c.Value)
	}
	gone := s.cookie(r, sessionCookie, "")
	gone.MaxAge = -1
	http.SetCookie(w, gone)
	http.Redirect(w, r, "/", http.StatusSeeOther)
}
