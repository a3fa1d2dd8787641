package acme

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"syscall"
	"time"
)

// Lookup returns the addresses of a host.
type Lookup func(ctx context.Context, host string) ([]netip.Addr, error)

// publicPort is the port to which authorities connect for http-01.
const publicPort = 80

// Probe tries beforehand whether the authority can verify a name by http-01: the
// name must have addresses, and a request to port 80 of each of them must arrive
// here. Requests come from this machine, so a firewall that only stops others is
// not noticed. If another program has the port, which may be the running server,
// Probe only reports whether a server answers. An error describes the problem.
func (c *Config) Probe(ctx context.Context, name string, lookup Lookup) error {
	return c.probe(ctx, name, lookup, publicPort)
}

func (c *Config) probe(ctx context.Context, name string, lookup Lookup, public int) error {
	addrs, err := lookup(ctx, name)
	if err != nil {
		return err
	}
	if len(addrs) == 0 {
		return fmt.Errorf("%s has no address in DNS", name)
	}
	token := rand.Text()
	path := "/.well-known/acme-challenge/" + token
	own := true
	l, err := net.Listen("tcp", ":"+strconv.Itoa(c.HTTPPort))
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		own = false
	case err != nil:
		return fmt.Errorf("port %d cannot be opened here: %w", c.HTTPPort, err)
	default:
		server := &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == path {
				io.WriteString(w, token)
				return
			}
			http.NotFound(w, r)
		})}
		go server.Serve(l)
		defer server.Close()
	}
	var errs []error
	for _, a := range addrs {
		body, err := fetch(ctx, name, net.JoinHostPort(a.String(), strconv.Itoa(public)), path)
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("%s, port %d: %w", a, public, err))
		case own && body != token:
			errs = append(errs, fmt.Errorf("%s, port %d: another server answers", a, public))
		}
	}
	return errors.Join(errs...)
}

// fetch requests a path of a host at an address.
func fetch(ctx context.Context, host, address, path string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	client := &http.Client{
		Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, address)
		}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+host+path, nil)
	if err != nil {
		return "", err
	}
	reply, err := client.Do(request)
	if err != nil {
		var refused *net.OpError
		if errors.As(err, &refused) {
			return "", refused.Err
		}
		return "", err
	}
	defer reply.Body.Close()
	b, err := io.ReadAll(io.LimitReader(reply.Body, 1<<10))
	return string(b), err
}
