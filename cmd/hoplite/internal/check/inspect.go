package check

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

	"hoplite/cmd/hoplite/internal/config"
	"hoplite/filters"
	"hoplite/internal/conf"
	"hoplite/internal/directory"
	"hoplite/internal/files"
	"hoplite/internal/listen"
	"hoplite/internal/resolve"
	"hoplite/internal/users"
	"hoplite/internal/users/authority"
	"hoplite/mail/alias"
	"hoplite/relay/forward"
	"hoplite/web"
)

// inspect opens everything the configuration refers to, as the server would:
// keys, certificates, lists, folders. It changes nothing and uses no network.
func inspect(c *config.Config, diags *conf.Diagnostics) {
	env := filters.Env{Hostname: c.Hostname, Names: c.Names(), Data: c.Data, Log: zerolog.Nop(), Trusted: c.Trusted, DNS: inspectDNS(c, diags)}
	for _, ch := range c.Chain {
		checkOrder(ch, config.BuildFilters(ch.Name, ch.Filters, env, diags), diags)
		for i := range ch.Routes {
			config.BuildFinishers(&ch.Routes[i], env, diags)
		}
	}
	inspectCerts(c, diags)
	for _, u := range c.Upstream {
		inspectUpstream(c, u, diags)
	}
	for _, d := range c.Directory {
		inspectDirectory(c, d, diags)
	}
	for _, a := range c.Accounts {
		if diags.Mistakes() > 0 {
			break // its login may be wrong
		}
		if _, err := authority.New(*a, authority.Env{Data: c.Data}); err != nil {
			at := a.Attr("ca")
			if a.CA == "" && a.OAuth != nil {
				at = a.OAuth.Attr("ca")
			}
			diags.Add(at, plain(err), rights(err))
		}
	}
	if err := writable(c.Data); err != nil {
		if _, missing := os.Stat(c.Data); errors.Is(missing, fs.ErrNotExist) {
			diags.Warn(c.Attr("data"), fmt.Sprintf("the data folder %s does not exist and can't be created: %s", c.Data, plain(err)),
				"Create it and give it to the user that the server runs as. Systemd does this by itself.")
			return
		}
		diags.Add(c.Attr("data"), "the data folder can't be used: "+plain(err), rights(err))
		return
	}
	inspectAccounts(c, diags)
	if a, err := readAddresses(c); err == nil && diags.Err() == nil {
		a.check(diags)
	}
	inspectFolders(c, diags)
}

func inspectDirectory(c *config.Config, d *directory.Config, diags *conf.Diagnostics) {
	if diags.Mistakes() > 0 {
		return // its URL may be wrong
	}
	if _, err := directory.New(*d, directory.Env{Data: c.Data, Log: zerolog.Nop()}); err != nil {
		diags.Add(d.Attr("ca"), plain(err), rights(err))
	}
	if d.Insecure {
		diags.Warn(d.Attr("insecure"), fmt.Sprintf("passwords sent to directory %q can be read on the network", d.Name),
			"Set ca to the certificate of the authority that signed the server's.")
	}
}

func inspectUpstream(c *config.Config, u *forward.Config, diags *conf.Diagnostics) {
	if u.Certificate != "" && !slices.ContainsFunc(c.Certificate, func(t config.CertificateConfig) bool { return t.Name == u.Certificate }) {
		return // reported by checkNames
	}
	certs, err := c.ClientCertificate(u, zerolog.Nop())
	if err != nil {
		return // reported by inspectCerts
	}
	up, err := forward.New(*u, forward.Env{Hostname: c.Hostname, Data: c.Data, Log: zerolog.Nop(), Certificate: certs})
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
		if err := readable(c.Under(a.TokenFile)); err != nil {
			diags.Add(u.Range(), "token_file: "+plain(err), rights(err))
		}
	}
}

// inspectDNS returns the resolver, or nil after an error.
func inspectDNS(c *config.Config, diags *conf.Diagnostics) resolve.Resolver {
	if c.DNS != nil {
		return resolve.NewClient(c.DNS.Validates, c.DNS.Server)
	}
	client, err := resolve.System("/etc/resolv.conf")
	if err != nil {
		diags.Add(c.Range(), plain(err), `Name a server: dns { server = "192.0.2.53:53" }.`)
		return nil
	}
	return client
}

// inspectCerts reads the certificates and their keys.
func inspectCerts(c *config.Config, diags *conf.Diagnostics) {
	own := c.ServerCertificates()
	covered, before := len(own) == 0, diags.Mistakes()
	defer func() {
		if !covered && diags.Mistakes() == before {
			diags.Warn(own[0].Range(), "no certificate is for "+c.Hostname, "Clients that verify certificates will not connect.")
		}
	}()
	uncovered := policyHosts(c)
	defer func() {
		for _, p := range uncovered {
			if diags.Mistakes() == before {
				diags.Warn(p.Range(), "no certificate is for "+p.Host(), "Other servers ignore a policy whose host has no valid certificate.")
			}
		}
	}()
	for i := range c.Certificate {
		t := &c.Certificate[i]
		pair := listen.Pair{Cert: c.Under(t.Cert), Key: c.Under(t.Key)}
		for name, file := range map[string]string{"cert": pair.Cert, "key": pair.Key} {
			if err := readable(file); err != nil {
				hint := rights(err)
				if errors.Is(err, fs.ErrNotExist) {
					hint = "Correct the path, which is relative to the data folder. Without certificate blocks, the server creates a self-signed certificate; an acme block obtains one."
				}
				diags.Add(t.Attr(name), name+": "+plain(err), hint)
				pair.Cert = ""
			}
		}
		if info, err := os.Stat(pair.Key); err == nil && info.Mode()&0o004 != 0 {
			diags.Warn(t.Attr("key"), "any user of this machine can read the private key", "chmod o= "+pair.Key)
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
			if problem := validity(leaf, time.Now()); problem != "" {
				advice := "Clients that verify certificates will not connect."
				if t.Client {
					advice = "Servers that verify client certificates will refuse it."
				}
				diags.Warn(t.Attr("cert"), problem, advice)
			}
			if t.Client {
				continue
			}
			covered = covered || leaf.VerifyHostname(c.Hostname) == nil
			uncovered = slices.DeleteFunc(uncovered, func(p *web.STSConfig) bool { return leaf.VerifyHostname(p.Host()) == nil })
		}
	}
}

// policyHosts returns the MTA-STS policies that need a certificate from a file.
func policyHosts(c *config.Config) (list []*web.STSConfig) {
	for _, w := range c.Web {
		if c.ACME == nil && !w.ReverseProxy {
			list = append(list, w.MTASTS...)
		}
	}
	return list
}

func readable(file string) error {
	f, err := os.Open(file)
	if err == nil {
		f.Close()
	}
	return err
}

// validity describes the problem with a certificate's dates, or returns "".
func validity(cert *x509.Certificate, now time.Time) string {
	const day = "2006-01-02"
	switch {
	case now.After(cert.NotAfter):
		return "the certificate expired on " + cert.NotAfter.Format(day)
	case now.Before(cert.NotBefore):
		return "the certificate is not valid before " + cert.NotBefore.Format(day)
	case cert.NotAfter.Sub(now) < min(14*24*time.Hour, cert.NotAfter.Sub(cert.NotBefore)/4):
		return "the certificate expires soon, on " + cert.NotAfter.Format(day)
	}
	return ""
}

// inspectAccounts reads accounts and aliases. Their errors contain file and
// line.
func inspectAccounts(c *config.Config, diags *conf.Diagnostics) {
	_, err := users.Open(c.Under("users"), c.Names(), zerolog.Nop())
	addEach(diags, conf.Range{}, err)
	_, err = files.Watch(c.Under(c.Aliases), alias.Parse, zerolog.Nop())
	mistakes, err := alias.Mistakes(err)
	if err != nil {
		diags.Tolerate(conf.Range{Filename: c.Under(c.Aliases)}, "the aliases can't be read: "+cause(err),
			strings.TrimSpace("Mail for addresses that the file may contain waits until it can be read. "+rights(err)))
	}
	for _, m := range mistakes {
		diags.Tolerate(lineOf(m.File, m.Line), m.Err.Error(), "Mail to it is refused for the time being.")
	}
	if _, err := os.Stat(c.Under(c.Aliases)); errors.Is(err, fs.ErrNotExist) && c.IsSet("aliases") {
		diags.Warn(c.Attr("aliases"), fmt.Sprintf("the file %s does not exist", c.Under(c.Aliases)), "No address is an alias until it exists.")
	}
}

// addEach adds an error, or each error in it if it was created by errors.Join.
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

// inspectFolders checks that the server may write to the folders of maildrops,
// and that spool and queue share a file system.
func inspectFolders(c *config.Config, diags *conf.Diagnostics) {
	for _, m := range c.Maildrop {
		if err := writable(c.MailFolder(m)); err != nil {
			diags.Add(m.Attr("path"), fmt.Sprintf("maildrop %q can't be used: %s", m.Name, plain(err)), rights(err))
		}
	}
	for _, name := range []string{"queue", "queue/log", "queue/body", "spool", "state", "history", "tls", "index"} {
		if err := writable(c.Under(name)); err != nil {
			diags.Add(c.Attr("data"), fmt.Sprintf("the folder %s can't be used: %s", c.Under(name), plain(err)), rights(err))
		}
	}
	if spool, queue := c.Under("spool"), c.Under("queue"); exists(spool) && exists(queue) {
		if err := SameFileSystem(spool, queue); err != nil {
			diags.Add(c.Attr("data"), plain(err), "")
		}
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// writable returns an error unless this process may create files in dir or, if
// dir does not exist, may create dir.
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
		if err := unix.Faccessat(unix.AT_FDCWD, dir, unix.W_OK|unix.X_OK, unix.AT_EACCESS); err != nil {
			return &fs.PathError{Op: "write to", Path: dir, Err: err}
		}
		return nil
	}
}

// cause returns the reason why a file cannot be read, without its path.
func cause(err error) string {
	if failed := (*fs.PathError)(nil); errors.As(err, &failed) {
		return failed.Err.Error()
	}
	return err.Error()
}

// plain returns an error's text without the name of the system call.
func plain(err error) string {
	return strings.NewReplacer(": open ", ": ", ": stat ", ": ").Replace(": " + err.Error())[2:]
}

// rights returns a hint about the current user if a permission is missing,
// otherwise "".
func rights(err error) string {
	if !errors.Is(err, fs.ErrPermission) {
		return ""
	}
	name := fmt.Sprintf("user id %d", os.Geteuid())
	if u, err := user.LookupId(fmt.Sprint(os.Geteuid())); err == nil {
		name = u.Username
	}
	return fmt.Sprintf("Access was tried as %s: run this as the user that the server runs as.", name)
}
