package web

import (
	"net/http"
	"net/netip"
	"strings"
)

// forwardingFields lists the fields in which a reverse proxy describes its
// client.
var forwardingFields = []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Real-Ip", "Via"}

// forwarded reports whether a request came through a reverse proxy.
func forwarded(r *http.Request) bool {
	for _, name := range forwardingFields {
		if r.Header.Get(name) != "" {
			return true
		}
	}
	return false
}

// onLoopback reports whether the connection comes from a program on this
// machine to a listener that other machines cannot reach. That program may be a
// proxy.
func onLoopback(r *http.Request) bool {
	if c, ok := r.Context().Value(connKey{}).(*served); ok {
		return c.OnHost()
	}
	a := client(r)
	return !a.IsValid() || a.IsLoopback()
}

// isLocal reports whether the client itself is a program on this machine.
func isLocal(r *http.Request) bool { return onLoopback(r) && !forwarded(r) }

// mayLogin returns the reason why a password must not be sent with this
// request, or "".
func (s *Server) mayLogin(r *http.Request) string {
	switch {
	case encrypted(r), isLocal(r):
		return ""
	case !onLoopback(r):
		return "Logging in requires TLS, except at a loopback address of the server itself."
	case !s.cfg.ReverseProxy:
		return "This request came through a reverse proxy. Logging in through one requires reverse_proxy = true in the web block."
	case !forwardedTLS(r):
		return "Logging in requires TLS: the reverse proxy does not report https in X-Forwarded-Proto."
	}
	return ""
}

// viaTLS reports whether the browser uses TLS, to this server or to its reverse
// proxy.
func (s *Server) viaTLS(r *http.Request) bool {
	return encrypted(r) || s.cfg.ReverseProxy && onLoopback(r) && forwardedTLS(r)
}

// loginAddr returns the address for which failed logins are counted: the
// client's own address or, if the request came through a reverse proxy, the
// last one that the proxy added.
func (s *Server) loginAddr(r *http.Request) netip.Addr {
	if s.cfg.ReverseProxy && onLoopback(r) {
		all := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
		if a, err := netip.ParseAddr(strings.TrimSpace(all[len(all)-1])); err == nil {
			return a.Unmap()
		}
	}
	return client(r)
}

// forwardedTLS reports whether the reverse proxy reports that the client uses
// TLS. If there are several fields, the client may have sent one of them.
func forwardedTLS(r *http.Request) bool {
	protocols := r.Header.Values("X-Forwarded-Proto")
	return len(protocols) == 1 && strings.EqualFold(protocols[0], "https")
}
