package main

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"

	"hoplite/filters"
	"hoplite/filters/all"
	"hoplite/internal/conf"
	"hoplite/internal/listen"
	"hoplite/internal/resolve"
	"hoplite/internal/users"
	"hoplite/relay"
	"hoplite/relay/forward"
)

// examine finds all that is wrong with the configuration, in itself and in
// what it points at.
func (c *Config) examine(diags *conf.Diagnostics) {
	// Names that are missing because their block did not parse would only
	// confuse.
	if diags.Mistakes() == 0 {
		c.rules(diags)
	}
	c.inspect(diags)
}

// inspect opens what the configuration points at, as the server is going to:
// keys, certificates, lists, folders. It makes and changes nothing, and asks
// nobody over a network.
func (c *Config) inspect(diags *conf.Diagnostics) {
	env := filters.Env{Hostname: c.Hostname, Names: c.names(), Data: c.Data, Log: zerolog.Nop(), Trusted: c.Trusted, DNS: c.inspectDNS(diags)}
	for _, ch := range c.Chain {
		makeFilters(ch.Name, ch.Filters, env, diags)
		for i := range ch.Routes {
			makeFinishers(&ch.Routes[i], env, diags)
		}
	}
	c.inspectCerts(diags)
	for _, u := range c.Upstream {
		c.inspectUpstream(u, diags)
	}
	if err := writable(c.Data); err != nil {
		if _, missing := os.Stat(c.Data); errors.Is(missing, fs.ErrNotExist) {
			diags.Warn(c.Attr("data"), fmt.Sprintf("there is no data folder %s yet, and it can't be made: %s", c.Data, plain(err)),
				"Make it and give it to the user that the server runs as. Systemd does so by itself.")
			return
		}
		diags.Add(c.Attr("data"), "the data folder can't be used: "+plain(err), rights(err))
		return
	}
	c.inspectAccounts(diags)
	c.inspectFolders(diags)
}

func (c *Config) inspectUpstream(u *forward.Config, diags *conf.Diagnostics) {
	up, err := forward.New(*u, forward.Env{Hostname: c.Hostname, Data: c.Data, Log: zerolog.Nop()})
	if err != nil {
		at := u.Range()
		if strings.Contains(err.Error(), "recipients") {
			at = u.Attr("recipients")
		}
		diags.Add(at, plain(err), rights(err))
		return
	}
	up.Close()
	if a := u.Auth; a != nil && a.TokenFile != "" {
		if err := readable(c.under(a.TokenFile)); err != nil {
			diags.Add(u.Range(), "token_file: "+plain(err), rights(err))
		}
	}
}

func (c *Config) inspectDNS(diags *conf.Diagnostics) resolve.Resolver {
	if c.DNS != nil {
		return resolve.NewClient(c.DNS.Validates, c.DNS.Server)
	}
	client, err := resolve.System("/etc/resolv.conf")
	if err != nil {
		diags.Add(c.Range(), plain(err), `Name a server: dns { server = "192.0.2.53:53" }.`)
	}
	return client
}

// makeFilters makes the filters of a chain or a route, which read their keys and
// lists then. What is wrong with them is in the diagnostics of the file.
func makeFilters(chain string, list []filters.Config, env filters.Env, diags *conf.Diagnostics) []filters.Entry {
	var known []string
	for _, k := range all.Kinds {
		known = append(known, k.Name)
	}
	for i := range list {
		if c := &list[i]; !slices.Contains(known, c.Name) {
			diags.Add(c.Range(), fmt.Sprintf("there is no filter %q", c.Name), conf.Known(c.Name, known, ""))
		}
	}
	return filters.Build(chain, list, all.Find, env)
}

// makeFinishers makes the filters of a route's last stage.
func makeFinishers(r *relay.RouteConfig, env filters.Env, diags *conf.Diagnostics) []relay.Finisher {
	var list []relay.Finisher
	for _, e := range makeFilters(r.Name, r.Filters, env, diags) {
		f, ok := e.Filter.(filters.Finisher)
		if !ok {
			diags.Add(e.Block.Range(), fmt.Sprintf("filter %q does nothing in a route", e.Name),
				"Only filters that sign or seal belong there; put it into the chain.")
			continue
		}
		list = append(list, relay.Finisher{Name: e.Name, Finisher: f})
	}
	return list
}

// inspectCerts reads the certificates with their keys. Without any, the server
// makes one.
func (c *Config) inspectCerts(diags *conf.Diagnostics) {
	for i := range c.Certificate {
		t := &c.Certificate[i]
		pair := listen.Pair{Cert: c.under(t.Cert), Key: c.under(t.Key)}
		for name, file := range map[string]string{"cert": pair.Cert, "key": pair.Key} {
			if err := readable(file); err != nil {
				diags.Add(t.Attr(name), name+": "+plain(err), rights(err))
				pair.Cert = ""
			}
		}
		if info, err := os.Stat(pair.Key); err == nil && info.Mode()&0o004 != 0 {
			diags.Warn(t.Attr("key"), "everybody on this machine can read the private key", "chmod o= "+pair.Key)
		}
		if pair.Cert == "" {
			continue
		}
		certs, err := listen.LoadCerts([]listen.Pair{pair}, zerolog.Nop())
		if err != nil {
			diags.Add(t.Attr("cert"), plain(err), "")
			continue
		}
		for _, leaf := range certs.Leaves() {
			if problem := dated(leaf, time.Now()); problem != "" {
				diags.Warn(t.Attr("cert"), problem, "Clients that check it will not connect.")
			}
		}
	}
}

func readable(file string) error {
	f, err := os.Open(file)
	if err == nil {
		f.Close()
	}
	return err
}

// dated says what is wrong with the dates of a certificate, if anything.
func dated(cert *x509.Certificate, now time.Time) string {
	const day = "2006-01-02"
	switch {
	case now.After(cert.NotAfter):
		return "the certificate has expired on " + cert.NotAfter.Format(day)
	case now.Before(cert.NotBefore):
		return "the certificate is not valid before " + cert.NotBefore.Format(day)
	}
	return ""
}

// inspectAccounts reads accounts and aliases. Their mistakes name file and line
// themselves.
func (c *Config) inspectAccounts(diags *conf.Diagnostics) {
	accounts, err := users.Open(c.under("users"), c.names(), zerolog.Nop())
	addEach(diags, conf.Range{}, err)
	// The resolver asks for no account while it is made: aliases are read even
	// where the accounts could not be.
	_, err = users.NewResolver(accounts, c.under(c.Aliases), c.names(), c.Postmaster, zerolog.Nop())
	addEach(diags, conf.Range{}, err)
	if _, err := os.Stat(c.under(c.Aliases)); errors.Is(err, fs.ErrNotExist) && c.IsSet("aliases") {
		diags.Warn(c.Attr("aliases"), fmt.Sprintf("there is no file %s", c.under(c.Aliases)), "No address is an alias until it is there.")
	}
}

// addEach adds an error, or all that it joins.
func addEach(diags *conf.Diagnostics, at conf.Range, err error) {
	if err == nil {
		return
	}
	list := []error{err}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		list = joined.Unwrap()
	}
	for _, err := range list {
		diags.Add(at, plain(err), rights(err))
	}
}

// inspectFolders looks whether the server will be able to write beside the data
// folder where it has to, without trying.
func (c *Config) inspectFolders(diags *conf.Diagnostics) {
	for _, m := range c.Maildrop {
		if err := writable(c.mailFolder(m)); err != nil {
			diags.Add(m.Attr("path"), fmt.Sprintf("maildrop %q can't be used: %s", m.Name, plain(err)), rights(err))
		}
	}
	if spool, queue := c.under("spool"), c.under("queue"); there(spool) && there(queue) {
		if err := sameFileSystem(spool, queue); err != nil {
			diags.Add(c.Attr("data"), plain(err), "")
		}
	}
}

func there(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// writable tells whether files can be made in a folder, or the folder itself,
// by us.
func writable(dir string) error {
	for {
		info, err := os.Stat(dir)
		switch {
		case errors.Is(err, fs.ErrNotExist) && dir != filepath.Dir(dir):
			dir = filepath.Dir(dir)
			continue
		case err != nil:
			return err
		case !info.IsDir():
			return fmt.Errorf("%s is not a folder", dir)
		}
		if err := unix.Access(dir, unix.W_OK|unix.X_OK); err != nil {
			return &fs.PathError{Op: "write in", Path: dir, Err: err}
		}
		return nil
	}
}

// plain is an error without the name of the system call in it.
func plain(err error) string {
	return strings.NewReplacer(": open ", ": ", ": stat ", ": ").Replace(": " + err.Error())[2:]
}

// rights says who could not do it, where rights are what is missing.
func rights(err error) string {
	if !errors.Is(err, fs.ErrPermission) {
		return ""
	}
	name := fmt.Sprintf("user id %d", os.Geteuid())
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	return fmt.Sprintf("This was tried as %s: run it as the user that the server runs as.", name)
}
