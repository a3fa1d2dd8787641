// Package web serves pages for browsers: a pasted header as a waterfall of its
// hops, the history of a message that passed through this server, and a dry run
// of the filter chain.
//
// Pages are rendered on the server and need no script; nothing is loaded from
// elsewhere, and the content security policy allows no script at all. Text from
// messages goes through mail/safe and html/template. The content comes from
// mail/trace and mail/story; this package is responsible only for its
// presentation and for logins. Start with Handler.
package web

import (
	"context"
	"crypto/rand"
	"embed"
	"errors"
	"html/template"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"hoplite/internal/conf"
	"hoplite/internal/history"
	"hoplite/internal/listen"
	"hoplite/internal/quiet"
	"hoplite/mail/trace"
)

// Config is the web "web" { ... } block of relay.hcl.
type Config struct {
	conf.Pos
	Name string `hcl:"name,label"`
	listen.Config
	// Hosts lists further names and addresses under which the pages are served,
	// besides hostname, localhost and loopback addresses. Requests for any other
	// host are refused, which prevents DNS rebinding.
	Hosts []string `hcl:"hosts,optional"`
	// Open allows every client that can connect to trace a header without a
	// login. Otherwise only clients on this machine may do so. The history of
	// messages always requires a login.
	Open bool `hcl:"open,optional"`
	// ReverseProxy permits logins through a web server on this machine, which
	// forwards requests to this listener at a loopback address or socket file. It
	// must use TLS towards browsers and set X-Forwarded-Proto and X-Forwarded-For.
	// Without it, a request that has passed a proxy cannot log in.
	ReverseProxy bool `hcl:"reverse_proxy,optional"`
	// MaxPaste is the maximum size of a pasted header or message.
	MaxPaste conf.Bytes `hcl:"max_paste,optional" default:"8MiB"`
	// KeepLinks is the maximum time a permalink is kept.
	KeepLinks time.Duration `hcl:"keep_links,optional" default:"30d"`
	// SessionTime is the time after which an idle login expires. Every login ends
	// after 12 hours, or after this time if that is longer, and when the account's
	// password changes.
	SessionTime time.Duration `hcl:"session_time,optional" default:"1h"`
	// MTASTS holds the MTA-STS policies of our domains.
	MTASTS []*STSConfig `hcl:"mta_sts,block"`
}

// Env holds the functions and data that the pages need from the rest of the
// program. A page whose function is nil does not exist.
type Env struct {
	Hostname string
	Log      zerolog.Logger
	// Options returns the trusted networks, the server's names and the known
	// clock errors.
	Options func() trace.Options
	// Login checks a name and password.
	Login func(ctx context.Context, client netip.Addr, name, password string) (Account, error)
	// Account returns the current state of an account, and a stamp that changes
	// with its password. It is called for each request, so that a session ends
	// when its account is removed or its password changes. If it is nil,
	// sessions keep the account as it was at login.
	Account func(name string) (a Account, stamp string, ok bool)
	// Find searches history.
	Find func(ctx context.Context, q history.Query) ([]history.Record, error)
	// Explain runs the chain for a question and returns the result as lines of
	// text.
	Explain func(ctx context.Context, q Question) ([]string, error)
	// Links is the folder for permalinks.
	Links string
	// Challenge, if not nil, handles requests before the pages do. It answers
	// the requests with which a certificate authority verifies that this server
	// controls a domain name.
	Challenge func(next http.Handler) http.Handler
}

// Account is a user who logged in.
type Account struct {
	Name  string
	Admin bool
}

// Question describes a message for a dry run.
type Question struct{ IP, Helo, From, To string }

// ErrLogin means that the name or password is wrong; ErrBusy means that there
// were too many failed logins.
var (
	ErrLogin = errors.New("wrong name or password")
	ErrBusy  = errors.New("too many failed logins: try again later")
)

//go:embed pages
var pages embed.FS

// Server is one web block.
type Server struct {
	cfg      Config
	env      Env
	html     *template.Template
	sessions *sessions
	links    *links
	secret   [32]byte // signs form tokens; random for each process
	working  chan struct{}
	maxTrace time.Duration // for one trace

	http  *http.Server
	conns *handover
	serve sync.Once
}

// Limits on concurrent traces, and on the header octets of a request.
const (
	maxWorking = 4
	maxHeader  = 32 << 10
)

// New returns the server of one web block.
func New(cfg Config, env Env) (*Server, error) {
	s := &Server{cfg: cfg, env: env, sessions: newSessions(cfg.SessionTime, env.Account), links: &links{dir: env.Links, most: cfg.KeepLinks}, working: make(chan struct{}, maxWorking), maxTrace: 10 * time.Second, conns: newHandover()}
	rand.Read(s.secret[:])
	var err error
	if s.html, err = template.New("").Funcs(functions).ParseFS(pages, "pages/*.html"); err != nil {
		return nil, err
	}
	handler := s.withPolicies(s.Handler())
	if env.Challenge != nil {
		handler = env.Challenge(handler)
	}
	s.http = &http.Server{
		Handler: handler, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 2 * time.Minute, WriteTimeout: 2 * time.Minute, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: maxHeader,
		ConnContext: withConn,
	}
	return s, nil
}

// Handle serves one connection and returns when it is closed.
func (s *Server) Handle(ctx context.Context, c *listen.Conn) {
	s.serve.Do(func() { go s.http.Serve(s.conns) })
	s.conns.give(ctx, c)
}

// Drain closes idle connections and waits for running requests.
func (s *Server) Drain() { go s.http.Shutdown(context.Background()) }

// Close closes all connections.
func (s *Server) Close() { s.http.Close() }

// Refuse returns the response for a client whose connection is refused.
func Refuse(r listen.Reason) string {
	return "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Type: text/plain\r\n\r\n" + string(r) + "\r\n"
}

// Handler returns the handler of all pages, with the checks that apply to each
// request.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", s.paste)
	mux.HandleFunc("POST /trace", s.trace)
	mux.HandleFunc("GET /link/{id}", s.link)
	mux.HandleFunc("GET /story", s.story)
	mux.HandleFunc("GET /chain", s.chain)
	mux.HandleFunc("POST /chain", s.chain)
	mux.HandleFunc("GET /login", s.loginPage)
	mux.HandleFunc("POST /login", s.login)
	mux.HandleFunc("POST /logout", s.logout)
	mux.HandleFunc("GET /style.css", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/css; charset=utf-8")
		w.Header().Set("Cache-Control", "max-age=3600")
		css, _ := pages.ReadFile("pages/style.css")
		w.Write(css)
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		s.fail(w, r, http.StatusNotFound, "Page not found.")
	})
	return s.guard(mux)
}

// guard refuses requests for other host names and forms from other sites, and
// sets the headers of every response.
func (s *Server) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
		h.Set("X-Robots-Tag", "noindex")
		h.Set("Cache-Control", "no-store")
		if !s.knownHost(r.Host) {
			http.Error(w, "unknown host name; the web block can list more in hosts", http.StatusMisdirectedRequest)
			return
		}
		if r.Method != http.MethodGet && r.Method != http.MethodHead && !sameOrigin(r) {
			http.Error(w, "this form was sent from another site", http.StatusForbidden)
			return
		}
		defer func() {
			if p := recover(); p != nil {
				if p == http.ErrAbortHandler {
					panic(p)
				}
				quiet.Panic(s.env.Log.Error(), p).Str("path", r.URL.Path).Msg("web page")
				http.Error(w, "internal error; see the log", http.StatusInternalServerError)
			}
		}()
		next.ServeHTTP(w, r)
	})
}

// knownHost prevents DNS rebinding. A page from another site whose name
// resolves to our address still sends its own name in Host.
func (s *Server) knownHost(hostport string) bool {
	host := hostOf(hostport)
	if a, err := netip.ParseAddr(host); err == nil && a.IsLoopback() {
		return true
	}
	if strings.EqualFold(host, "localhost") || strings.EqualFold(host, s.env.Hostname) {
		return true
	}
	for _, n := range s.cfg.Hosts {
		if strings.EqualFold(host, n) {
			return true
		}
	}
	return false
}

// hostOf returns the host of a Host header.
func hostOf(hostport string) string {
	host := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		host = h
	}
	return strings.TrimSuffix(strings.Trim(host, "[]"), ".")
}

// sameOrigin reports whether a form came from one of our pages. Browsers
// indicate this in Sec-Fetch-Site or Origin. A client that sends neither is not
// a browser. Where this matters, the form's token is required.
func sameOrigin(r *http.Request) bool {
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" {
		return site == "same-origin" || site == "none"
	}
	origin := r.Header.Get("Origin")
	if origin == "" {
		return true
	}
	_, host, ok := strings.Cut(origin, "://")
	return ok && strings.EqualFold(host, r.Host)
}

// page is the data of every template.
type page struct {
	Title   string
	Account Account
	Token   string // form token
	Stories bool
	Chain   bool
	Error   string
	Data    any
}

func (s *Server) render(w http.ResponseWriter, r *http.Request, status int, name, title string, data any) {
	acc, _ := s.account(r)
	p := page{Title: title, Account: acc, Token: s.token(w, r), Stories: s.env.Find != nil && s.env.Login != nil, Chain: s.env.Explain != nil && s.env.Login != nil, Data: data}
	if e, ok := data.(failure); ok {
		p.Error = string(e)
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	if err := s.html.ExecuteTemplate(w, name, p); err != nil {
		s.env.Log.Debug().Err(err).Str("page", name).Msg("write page")
	}
}

// failure is the text of an error page.
type failure string

func (s *Server) fail(w http.ResponseWriter, r *http.Request, status int, text string) {
	s.render(w, r, status, "fail.html", http.StatusText(status), failure(text))
}
